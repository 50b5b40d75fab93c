"""What a publish would cost, without asking a warehouse anything: it is rehearsed, and what it sends is counted.

Everything that waits is read and encoded as for a publish, so that the bytes are those that would travel.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import pyarrow as pa

import dqctl
from dqctl import records
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.progress import Progress, silent
from dqctl.services.delivery import batches, contents_of
from dqctl.services.target import name_of_target
from dqctl.services.waiting import Again, waiting
from dqctl.settings import Settings
from dqctl.tables import migrations
from dqctl.tables.loader import Loader
from dqctl.tables.migrations import Present
from dqctl.tables.sql import Place
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.ports import Runtime
from dqctl.testgen.reader import MetadataReader

_NAMED = re.compile(r"`[^`]+`\.`[^`]+`\.`([^`]+)`")


@dataclass(frozen=True)
class Step:
    """One statement: what it does, to which table (or file), and how many bytes it sends."""

    kind: str
    table: str
    bytes: int


@dataclass(frozen=True)
class Explanation:
    """What publishing ``runs`` runs with ``rows`` rows to ``target`` would run; tables go side by side.

    ``wakes`` is 1 when anything would: it is all in one go, which wakes a warehouse that sleeps once.
    """

    target: str
    runs: int
    batches: int
    rows: int
    wakes: int
    steps: tuple[Step, ...]

    @property
    def bytes(self) -> int:
        """Of all statements and files."""
        return sum(step.bytes for step in self.steps)


class Rehearsal:
    """A warehouse that does nothing, and writes down what it is asked for."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Note a question; nobody answers."""
        kind = "look" if "information_schema" in statement else "compare"
        tables = ", ".join(dict.fromkeys(_NAMED.findall(statement)))
        self._note(kind, tables, statement, parameters)
        return pa.table({})

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        """Note a statement."""
        first = statement.split(maxsplit=3)
        kind = "insert" if first[0] == "INSERT" else " ".join(first[:2]).lower()
        named = _NAMED.search(statement)
        self._note(kind, named.group(1) if named else "", statement, parameters)
        return None

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        """Note a file."""
        size = len(content) if isinstance(content, bytes) else content.seek(0, 2)
        self.steps.append(Step("put", volume_path, size))

    def remove(self, volume_path: str) -> None:
        """Note that a file goes."""
        self.steps.append(Step("remove", volume_path, len(volume_path)))

    def _note(self, kind: str, table: str, statement: str, parameters: Mapping[str, Any] | None) -> None:
        size = sum(len(str(value).encode()) for value in (statement, *(parameters or {}).values()))
        self.steps.append(Step(kind, table, size))


def explain(
    settings: Settings,
    runtime: Runtime,
    *,
    again: Again = (),
    since: datetime | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> Explanation:
    """What ``publish`` would run with the same arguments. Tables that it never published to count as missing."""
    target = name_of_target(settings)
    with runtime.metadata() as connection:
        reader = MetadataReader(connection, capabilities(runtime.version), settings.stack)
        ledger = Ledger(connection)
        ledger.ensure()
        finished = reader.finished_runs()
        home = ledger.last_home(target)
        known = ledger.published(home) if home else frozenset()
        run_ids = [run.run_id for run in waiting(finished, known, again, since)]
        if not run_ids:
            return Explanation(target, 0, 0, 0, 0, ())
        rehearsal = Rehearsal()
        place = Place(settings.catalog, settings.schema_name)
        migrations.look(rehearsal, place)
        if home is None:  # as tables.ensure goes about it
            migrations.discover(rehearsal, place)
            for statement in (
                *migrations.plan(Present(), place),
                migrations.record(Present(), place, "", "") or "",
            ):
                rehearsal.execute(statement)
            migrations.look(rehearsal, place)
        columns = {table.name: table.column_names for table in records.TABLES}
        loader = Loader(rehearsal, place, columns, volume_exists=home is not None, rehearsal=True)
        count = rows = 0
        for count, batch in enumerate(batches(run_ids, reader.sizes(run_ids)), 1):
            progress(f"rehearsing batch {count}")
            with reader.stored(batch) as stored:
                loaded = loader.load(contents_of(stored, clock, dqctl.__version__))
            rows += sum(sum(run.rows.values()) + 1 for run in loaded)
        return Explanation(target, len(run_ids), count, rows, 1, tuple(rehearsal.steps))
