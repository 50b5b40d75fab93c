"""Putting a run into the tables so that doing it again changes nothing, and seeing that it arrived whole.

One statement a table, whatever the number of rows: ``INSERT INTO ... REPLACE WHERE`` of this run's rows, atomic
for each table. Few rows travel inside the statement, as one parameter; many go through a file in a volume. The
run's own row comes last, after the others were read back and compared: a run that can be seen is complete.
"""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

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

    def load(self, content: RunContent) -> None:
        """Write the run's rows, read them back, and then make the run visible.

        Raises ``NotPublished`` when what is there is not what was sent; the run is not visible then.
        """
        run = content.run
        tables = records.CONTENT_OF[run["kind"]]
        strangers = [name for name, rows in content.rows.items() if rows and name not in {t.name for t in tables}]
        if strangers:
            raise ValueError(f"a {run['kind']} run has no rows in {', '.join(strangers)}")
        for table in tables:
            self._replace(table, run, content.rows[table.name])
        self._check(tables, content)
        self._replace(records.RUNS, run, (run,))

    def _replace(self, table: Table, run: Row, rows: Sequence[Row]) -> None:
        encoded = encode.to_json(table, rows)
        if len(encoded.encode()) <= INLINE_BYTES:
            self._warehouse.execute(f"{self._insert(table, run)}\n{self._select_inline(table)}", {"rows": encoded})
        else:
            self._replace_staged(table, run, rows)

    def _replace_staged(self, table: Table, run: Row, rows: Sequence[Row]) -> None:
        if not self._volume_exists:
            self._warehouse.execute(ddl.create_volume(self._place))
            self._volume_exists = True
        # One path for one table of one run: what a killed command left behind is written over by the next.
        path = self._place.volume_path(run["stack"], run["run_id"], f"{table.name}.parquet")
        self._warehouse.put(encode.to_parquet(table, rows), path)
        self._warehouse.execute(f"{self._insert(table, run)}\n{self._select_staged(table, path)}")
        try:
            self._warehouse.remove(path)
        except EnvironmentFault as fault:
            # The rows are in; the next publish of this run writes over the file.
            log.warning("the staged file %s stays behind: %s", path, fault.message)

    def _insert(self, table: Table, run: Row) -> str:
        return f"INSERT INTO {self._place.table(table.name)} REPLACE WHERE {_of_run(run)}"

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

    def _check(self, tables: Sequence[Table], content: RunContent) -> None:
        """Compare every value with what was sent, in one statement."""
        statement = "\nUNION ALL\n".join(
            f"SELECT {literal(table.name)} AS t, array({', '.join(map(encode.as_text, table.columns))}) AS v "
            f"FROM {self._place.table(table.name)} WHERE {_of_run(content.run)}"
            for table in tables
        )
        found: dict[str, Counter[tuple[object, ...]]] = {table.name: Counter() for table in tables}
        by_name = {table.name: table for table in tables}
        for row in self._warehouse.query(statement).to_pylist():
            columns = by_name[row["t"]].columns
            found[row["t"]][tuple(map(encode.value_of, columns, row["v"]))] += 1
        differences = [
            difference
            for table in tables
            if (difference := _difference(table, content.rows[table.name], found[table.name]))
        ]
        if differences:
            raise NotPublished(
                f"run {content.run['run_id']} did not arrive whole: {'; '.join(differences)}",
                "its results are safe in TestGen's database; run dqctl publish --pending, and if it happens again "
                "see whether something else writes to these tables",
            )


def row_counts(content: RunContent) -> str:
    """Rows of the run by table, as JSON with sorted keys."""
    counts = {table.name: len(content.rows[table.name]) for table in records.CONTENT_OF[content.run["kind"]]}
    return json.dumps(counts, sort_keys=True)


def _of_run(run: Row) -> str:
    return f"stack = {literal(run['stack'])} AND run_id = {literal(run['run_id'])}"


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
    key = table.column_names.index("id")
    twin = next((row for row in found if row[key] == lost[key]), None)
    if twin is None:
        return f"{table.name} lacks row {lost[key]}"
    wrong = [name for name, one, other in zip(table.column_names, lost, twin, strict=True) if one != other]
    return f"{table.name} differs in {', '.join(wrong)} of row {lost[key]}"
