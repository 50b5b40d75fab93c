"""The rows of one save, out of the database: those of a batch of changes, or all there are.

Both come as CSV in the columns of ``dq_state_log``: stack, commit_id, seq, relation, change, row, digest.
"""

# ruff: noqa: S608 - SQL text out of names of the catalog, quoted in rows

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from dqctl.testgen.state import rows
from dqctl.testgen.state.saved import Connection, Relation

# Of CSV that is handed on at once: some thousand rows.
_BLOCK_BYTES = 4_000_000

Tables = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Commit:
    """What its rows carry of a commit."""

    stack: str
    commit_id: str
    seq: int


@dataclass(frozen=True)
class Written:
    """What is written down since the last save. ``is_stale``: a table was emptied, nobody knows of what."""

    changed: tuple[str, ...]
    is_stale: bool


def written(connection: Connection) -> Written:
    """What is written down, by table, in as many looks at an index as there are tables and one more."""
    found = connection.execute(_CHANGED).fetchall()
    return Written(
        tuple(str(relation) for relation, change in found if change),
        any(not change for _, change in found),
    )


def changes_waiting(connection: Connection) -> int:
    """How many rows came or went since the last save, those of one that was interrupted included."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM dqctl.state_changes) + (SELECT count(*) FROM dqctl.state_batch)"
    ).fetchone()
    return int(row[0]) if row else 0


def take(connection: Connection, found: Sequence[Relation], changed: Sequence[str]) -> int:
    """Make what is written down the batch, in the transaction that is open; how many rows the batch has.

    A batch that is there already was not saved and becomes a part of it. What came and went again is in none.
    ``changed`` are all tables that the transaction sees changes of; they are among ``found``.
    """
    rows.settle(connection)
    parts = [_as_documents(relation) for relation in found if relation.name in changed]
    statement = (
        "WITH gone AS (DELETE FROM dqctl.state_changes RETURNING relation, change, row),\n"
        "net AS MATERIALIZED (SELECT relation, row, sum(change) AS change FROM gone"
        " GROUP BY relation, row HAVING sum(change) <> 0),\n"
        "earlier AS (DELETE FROM dqctl.state_batch RETURNING relation, change, row AS document)\n"
        "INSERT INTO dqctl.state_batch (relation, change, row, digest)\n"
        "SELECT relation, sum(change), document, md5(document) FROM (\n"
        + "\nUNION ALL\n".join([*parts, "SELECT relation, change, document FROM earlier"])
        + "\n) AS documents GROUP BY relation, document HAVING sum(change) <> 0"
    )
    return connection.execute(statement.encode()).rowcount


def forget(connection: Connection) -> None:
    """Drop the batch, which is saved, in the transaction that is open."""
    connection.execute("DELETE FROM dqctl.state_batch")


def forget_changes(connection: Connection) -> None:
    """Drop all changes that the transaction sees: what it reads is saved whole."""
    connection.execute("DELETE FROM dqctl.state_changes")
    forget(connection)


def after(tables: Tables, connection: Connection) -> dict[str, tuple[int, int]]:
    """Rows and checksums of the tables when the batch has come to them."""
    sums = dict(tables)
    for relation, count, total in connection.execute(_SUMS.encode()).fetchall():
        had = sums.get(relation, (0, 0))
        sums[relation] = (had[0] + int(count), had[1] + int(total))
    return sums


def of_batch(connection: Connection, commit: Commit, relations: Sequence[str]) -> Iterator[bytes]:
    """The rows of the batch that are of these tables."""
    yield from _copy(
        connection,
        "SELECT %(stack)s, %(commit_id)s, %(seq)s, relation, change, row, digest FROM dqctl.state_batch"
        " WHERE relation = ANY(%(relations)s)",
        commit,
        {"relations": list(relations)},
    )


def of_table(connection: Connection, commit: Commit, relation: Relation) -> Iterator[bytes]:
    """All rows of a table."""
    document = rows.document(relation.columns, "t")
    yield from _copy(
        connection,
        "SELECT %(stack)s, %(commit_id)s, %(seq)s, %(relation)s, 1, document, md5(document)"
        f" FROM (SELECT {document.replace('%', '%%')} AS document FROM {rows.quoted(relation.name)} t OFFSET 0) d",
        commit,
        {"relation": relation.name},
    )


def _copy(connection: Connection, query: str, commit: Commit, parameters: Mapping[str, object]) -> Iterator[bytes]:
    # COPY takes no parameters: this cursor puts them into the text, quoted.
    with psycopg.ClientCursor(connection) as cursor:
        block = bytearray()
        values = {"stack": commit.stack, "commit_id": commit.commit_id, "seq": commit.seq, **parameters}
        with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)".encode(), values) as lines:
            for line in lines:
                block += line
                if len(block) >= _BLOCK_BYTES:
                    yield bytes(block)
                    block.clear()
        if block:
            yield bytes(block)


def _as_documents(relation: Relation) -> str:
    # OFFSET 0: the text is read once a row, not once a column.
    typed = (
        f"SELECT n.relation, n.change, n.row::{rows.quoted(relation.name)} AS r FROM net n"
        f" WHERE n.relation = {_literal(relation.name)} OFFSET 0"
    )
    return f"SELECT relation, change, {rows.document(relation.columns, '(r)')} AS document FROM ({typed}) AS typed"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_CHANGED = "SELECT DISTINCT relation, change <> 0 FROM dqctl.state_changes"
_SUMS = (
    f"SELECT relation, sum(change), sum(change * ({rows.number('digest')})::numeric)"
    " FROM dqctl.state_batch GROUP BY relation"
)
