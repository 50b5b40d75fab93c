"""Putting runs into the tables so that doing it again changes nothing, and seeing that they arrived whole.

One statement a table, whatever the number of rows and runs: ``INSERT INTO ... REPLACE WHERE`` of these runs' rows,
atomic for each table. Few rows travel inside the statement, as one parameter; many go through a file in a volume.
The runs' own rows come last, after the others were compared with what was sent: few rows value by value, many by
their digest. A run that can be seen is complete.

The tables but that of the runs know nothing of each other: each is sent while the next one is read and packed.
"""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import hashlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from dqctl import records
from dqctl.errors import EnvironmentFault, NotPublished
from dqctl.records import Row, Table
from dqctl.tables import ddl, digest, encode
from dqctl.tables.digest import Digest
from dqctl.tables.ports import Statements
from dqctl.tables.shipment import Batches, Shipment, packed
from dqctl.tables.side_by_side import SideBySide
from dqctl.tables.sql import Place, identifier, literal

log = logging.getLogger(__name__)

# Rows of a table that are compared value by value at once.
COMPARED_ROWS = 200
# Rows of a table that are read back when their digest is not what was sent: to say what is wrong, and because a
# warehouse may print a value in a way of its own.
READ_BACK_ROWS = 50_000


@dataclass(frozen=True)
class Content:
    """A run as it is loaded: its row of ``dq_runs`` without ``row_counts``, and its other tables' rows.

    ``batches`` gives the rows of a table, typed and in the order of its columns; it may be asked again.
    """

    run: Row
    batches: Callable[[Table], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Loaded:
    """A run that is in the tables: how many rows of each, and a checksum of everything."""

    run_id: str
    rows: Mapping[str, int]
    checksum: str


class Loader:
    """Loads runs into the tables at ``place``. ``columns`` holds each table's columns in the table's own order:
    ``REPLACE WHERE`` goes by position, and columns that were added later come last. Up to ``at_once`` statements
    are under way at the same time, in sessions of their own. In a ``rehearsal`` nobody answers, and nothing is
    compared.
    """

    def __init__(
        self,
        warehouse: Statements,
        place: Place,
        columns: Mapping[str, Sequence[str]],
        *,
        volume_exists: bool = False,
        at_once: int = 1,
        rehearsal: bool = False,
    ) -> None:
        self._warehouse = warehouse
        self._place = place
        self._columns = columns
        self._volume_exists = volume_exists
        self._volume_lock = threading.Lock()
        self._beside = SideBySide(at_once)
        self._rehearsal = rehearsal

    def load(self, contents: Sequence[Content]) -> tuple[Loaded, ...]:
        """Write the rows of some runs of one stack, compare, and then make the runs visible.

        Raises ``NotPublished`` when what is there is not what was sent; none of the runs is visible then.
        """
        try:
            parts = self._send_contents(contents)
            self._check(parts)
            loaded = tuple(_loaded(content.run, parts) for content in contents)
            runs = [
                {**content.run, "row_counts": json.dumps(each.rows, sort_keys=True)}
                for content, each in zip(contents, loaded, strict=True)
            ]
            self._send(_part(records.RUNS, contents, lambda: [("", encode.to_arrow(records.RUNS, runs))]))
        except Exception:
            self._beside.settle()  # nothing of it is under way any more when the caller tries again
            raise
        self._beside.finish()
        return loaded

    def _send_contents(self, contents: Sequence[Content]) -> "Sequence[_Sent]":
        sending = []
        for table in records.RUN_CONTENT:
            having = [content for content in contents if table in records.CONTENT_OF[content.run["kind"]]]
            if not having:  # the table is not touched, and costs no statement
                continue
            if self._beside.failed:
                break
            part = _part(table, having, partial(_batches, table, having))
            sending.append(self._beside.begin(partial(self._send_packed, part, packed(table, part.batches()))))
        return [each.result() for each in sending]

    def replace(self, table: Table, rows: Sequence[Row], key: Mapping[str, str]) -> None:
        """Make ``rows`` all that there is in ``table`` under ``key``, in one statement, and see that they are.

        For a table that is no part of a run. Raises ``NotPublished`` when what is there is not what was sent.
        """
        condition = " AND ".join(f"{identifier(name)} = {literal(value)}" for name, value in key.items())
        batches = [("", encode.to_arrow(table, rows))]
        self._check([self._send(_Part(table, lambda: batches, condition, tuple(key.values())))])
        self._beside.finish()

    def send(self, table: Table, batches: Callable[[], Batches], key: Mapping[str, str]) -> Digest:
        """``replace`` of any number of rows, without a look: the digest is what is to be found there."""
        condition = " AND ".join(f"{identifier(name)} = {literal(value)}" for name, value in key.items())
        sent = self._send(_Part(table, batches, condition, tuple(key.values())))
        self._beside.finish()
        return sent.digest

    def _send(self, part: "_Part") -> "_Sent":
        return self._send_packed(part, packed(part.table, part.batches()))

    def _send_packed(self, part: "_Part", shipment: Shipment) -> "_Sent":
        insert = f"INSERT INTO {self._place.table(part.table.name)} REPLACE WHERE {part.condition}"
        with shipment:
            if shipment.text is not None:
                self._warehouse.execute(f"{insert}\n{self._select_inline(part.table)}", {"rows": shipment.text})
                few = shipment.count <= COMPARED_ROWS
                return _Sent(part, shipment.digests, shipment.rows if few else None)
            self._send_staged(part, insert, shipment)
            return _Sent(part, shipment.digests)

    def _send_staged(self, part: "_Part", insert: str, shipment: Shipment) -> None:
        with self._volume_lock:
            if not self._volume_exists:
                self._warehouse.execute(ddl.create_volume(self._place))
                self._volume_exists = True
        # The same rows have the same path: what a killed command left behind is written over by the next.
        path = self._place.volume_path(*part.directory, f"{part.table.name}.parquet")
        assert shipment.file  # noqa: S101 - of a shipment without text
        self._warehouse.put(shipment.file, path)
        self._warehouse.execute(f"{insert}\n{self._select_staged(part.table, path)}")
        self._beside.begin(partial(self._remove, path))

    def _remove(self, path: str) -> None:
        try:
            self._warehouse.remove(path)
        except EnvironmentFault as fault:
            # The rows are in; the next publish of this run writes over the file.
            log.warning("the staged file %s stays behind: %s", path, fault.message)

    def _select_inline(self, table: Table) -> str:
        positions = {column.name: position for position, column in enumerate(table.columns)}
        values = ", ".join(
            f"{encode.from_text(table.column(name), positions[name], 'r')} AS {identifier(name)}"
            if name in positions
            else f"NULL AS {identifier(name)}"
            for name in self._columns[table.name]
        )
        return f"SELECT {values} FROM (SELECT explode(from_json(:rows, 'array<array<string>>')) AS r)"

    def _select_staged(self, table: Table, path: str) -> str:
        known = table.column_names
        values = ", ".join(
            identifier(name) if name in known else f"NULL AS {identifier(name)}"
            for name in self._columns[table.name]
        )
        return f"SELECT {values} FROM read_files({literal(path)}, format => 'parquet')"

    def _check(self, sent: "Sequence[_Sent]") -> None:
        """Compare everything with what was sent, in one statement."""
        found = self._warehouse.query("\nUNION ALL\n".join(map(self._look, sent)))
        if self._rehearsal:
            return
        there: dict[str, list[list[str | None]]] = {}
        for row in found.to_pylist():
            there.setdefault(row["t"], []).append(row["v"])
        differences = [
            difference
            for each in sent
            if (difference := self._difference(each, there.get(each.part.table.name, [])))
        ]
        if differences:
            raise NotPublished(
                f"results did not arrive whole: {'; '.join(differences)}",
                "they are safe in TestGen's database; run dqctl publish --pending, and if it happens again see "
                "whether something else writes to these tables",
            )

    def _look(self, sent: "_Sent") -> str:
        table, relation = sent.part.table, self._place.table(sent.part.table.name)
        if sent.rows is None:
            return (
                f"SELECT {literal(table.name)} AS t, v FROM "
                f"({digest.select(table, relation, sent.part.condition)}) AS d"
            )
        return self._values(sent.part)

    def _values(self, part: "_Part") -> str:
        return (
            f"SELECT {literal(part.table.name)} AS t, "
            f"array({', '.join(map(encode.as_text, part.table.columns))}) AS v "
            f"FROM {self._place.table(part.table.name)} WHERE {part.condition}"
        )

    def _difference(self, sent: "_Sent", there: Sequence[Sequence[str | None]]) -> str:
        part = sent.part
        if sent.rows is not None:
            return _difference(part.table, sent.rows, there)
        found = digest.read(there[0])
        if found == sent.digest:
            return ""
        if found.rows != sent.digest.rows:
            return f"{part.table.name} has {found.rows} of {sent.digest.rows} rows"
        if found.rows > READ_BACK_ROWS:
            return f"{part.table.name} has the {found.rows} rows, but not the values that were sent"
        rows = [row for _, batch in part.batches() for row in batch.to_pylist()]
        values = self._warehouse.query(self._values(part)).column("v").to_pylist()
        difference = _difference(part.table, rows, values)
        if not difference:
            log.warning("%s is whole, though this warehouse computes another digest of it", part.table.name)
        return difference


@dataclass(frozen=True)
class _Part:
    """What one load puts into one table: all rows for which ``condition`` holds."""

    table: Table
    batches: Callable[[], "Batches"]
    condition: str
    directory: tuple[str, ...]
    """Where in the volume they are staged when they are many."""


@dataclass(frozen=True)
class _Sent:
    """A part that is there, and what it should look like; ``rows`` only when they are few."""

    part: _Part
    digests: Mapping[str, Digest]
    rows: Sequence[Row] | None = field(default=None, repr=False)

    @property
    def digest(self) -> Digest:
        """Of all runs."""
        return sum(self.digests.values(), Digest())


def _part(table: Table, contents: Sequence[Content], batches: Callable[[], Batches]) -> _Part:
    stack = str(contents[0].run["stack"])
    run_ids = [content.run["run_id"] for content in contents]
    condition = f"stack = {literal(stack)} AND run_id IN ({', '.join(map(literal, run_ids))})"
    return _Part(table, batches, condition, (stack, run_ids[0]))


def _batches(table: Table, contents: Sequence[Content]) -> Batches:
    """The rows of all runs, one run after the other."""
    for content in contents:
        for batch in content.batches(table):
            yield content.run["run_id"], batch


def _loaded(run: Row, parts: Sequence[_Sent]) -> Loaded:
    digests = {
        sent.part.table.name: sent.digests.get(run["run_id"], Digest())
        for sent in parts
        if sent.part.table in records.CONTENT_OF[run["kind"]]
    }
    everything = [sorted(run.items()), [(name, each.rows, each.total) for name, each in sorted(digests.items())]]
    checksum = hashlib.sha256(json.dumps(everything, default=repr).encode()).hexdigest()
    return Loaded(run["run_id"], {name: each.rows for name, each in digests.items()}, checksum)


def _difference(table: Table, sent: Sequence[Row], there: Iterable[Sequence[str | None]]) -> str:
    found = Counter(tuple(map(encode.value_of, table.columns, values)) for values in there)
    expected = Counter(
        tuple(encode.sent_value(column, row.get(column.name)) for column in table.columns) for row in sent
    )
    if expected == found:
        return ""
    if found.total() != len(sent):
        return f"{table.name} has {found.total()} of {len(sent)} rows"
    lost = next(iter(expected - found))
    key = table.column_names.index(table.key[-1])
    twin = next((row for row in found if row[key] == lost[key]), None)
    if twin is None:
        return f"{table.name} lacks row {lost[key]}"
    wrong = [name for name, one, other in zip(table.column_names, lost, twin, strict=True) if one != other]
    return f"{table.name} differs in {', '.join(wrong)} of row {lost[key]}"
