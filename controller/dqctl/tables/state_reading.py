"""Commits of a saved state, and the rows that it had as of one of them."""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place, identifier, literal
from dqctl.tables.state_tables import STATE_COMMITS, STATE_LOG

PORTION_ROWS = 20_000
STATEMENT_ROWS = 150_000
"""About as many rows are asked for at once."""

_DIGITS = "0123456789abcdef"


class Streaming(Statements, Protocol):
    """A warehouse that gives rows in portions."""

    def stream(
        self, statement: str, parameters: Mapping[str, Any] | None = None, *, rows: int
    ) -> Iterator[pa.Table]:
        """Run a statement and give its rows in portions of ``rows``."""
        ...


@dataclass(frozen=True)
class SavedState:
    """The state as of one commit. ``tables`` has rows and checksum of each table, ``sequences`` the last value of
    each and whether it was given out, ``schema`` the SQL of ``testgen.state.ddl``.

    ``newest`` are number and id of the newest commit of all.
    """

    stack: str
    seq: int
    commit_id: str
    base_seq: int
    kind: str
    saved_at: datetime
    host: str | None
    reason: str | None
    testgen_version: str
    schema_revision: int
    keys: str
    tables: Mapping[str, tuple[int, int]]
    sequences: Mapping[str, tuple[int, bool]]
    schema: Mapping[str, str]
    newest: tuple[int, str]

    @property
    def is_newest(self) -> bool:
        """Whether nothing was saved after it."""
        return self.newest == (self.seq, self.commit_id)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(rows for rows, _ in self.tables.values())


def find(
    warehouse: Statements, place: Place, stack: str, *, seq: int | None = None, as_of: datetime | None = None
) -> SavedState | None:
    """The state of ``stack``: as of commit ``seq``, or the last one at ``as_of``, or the newest; one statement.

    None when there is no such commit. The tables have to be there.
    """
    commits = place.table(STATE_COMMITS.name)
    wanted, parameters = "true", {"stack": stack}
    if seq is not None:
        wanted = f"seq = {int(seq)}"
    elif as_of is not None:
        wanted, parameters["as_of"] = "saved_at <= CAST(:as_of AS TIMESTAMP)", as_of.isoformat()
    own = ", ".join(f"c.{identifier(name)}" for name in _COLUMNS)
    found = warehouse.query(
        f"SELECT {own}, b.ddl AS ddl, n.seq AS newest_seq, n.commit_id AS newest_id\n"
        f"FROM (SELECT * FROM {commits} WHERE stack = :stack AND {wanted} ORDER BY seq DESC LIMIT 1) AS c\n"
        f"JOIN {commits} AS b ON b.stack = c.stack AND b.seq = c.base_seq\n"
        f"JOIN (SELECT * FROM {commits} WHERE stack = :stack ORDER BY seq DESC LIMIT 1) AS n ON n.stack = c.stack",
        parameters,
    ).to_pylist()
    return _state(found[0]) if found else None


def delta_rows(warehouse: Statements, place: Place, state: SavedState) -> int:
    """How many rows of the log came after the base that the state builds on."""
    found = warehouse.query(
        f"SELECT CAST(coalesce(sum(log_rows), 0) AS BIGINT) AS n FROM {place.table(STATE_COMMITS.name)} "
        f"WHERE stack = :stack AND seq > {state.base_seq} AND seq <= {state.seq}",
        {"stack": state.stack},
    )
    return int(found["n"].to_pylist()[0])


def rows(warehouse: Streaming, place: Place, state: SavedState) -> Sequence[Iterator[pa.Table]]:
    """The rows that the state has, in portions: ``relation``, ``row``, and ``n``, how many equal ones there are.

    Rows of a base and of the deltas after it are added up by their digest: the text of a row with sealed values is
    another one each time. ``n`` below 1 is none of a state that is whole.

    Many rows come by several statements, each of which begins when it is first asked for a portion and may be read
    beside another: a warehouse that gathers an answer before it gives any of it away (the local one does) gathers
    the one while the other is used, and need not hold them all.
    """
    count = max(1, min(len(_DIGITS), -(-state.rows // STATEMENT_ROWS)))
    select = _of_base if state.base_seq == state.seq else _added_up
    parts = [_DIGITS[part * len(_DIGITS) // count : (part + 1) * len(_DIGITS) // count] for part in range(count)]
    among = [f" AND substr(l.digest, 1, 1) IN ({', '.join(map(literal, digits))})" for digits in parts]
    statements = [select(place, state, each if count > 1 else "") for each in among]
    return [warehouse.stream(each, {"stack": state.stack}, rows=PORTION_ROWS) for each in statements]


def _of_base(place: Place, state: SavedState, among: str) -> str:
    return (
        "SELECT l.relation AS relation, l.row AS row, l.change AS n\n"
        f"FROM {place.table(STATE_LOG.name)} AS l\n"
        f"WHERE l.stack = :stack AND l.seq = {state.seq} AND l.commit_id = {literal(state.commit_id)}{among}"
    )


def _added_up(place: Place, state: SavedState, among: str) -> str:
    """Only what a delta has touched is grouped: the other rows of a base pass as they are."""
    commits, log = place.table(STATE_COMMITS.name), place.table(STATE_LOG.name)
    return (
        "WITH l AS (\n"
        "  SELECT l.relation, l.digest, l.change, l.row, l.seq\n"
        f"  FROM {log} AS l JOIN {commits} AS c ON c.stack = l.stack AND c.commit_id = l.commit_id\n"
        f"  WHERE l.stack = :stack AND c.seq BETWEEN {state.base_seq} AND {state.seq}\n"
        f"    AND l.seq BETWEEN {state.base_seq} AND {state.seq}{among}\n"
        f"), touched AS (SELECT DISTINCT relation, digest FROM l WHERE seq > {state.base_seq})\n"
        "SELECT l.relation AS relation, l.row AS row, l.change AS n\n"
        "FROM l LEFT ANTI JOIN touched AS t ON t.relation = l.relation AND t.digest = l.digest\n"
        "UNION ALL\n"
        "SELECT l.relation, max(CASE WHEN l.change > 0 THEN l.row END), CAST(sum(l.change) AS BIGINT)\n"
        "FROM l LEFT SEMI JOIN touched AS t ON t.relation = l.relation AND t.digest = l.digest\n"
        "GROUP BY l.relation, l.digest HAVING sum(l.change) <> 0"
    )


_COLUMNS = (
    "stack", "seq", "commit_id", "base_seq", "kind", "saved_at", "host", "reason", "testgen_version",
    "schema_revision", "keys", "tables", "sequences",
)  # fmt: skip


def _state(row: Mapping[str, Any]) -> SavedState:
    given = {name: row[name] for name in _COLUMNS}
    given["tables"] = {name: (int(count), int(sum_)) for name, (count, sum_) in json.loads(row["tables"]).items()}
    given["sequences"] = {
        name: (int(value), bool(called)) for name, (value, called) in json.loads(row["sequences"]).items()
    }
    return SavedState(**given, schema=json.loads(row["ddl"]), newest=(int(row["newest_seq"]), row["newest_id"]))
