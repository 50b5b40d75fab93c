"""The way of finished runs from TestGen's database into the published tables: in batches, the oldest first.

A batch is loaded by the same statements, read as a stream from one snapshot and recorded when it is in: a command
that is killed has lost one batch at most, and the next one goes on behind it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

import dqctl
from dqctl import records
from dqctl.clock import Clock
from dqctl.databricks.failures import StatementFailed
from dqctl.errors import NotPublished
from dqctl.progress import Progress
from dqctl.records import Row, Table
from dqctl.report.profiles import ANSI_REMEDY, is_ansi
from dqctl.report.words import counted
from dqctl.tables import encode
from dqctl.tables.loader import Content, Loader
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import StoredRun

log = logging.getLogger(__name__)

# What is loaded by the same statements: statements cost more than rows; what is killed has lost one batch.
BATCH_RUNS = 400
BATCH_ROWS = 200_000
_SPEAK_SECONDS = 2.0

Sizes = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class PublishedRun:
    """A run that this command published: rows by table, and what a person should know about it."""

    run_id: str
    kind: str
    status: str
    rows: Mapping[str, int]
    warnings: tuple[str, ...] = ()


class StoredRuns(Protocol):
    """Where finished runs are read."""

    def sizes(self, run_ids: Sequence[str]) -> Sizes:
        """How many rows they have, by run and table."""
        ...

    def stored(self, run_ids: Sequence[str]) -> AbstractContextManager[tuple[StoredRun, ...]]:
        """Everything about some of them, in one snapshot."""
        ...


class Delivery:
    """Delivers runs to one set of tables. ``done`` and ``failed`` (run to reason) say what came of it."""

    def __init__(
        self, reader: StoredRuns, ledger: Ledger, target: str, home: str, progress: Progress, clock: Clock
    ) -> None:
        self.done: list[PublishedRun] = []
        self.failed: dict[str, str] = {}
        self._reader = reader
        self._ledger = ledger
        self._target = target
        self._home = home
        self._progress = progress
        self._clock = clock

    def deliver(self, loader: Loader, run_ids: Sequence[str]) -> None:
        """Load the runs, in this order. One that cannot be loaded does not hold up the others."""
        sizes = self._reader.sizes(run_ids)
        pace = _Pace(self._progress, self._clock, len(run_ids), sum(sum(each.values()) for each in sizes.values()))
        for batch in batches(run_ids, sizes):
            self._deliver(loader, batch, pace)

    def _deliver(self, loader: Loader, batch: Sequence[str], pace: "_Pace") -> None:
        pace.say()
        try:
            self._load(loader, batch, pace)
        except (NotPublished, StatementFailed, pa.ArrowInvalid) as failure:
            reason = str(getattr(failure, "message", failure))
            if len(batch) == 1:
                self.failed[batch[0]] = reason
                return
            log.info("in two halves, after: %s", reason)
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                self._deliver(loader, half, pace)

    def _load(self, loader: Loader, batch: Sequence[str], pace: "_Pace") -> None:
        with self._reader.stored(batch) as runs:
            taken = [_Taken(run, pace.read) for run in runs]
            contents = [_content(each, self._clock, dqctl.__version__) for each in taken]
            loaded = loader.load(contents) if contents else ()
        self._ledger.record(self._home, self._target, {run.run_id: run.checksum for run in loaded})
        for found, each in zip(loaded, taken, strict=True):
            run = each.run
            rows = {**found.rows, records.RUNS.name: 1}
            self.done.append(PublishedRun(found.run_id, run["kind"], run["status"], rows, each.warnings))
        pace.done(len(batch))


def contents_of(runs: Sequence[StoredRun], clock: Clock, version: str) -> Sequence[Content]:
    """The runs as they are loaded, published by ``version`` of dqctl now."""
    return [_content(_Taken(run), clock, version) for run in runs]


def _content(taken: "_Taken", clock: Clock, version: str) -> Content:
    return Content({**taken.run, "dqctl_version": version, "published_at": clock.now()}, taken.batches)


def batches(run_ids: Sequence[str], sizes: Sizes) -> Iterator[Sequence[str]]:
    """Runs that are loaded together, in their order."""
    batch: list[str] = []
    rows = 0
    for run_id in run_ids:
        more = sum(sizes.get(run_id, {}).values())
        if batch and (len(batch) == BATCH_RUNS or rows + more > BATCH_ROWS):
            yield batch
            batch, rows = [], 0
        batch.append(run_id)
        rows += more
    if batch:
        yield batch


class _Taken:
    """A stored run while its rows are read for loading; notices what a person should know."""

    def __init__(self, stored: StoredRun, read: Callable[[int], None] | None = None) -> None:
        self.run: Row = stored.run
        self._stored = stored
        self._read = read
        self._columns = 0
        self._failed_columns: list[Row] = []

    def batches(self, table: Table) -> Iterable[pa.RecordBatch]:
        if table is records.PROFILE_COLUMNS:
            self._columns = 0
            self._failed_columns.clear()
        for block in self._stored.csv(table):
            batch = encode.from_csv(table, block)
            if table is records.PROFILE_COLUMNS:
                self._columns += batch.num_rows
                self._failed_columns += [row for row in batch.to_pylist() if row["query_error"]]
            yield batch
            if self._read:
                self._read(batch.num_rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        failed = self._failed_columns
        if not failed:
            return ()
        return (
            f"{len(failed)} of {self._columns} columns could not be profiled completely though the run says "
            f"{self.run['status']}: {_remedy(failed)}",
        )


def _remedy(failed: list[Row]) -> str:
    if any(is_ansi(row["query_error"]) for row in failed):
        return ANSI_REMEDY
    first = failed[0]
    return f"the first is {first['table_name']}.{first['column_name']}: {first['query_error']}"


@dataclass
class _Pace:
    """How far a delivery is, and when it will be over. Rows that are read count: sending them is most of it."""

    progress: Progress
    clock: Clock
    runs: int
    rows: int
    runs_done: int = 0
    rows_read: int = 0
    started: float = field(init=False)
    spoke: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.spoke = self.clock.monotonic()

    def read(self, rows: int) -> None:
        self.rows_read += rows
        if self.clock.monotonic() - self.spoke >= _SPEAK_SECONDS:
            self.say()

    def done(self, runs: int) -> None:
        self.runs_done += runs

    def say(self) -> None:
        self.spoke = self.clock.monotonic()
        seconds = self.spoke - self.started
        text = f"publishing {counted(self.runs, 'finished run')}"
        if self.rows_read and seconds >= _SPEAK_SECONDS:
            rate = self.rows_read / seconds
            left = max(0, self.rows - self.rows_read) / rate
            text += (
                f": {self.runs_done} done, {self.rows_read:,} of about {max(self.rows, self.rows_read):,} rows, "
                f"{rate:,.0f} rows/s, about {left:,.0f} s left"
            )
        self.progress(text)
