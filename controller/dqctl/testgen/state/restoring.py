"""A saved state becomes a database again: schema, rows, keys and triggers, sequences; then everything is compared.

Rows are JSON on their way (``rows``) and go into the tables by COPY, parsed by Arrow: PostgreSQL parses a million
JSON objects in a minute, its own format in seconds. No trigger fires, and keys and indexes come after the rows, so
rows come in any order and in portions of any size.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from pyarrow import json as arrow_json

from dqctl.testgen import contents
from dqctl.testgen.state import capture, ddl, rows, saved
from dqctl.testgen.state.saved import Connection
from dqctl.testgen.state.sealing import SEALED

# What a session of its own may spend on making indexes and looking at everything.
_SESSION = {"maintenance_work_mem": "256MB", "session_replication_role": "replica", "synchronous_commit": "off"}

# Of JSON that is parsed at once: Arrow's strings end at 2 GB.
_PARSED_BYTES = 32_000_000
# Blocks are parsed side by side.
_BLOCK_BYTES = 4_000_000

# In COPY's text format these have a form of their own.
_SPECIAL = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
_ANY_SPECIAL = r"[\\\n\r\t]"
# Types whose text has none of them.
_PLAIN = re.compile(r"(uuid|bigint|integer|smallint|boolean|double precision|real|numeric|timestamp|date)\b")

Opened = Callable[[str, str], str]


class Restoring:
    """Fills an empty database through ``connection``, which nobody else works with.

    First ``begin``, then ``put`` as often as there are rows, all in one transaction, so that rows are written
    once and for good (``FREEZE``); then ``finish``. A database in which one of them failed is to be dropped.
    """

    def __init__(self, connection: Connection, schema: Mapping[str, str], open_row: Opened) -> None:
        """``schema`` is that of ``ddl.read``; ``open_row`` opens what is sealed in a row of a table."""
        self._connection = connection
        self._schema = schema
        self._open_row = open_row
        self._tables: dict[str, _Target] = {}

    def begin(self) -> None:
        """Make the schema as it is before the rows. The roles that it gives rights to are there."""
        for name, value in _SESSION.items():
            self._connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        ddl.run(self._connection, self._schema["before"])
        # In the settings that texts were made in, so that they are read in the same.
        for name, value in rows.SETTINGS.items():
            self._connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        self._tables = _targets(self._connection)

    def prepare(self, portion: pa.Table) -> "Prepared":
        """Make rows ready: ``relation``, ``row``, and ``n``, how many equal ones there are. Works on its own: the
        next portion may be prepared while one is put.

        Raises ``LookupError`` for what fits no table, ``pyarrow.ArrowInvalid`` for a row that is no such row.
        """
        found: list[tuple[_Target, pa.StringArray]] = []
        for relation in pc.unique(portion.column("relation")).to_pylist():
            if relation not in self._tables:
                raise LookupError(f"there are rows of {relation}, which is no table of the schema")
            target = self._tables[relation]
            mine = portion.filter(pc.equal(portion.column("relation"), relation))
            if pc.min(mine.column("n")).as_py() < 1:
                raise LookupError(f"rows of {relation} went that never came")
            documents = _repeated(mine)
            if relation in SEALED and pc.any(pc.match_substring(documents, _MARK)).as_py():
                documents = pa.chunked_array([[self._open_row(relation, row) for row in documents.to_pylist()]])
            for part in _parts(documents):
                found += [(target, lines) for lines in _as_copied(target, _parsed(target, part)).chunks]
        return Prepared(found)

    def put(self, prepared: "Prepared") -> int:
        """Put rows into their tables; how many. ``psycopg.Error`` for one that does not fit."""
        for target, lines in prepared.parts:
            with self._connection.cursor().copy(target.statement) as copy:
                copy.write(_bytes_of(lines))
        return sum(len(lines) for _, lines in prepared.parts)

    def finish(
        self, sequences: Mapping[str, tuple[int, bool]], *beside: Connection
    ) -> Mapping[str, tuple[int, int]]:
        """Make keys, indexes and triggers, set the sequences; rows and checksum of every table, computed anew.

        Connections ``beside`` the own one, to the same database, help to compute.
        """
        self._connection.commit()
        ddl.run(self._connection, self._schema["after"])
        for name, (value, called) in sequences.items():
            self._connection.execute("SELECT setval(%s::regclass, %s, %s)", [name, value, called])
        self._connection.commit()
        self._connection.autocommit = True
        self._connection.execute("ANALYZE")
        self._connection.autocommit = False
        self._connection.execute("SET session_replication_role = origin")
        capture.ensure(self._connection)
        self._connection.commit()
        found = contents.contents(self._connection, *beside).tables
        self._connection.commit()
        return found


@dataclass(frozen=True)
class Prepared:
    """Rows as COPY takes them, and the table of each part."""

    parts: "Sequence[tuple[_Target, pa.StringArray]]"


class _Target:
    """A table that rows go into: its columns as documents have them, and those that are written.

    PostgreSQL does not ``freeze`` what goes into a partitioned table.
    """

    def __init__(self, name: str, columns: Sequence[tuple[str, str, bool]], *, freeze: bool) -> None:
        self.schema = pa.schema([(column, pa.string()) for column, _, _ in columns])
        self.written = [(column, bool(_PLAIN.match(kind))) for column, kind, generated in columns if not generated]
        self.statement = sql.SQL("COPY {} ({}) FROM STDIN (FREEZE {})").format(
            sql.Identifier(*name.split(".")),
            sql.SQL(", ").join(sql.Identifier(column) for column, _ in self.written),
            sql.Literal(freeze),
        )


def differences(wanted: Mapping[str, tuple[int, int]], found: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    """What of ``found`` is not as it was saved, a sentence a table; a table that is empty need not be there."""
    said = []
    for name in sorted(wanted.keys() | found.keys()):
        (rows_wanted, sum_wanted), (rows_found, sum_found) = wanted.get(name, (0, 0)), found.get(name, (0, 0))
        if rows_wanted != rows_found:
            said.append(f"{name} has {rows_found} rows, {rows_wanted} were saved")
        elif sum_wanted != sum_found:
            said.append(f"{name} has {rows_found} rows, and not those that were saved")
    return tuple(said)


_MARK = "dqctl-sealed:"


def _targets(connection: Connection) -> dict[str, _Target]:
    columns: dict[tuple[str, bool], list[tuple[str, str, bool]]] = {}
    for name, column, kind, generated, plain in connection.execute(_COLUMNS, [list(saved.SCHEMAS)]).fetchall():
        columns.setdefault((name, plain), []).append((column, kind, generated))
    return {name: _Target(name, found, freeze=plain) for (name, plain), found in columns.items()}


def _repeated(portion: pa.Table) -> pa.ChunkedArray:
    documents, counts = portion.column("row"), portion.column("n")
    if pc.max(counts).as_py() == 1:
        return documents
    places = [place for place, count in enumerate(counts.to_pylist()) for _ in range(count)]
    return documents.take(pa.array(places, pa.int64()))


def _parts(documents: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    count = max(1, -(-documents.nbytes // _PARSED_BYTES))
    size = max(1, -(-len(documents) // count))
    for start in range(0, len(documents), size):
        yield documents.slice(start, size)


def _parsed(target: _Target, documents: pa.ChunkedArray) -> pa.Table:
    # A line break inside of a document is escaped: JSON has no other.
    text = b"".join(_bytes_of(pc.binary_join_element_wise(chunk, "", "\n")) for chunk in documents.chunks)
    return arrow_json.read_json(
        pa.BufferReader(text),
        arrow_json.ReadOptions(block_size=max(_BLOCK_BYTES, pc.max(pc.binary_length(documents)).as_py() + 1)),
        arrow_json.ParseOptions(explicit_schema=target.schema, unexpected_field_behavior="error"),
    )


def _as_copied(target: _Target, table: pa.Table) -> pa.ChunkedArray:
    """The rows in COPY's text format, one string each."""
    columns = []
    for name, is_plain in target.written:
        column = table.column(name)
        if not is_plain and pc.any(pc.match_substring_regex(column, _ANY_SPECIAL)).as_py():
            for special, form in _SPECIAL:
                column = pc.replace_substring(column, special, form)
        columns.append(column)
    lines = pc.binary_join_element_wise(*columns, "\t", null_handling="replace", null_replacement="\\N")
    return pc.binary_join_element_wise(lines, "", "\n")


def _bytes_of(strings: pa.StringArray) -> Any:
    """All strings of an array, one behind the other, as they lie in memory."""
    if not len(strings):
        return b""
    offsets = strings.buffers()[1]
    first = int.from_bytes(offsets[strings.offset * 4 : strings.offset * 4 + 4], "little")
    end = strings.offset + len(strings)
    last = int.from_bytes(offsets[end * 4 : end * 4 + 4], "little")
    return strings.buffers()[2].slice(first, last - first)


_COLUMNS = """
    SELECT n.nspname || '.' || c.relname, a.attname::text, format_type(a.atttypid, NULL), a.attgenerated <> '',
           c.relkind = 'r'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    ORDER BY n.nspname, c.relname, a.attnum
"""
