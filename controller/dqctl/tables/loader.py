"""Putting runs into the tables so that doing it again changes nothing, and seeing that they arrived whole.

One statement a table, whatever the number of rows and runs: ``INSERT INTO ... REPLACE WHERE`` of these runs' rows,
atomic for each table. Few rows travel inside the statement, as one parameter; many go through a file in a volume.
The runs' own rows come last, after the others were read back and compared: a run that can be seen is complete.
"""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dqctl import records
from dqctl.errors import EnvironmentFault, NotPublished
from dqctl.records import Row, RunContent, Table
from dqctl.tables import ddl, encode
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place, identifier, literal

log = logging.getLogger(__name__)

# A warehouse takes 1 MB of parameters; the rest is for what the wire adds.
INLINE_BYTES = 700_000


class Loader:
    """Loads runs into the tables at ``place``. ``columns`` holds each table's columns in the table's own order:
    ``REPLACE WHERE`` goes by position, and columns that were added later come last.
    """

    def __init__(self, warehouse: Statements, place: Place, columns: Mapping[str, Sequence[str]]) -> None:
        self._warehouse = warehouse
        self._place = place
        self._columns = columns
        self._volume_exists = False

    def load(self, contents: Sequence[RunContent]) -> None:
        """Write the rows of some runs of one stack, read them back, and then make the runs visible.

        Raises ``NotPublished`` when what is there is not what was sent; none of the runs is visible then.
        """
        parts = [part for table in records.RUN_CONTENT if (part := _part(table, contents))]
        for part in parts:
            self._replace(part)
        self._check(parts)
        self._replace(_of_runs(records.RUNS, contents, [content.run for content in contents]))

    def replace(self, table: Table, rows: Sequence[Row], key: Mapping[str, str]) -> None:
        """Make ``rows`` all that there is in ``table`` under ``key``, in one statement, and read them back.

        For a table that is no part of a run. Raises ``NotPublished`` when what is there is not what was sent.
        """
        condition = " AND ".join(f"{identifier(name)} = {literal(value)}" for name, value in key.items())
        part = _Part(table, rows, condition, tuple(key.values()))
        self._replace(part)
        self._check([part])

    def _replace(self, part: "_Part") -> None:
        encoded = encode.to_json(part.table, part.rows)
        insert = f"INSERT INTO {self._place.table(part.table.name)} REPLACE WHERE {part.condition}"
        if len(encoded.encode()) <= INLINE_BYTES:
            self._warehouse.execute(f"{insert}\n{self._select_inline(part.table)}", {"rows": encoded})
        else:
            self._replace_staged(part, insert)

    def _replace_staged(self, part: "_Part", insert: str) -> None:
        if not self._volume_exists:
            self._warehouse.execute(ddl.create_volume(self._place))
            self._volume_exists = True
        # The same rows have the same path: what a killed command left behind is written over by the next.
        path = self._place.volume_path(*part.directory, f"{part.table.name}.parquet")
        self._warehouse.put(encode.to_parquet(part.table, part.rows), path)
        self._warehouse.execute(f"{insert}\n{self._select_staged(part.table, path)}")
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

    def _check(self, parts: "Sequence[_Part]") -> None:
        """Compare every value with what was sent, in one statement."""
        statement = "\nUNION ALL\n".join(
            f"SELECT {literal(part.table.name)} AS t, "
            f"array({', '.join(map(encode.as_text, part.table.columns))}) AS v "
            f"FROM {self._place.table(part.table.name)} WHERE {part.condition}"
            for part in parts
        )
        found: dict[str, Counter[tuple[object, ...]]] = {part.table.name: Counter() for part in parts}
        columns = {part.table.name: part.table.columns for part in parts}
        for row in self._warehouse.query(statement).to_pylist():
            found[row["t"]][tuple(map(encode.value_of, columns[row["t"]], row["v"]))] += 1
        differences = [
            difference
            for part in parts
            if (difference := _difference(part.table, part.rows, found[part.table.name]))
        ]
        if differences:
            raise NotPublished(
                f"results did not arrive whole: {'; '.join(differences)}",
                "they are safe in TestGen's database; run dqctl publish --pending, and if it happens again see "
                "whether something else writes to these tables",
            )


@dataclass(frozen=True)
class _Part:
    """What one load puts into one table: all rows for which ``condition`` holds."""

    table: Table
    rows: Sequence[Row]
    condition: str
    directory: tuple[str, ...]
    """Where in the volume they are staged when they are many."""


def _of_runs(table: Table, contents: Sequence[RunContent], rows: Sequence[Row]) -> _Part:
    stack = str(contents[0].run["stack"])
    run_ids = [content.run["run_id"] for content in contents]
    condition = f"stack = {literal(stack)} AND run_id IN ({', '.join(map(literal, run_ids))})"
    return _Part(table, rows, condition, (stack, run_ids[0]))


def _part(table: Table, contents: Sequence[RunContent]) -> _Part | None:
    """``None`` when no run is of a kind that has rows in the table: it is not touched, and costs no statement."""
    having = [content for content in contents if table in records.CONTENT_OF[content.run["kind"]]]
    strangers = [content for content in contents if content not in having and content.rows[table.name]]
    if strangers:
        raise ValueError(f"a {strangers[0].run['kind']} run has no rows in {table.name}")
    if not having:
        return None
    return _of_runs(table, having, [row for content in having for row in content.rows[table.name]])


def row_counts(content: RunContent) -> str:
    """Rows of the run by table, as JSON with sorted keys."""
    counts = {table.name: len(content.rows[table.name]) for table in records.CONTENT_OF[content.run["kind"]]}
    return json.dumps(counts, sort_keys=True)


def _difference(table: Table, sent: Sequence[Row], found: "Counter[tuple[object, ...]]") -> str:
    expected = Counter(
        tuple(encode.sent_value(column, row.get(column.name)) for column in table.columns) for row in sent
    )
    if expected == found:
        return ""
    there = found.total()
    if there != len(sent):
        return f"{table.name} has {there} of {len(sent)} rows"
    lost = next(iter(expected - found))
    key = table.column_names.index(table.key[-1])
    twin = next((row for row in found if row[key] == lost[key]), None)
    if twin is None:
        return f"{table.name} lacks row {lost[key]}"
    wrong = [name for name, one, other in zip(table.column_names, lost, twin, strict=True) if one != other]
    return f"{table.name} differs in {', '.join(wrong)} of row {lost[key]}"
