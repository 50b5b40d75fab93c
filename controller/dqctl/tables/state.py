"""Commits of the saved state: rows into the log first, then one statement that makes them visible, or does not."""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dqctl.records import Row
from dqctl.tables import digest, encode
from dqctl.tables.digest import Digest
from dqctl.tables.migrations import Present
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place, identifier, literal
from dqctl.tables.state_tables import STATE_COMMITS, STATE_LOG, STATE_TABLES


@dataclass(frozen=True)
class Newest:
    """The newest commit that is visible, and who made it."""

    seq: int
    commit_id: str
    kind: str
    saved_at: datetime
    host: str | None
    reason: str | None


def newest(warehouse: Statements, place: Place, stack: str) -> Newest | None:
    """The newest commit of a stack; None when there is none."""
    found = warehouse.query(
        "SELECT seq, commit_id, kind, saved_at, host, reason "
        f"FROM {place.table(STATE_COMMITS.name)} WHERE stack = :stack ORDER BY seq DESC LIMIT 1",
        {"stack": stack},
    ).to_pylist()
    return Newest(**found[0]) if found else None


def commit(warehouse: Statements, place: Place, row: Row, sent: Digest) -> int | None:
    """Make a commit visible, unless its parent is not the newest any more or its rows are not there whole.

    ``row`` is that of ``dq_state_commits``, ``sent`` the digest of the log's rows. How many rows came of it, 1 or
    0, where the warehouse tells; a statement that was repeated may say 0 of its own success.
    """
    commits, log = place.table(STATE_COMMITS.name), place.table(STATE_LOG.name)
    stack, number = literal(row["stack"]), int(row["seq"])
    given = ", ".join(
        f"{encode.from_text(column, position, 'r')} AS {identifier(column.name)}"
        for position, column in enumerate(STATE_COMMITS.columns)
    )
    # The number says nothing that the id does not, but files are laid out by it: the others are not read.
    condition = f"stack = {stack} AND seq = {number} AND commit_id = {literal(row['commit_id'])}"
    arrived = digest.select(STATE_LOG, log, condition)
    conditions = [f"(SELECT v FROM ({arrived}) AS d) = array('{sent.rows}', '{sent.total}')"]
    if row["parent"] is not None:
        conditions.append(
            f"(SELECT max(p.commit_id) FROM {commits} AS p WHERE p.stack = {stack} AND p.seq = {number - 1}) "
            f"= {literal(row['parent'])}"
        )
    names = ", ".join(map(identifier, STATE_COMMITS.column_names))
    values = ", ".join(f"n.{identifier(name)}" for name in STATE_COMMITS.column_names)
    (text,) = json.loads(encode.to_json(STATE_COMMITS, [row]))
    return warehouse.execute(
        f"MERGE INTO {commits} AS c USING (\n"
        f"  SELECT {given} FROM (SELECT from_json(:row, 'array<string>') AS r) AS g\n"
        f"  WHERE {' AND '.join(conditions)}\n"
        f") AS n ON c.stack = n.stack AND c.seq >= n.seq\n"
        f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})",
        {"row": json.dumps(text, ensure_ascii=False)},
    )


def left_behind(warehouse: Statements, place: Place, stack: str, seq: int) -> tuple[str, ...]:
    """Ids of commits that have rows in the log and never became visible, nor ever will: ``seq`` is visible, and a
    commit with that number or a smaller one is refused, also one that another controller is making right now.
    """
    found = warehouse.query(
        "SELECT DISTINCT l.commit_id AS commit_id\n"
        f"FROM {place.table(STATE_LOG.name)} AS l LEFT ANTI JOIN {place.table(STATE_COMMITS.name)} AS c\n"
        "  ON c.stack = l.stack AND c.commit_id = l.commit_id\n"
        f"WHERE l.stack = :stack AND l.seq <= {seq}",
        {"stack": stack},
    )
    return tuple(sorted(map(str, found["commit_id"].to_pylist())))


def remove(warehouse: Statements, place: Place, stack: str, seq: int, commit_ids: Sequence[str]) -> None:
    """Take the rows of commits, numbered up to ``seq``, out of the log."""
    ids = ", ".join(map(literal, commit_ids))
    warehouse.execute(
        f"DELETE FROM {place.table(STATE_LOG.name)} "
        f"WHERE stack = {literal(stack)} AND seq <= {seq} AND commit_id IN ({ids})"
    )


def are_made(present: Present) -> bool:
    """Whether a state was ever saved in a schema."""
    return all(table.name in present.tables for table in STATE_TABLES)
