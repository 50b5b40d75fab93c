"""Publishing: every finished run into Databricks, exactly once, the oldest first."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import dqctl
from dqctl import records
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.failures import StatementFailed
from dqctl.databricks.target import Target, target_name
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, DqctlError, EnvironmentFault, MissingSetting, NotPublished
from dqctl.progress import Progress, silent
from dqctl.records import Row, RunContent
from dqctl.report.profiles import is_ansi
from dqctl.services import tables
from dqctl.settings import Settings
from dqctl.tables import encode
from dqctl.tables.loader import Loader, row_counts
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.ports import Runtime
from dqctl.testgen.reader import FinishedRun, MetadataReader

log = logging.getLogger(__name__)

# Runs that are loaded by the same statements, until there are so many of them or of their rows.
BATCH_RUNS = 25
BATCH_ROWS = 20_000
_SAFE = "the results are safe in TestGen's database; once this is mended run: dqctl publish --pending"


@dataclass(frozen=True)
class PublishedRun:
    """A run that this command published: rows by table, and what a person should know about it."""

    run_id: str
    kind: str
    status: str
    rows: Mapping[str, int]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishReport:
    """What a publish did; no runs when nothing was waiting."""

    target: str
    runs: tuple[PublishedRun, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all runs."""
        return tuple(warning for run in self.runs for warning in run.warnings)


class Results(Protocol):
    """Where finished runs are read."""

    def finished_runs(self) -> tuple[FinishedRun, ...]:
        """All runs that are over, the oldest first."""
        ...

    def content(self, run_id: str) -> RunContent:
        """Everything about one of them."""
        ...


def publish(
    settings: Settings,
    runtime: Runtime,
    *,
    again: Collection[str] = (),
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish whatever is waiting in the stack; runs named in ``again`` too if they are published already.

    Raises ``NotPublished`` saying how many runs wait, and ``DatabricksRefused``.
    """
    with runtime.metadata() as connection:
        reader = MetadataReader(connection, capabilities(runtime.version), settings.stack)
        ledger = Ledger(connection)
        ledger.ensure()
        try:
            target = tables.find_target(settings)
        except EnvironmentFault as fault:
            # A local workspace that is stopped: the ledger knows all the same what is there.
            place = str(settings.workspace and settings.workspace.resolve())
            name = target_name(place, settings.catalog, settings.schema_name)
            if not (waiting := len(_waiting(reader.finished_runs(), _known(ledger, name), again))):
                return PublishReport(name)
            raise _not_published(fault, waiting) from fault
        except MissingSetting as missing:
            # Nothing says where to: a stack may check PostgreSQL alone until somebody decides.
            if waiting := len(reader.finished_runs()):
                raise _not_published(missing, waiting) from missing
            raise
        return publish_pending(
            lambda: Warehouse(target, clock, progress),
            target,
            reader,
            ledger,
            again=again,
            progress=progress,
            clock=clock,
        )


def publish_pending(
    open_warehouse: Callable[[], AbstractContextManager[Statements]],
    target: Target,
    reader: Results,
    ledger: Ledger,
    *,
    again: Collection[str] = (),
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish what the ledger does not have. Nothing waiting, the warehouse is not woken."""
    finished = reader.finished_runs()
    known = _known(ledger, target.name)
    if not _waiting(finished, known, again):
        return PublishReport(target.name)
    publisher = _Publisher(target, reader, ledger, frozenset(again), progress, clock)
    try:
        with open_warehouse() as warehouse:
            publisher.run(warehouse, finished)
    except DatabricksRefused as refusal:
        raise DatabricksRefused(refusal.message, f"{refusal.hint}; {_SAFE}") from refusal
    except EnvironmentFault as fault:
        raise _not_published(fault, publisher.waiting(finished, known)) from fault
    if publisher.failed:
        raise NotPublished(
            f"{len(publisher.failed)} of {len(finished)} finished runs could not be published: "
            + "; ".join(f"{run_id}: {reason}" for run_id, reason in publisher.failed.items()),
            _SAFE,
        )
    rows: Counter[str] = Counter()
    for run in publisher.done:
        rows.update(run.rows)
    return PublishReport(target.name, tuple(publisher.done), dict(rows))


def _known(ledger: Ledger, target: str) -> frozenset[str]:
    """Ids of the runs that are where ``target`` led to last."""
    last_home = ledger.last_home(target)
    return ledger.published(last_home) if last_home else frozenset()


def _waiting(
    finished: tuple[FinishedRun, ...], known: frozenset[str], again: Collection[str]
) -> tuple[FinishedRun, ...]:
    return tuple(run for run in finished if run.run_id not in known or run.run_id in again)


@dataclass
class _Publisher:
    target: Target
    reader: Results
    ledger: Ledger
    again: frozenset[str]
    progress: Progress
    clock: Clock
    done: list[PublishedRun] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, warehouse: Statements, finished: tuple[FinishedRun, ...]) -> None:
        place = Place(self.target.catalog, self.target.schema)
        ready = tables.ensure(warehouse, place, self.progress)
        loader = Loader(warehouse, place, ready.columns)
        known = self.ledger.published(ready.home)
        waiting = [run.run_id for run in _waiting(finished, known, self.again)]
        for batch in self._batches(waiting):
            try:
                self._load(loader, ready.home, batch)
            except (NotPublished, StatementFailed) as failure:
                log.info("one by one, after: %s", failure.message)
                self._one_by_one(loader, ready.home, batch)

    def _batches(self, waiting: list[str]) -> Iterator[list[RunContent]]:
        """Runs that are loaded together: statements cost more than rows."""
        batch: list[RunContent] = []
        for number, run_id in enumerate(waiting, 1):
            batch.append(self.reader.content(run_id))
            rows = sum(len(table) for content in batch for table in content.rows.values())
            if len(batch) == BATCH_RUNS or rows >= BATCH_ROWS or number == len(waiting):
                self.progress(f"publishing {_runs(len(batch))} ({number} of {len(waiting)})")
                yield batch
                batch = []

    def _one_by_one(self, loader: Loader, home: str, batch: list[RunContent]) -> None:
        """What is wrong with one run must not hold up the others."""
        for stored in batch:
            try:
                self._load(loader, home, [stored])
            except (NotPublished, StatementFailed) as failure:
                self.failed[stored.run["run_id"]] = failure.message

    def waiting(self, finished: tuple[FinishedRun, ...], known: frozenset[str]) -> int:
        done = {run.run_id for run in self.done}
        return sum(run.run_id not in known and run.run_id not in done for run in finished)

    def _load(self, loader: Loader, home: str, batch: list[RunContent]) -> None:
        now = self.clock.now()
        loader.load(
            [
                RunContent(
                    {
                        **stored.run,
                        "dqctl_version": dqctl.__version__,
                        "row_counts": row_counts(stored),
                        "published_at": now,
                    },
                    stored.rows,
                )
                for stored in batch
            ]
        )
        for stored in batch:
            run = stored.run
            self.ledger.record(home, self.target.name, run["run_id"], encode.checksum(stored))
            rows = {table.name: len(stored.rows[table.name]) for table in records.CONTENT_OF[run["kind"]]}
            rows[records.RUNS.name] = 1
            self.done.append(PublishedRun(run["run_id"], run["kind"], run["status"], rows, _warnings(stored)))


def _warnings(content: RunContent) -> tuple[str, ...]:
    failed = [row for row in content.rows[records.PROFILE_COLUMNS.name] if row["query_error"]]
    if not failed:
        return ()
    total = len(content.rows[records.PROFILE_COLUMNS.name])
    return (
        f"{len(failed)} of {total} columns could not be profiled completely though the run says "
        f"{content.run['status']}: {_remedy(failed)}",
    )


def _remedy(failed: list[Row]) -> str:
    if any(is_ansi(row["query_error"]) for row in failed):
        return (
            "TestGen asks text columns for dates, which raises in ANSI mode; set ANSI_MODE=false on the warehouse "
            "(Settings > Advanced, SQL configuration parameters) and profile again"
        )
    first = failed[0]
    return f"the first is {first['table_name']}.{first['column_name']}: {first['query_error']}"


def _not_published(fault: DqctlError, waiting: int) -> NotPublished:
    wait = "waits" if waiting == 1 else "wait"
    return NotPublished(
        f"{_runs(waiting)} {wait} to be published: {fault.message}", f"{fault.hint}; {_SAFE}".removeprefix("; ")
    )


def _runs(count: int) -> str:
    return "1 finished run" if count == 1 else f"{count} finished runs"
