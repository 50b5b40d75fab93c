"""Commits of a saved state, and the rows that it had as of one of them."""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place, identifier
from dqctl.tables.state_tables import STATE_COMMITS, STATE_LOG

PORTION_ROWS = 20_000


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


def rows(warehouse: Streaming, place: Place, state: SavedState) -> Iterator[pa.Table]:
    """The rows that the state has, in portions: ``relation``, ``row``, and ``n``, how many equal ones there are.

    Rows of a base and of the deltas after it are added up by their digest: the text of a row with sealed values is
    another one each time. ``n`` below 1 is none of a state that is whole.
    """
    commits, log = place.table(STATE_COMMITS.name), place.table(STATE_LOG.name)
    return warehouse.stream(
        "SELECT l.relation AS relation, max(CASE WHEN l.change > 0 THEN l.row END) AS row,\n"
        "  CAST(sum(l.change) AS BIGINT) AS n\n"
        f"FROM {log} AS l JOIN {commits} AS c ON c.stack = l.stack AND c.commit_id = l.commit_id\n"
        f"WHERE l.stack = :stack AND c.seq BETWEEN {state.base_seq} AND {state.seq}\n"
        f"  AND l.seq BETWEEN {state.base_seq} AND {state.seq}\n"
        "GROUP BY l.relation, l.digest HAVING sum(l.change) <> 0",
        {"stack": state.stack},
        rows=PORTION_ROWS,
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
