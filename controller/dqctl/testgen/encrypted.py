"""What TestGen stores encrypted, whichever of its tables holds it.

In 5.33.3, 5.92.2 and 5.134.0 every column of type bytea is one that TestGen encrypts (``EncryptedBytea`` and its
descendants of ``testgen.common.models``: passwords, private keys, passphrases, service account keys and secrets of
connections, secrets of notification destinations), and all of them are bytea.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

_COLUMNS = """
    SELECT c.relname, array_agg(a.attname ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'testgen'::regnamespace AND c.relkind IN ('r', 'p')
      AND a.atttypid = 'bytea'::regtype AND NOT a.attisdropped
    GROUP BY 1 ORDER BY 1
"""
# The primary key of a table that has the column.
_KEY = """
    SELECT array_agg(k.attname::text ORDER BY k.attnum)
    FROM pg_index i
    JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY(i.indkey)
    JOIN pg_attribute c ON c.attrelid = i.indrelid AND c.attname = %s AND NOT c.attisdropped
    WHERE i.indisprimary AND i.indrelid = to_regclass(%s)
"""


@dataclass(frozen=True)
class Sealed:
    """One stored value. ``row`` finds its row as long as the table is locked; ``owner`` names it for people."""

    table: str
    column: str
    row: str
    owner: str
    value: str


def read(connection: Connection) -> tuple[Sealed, ...]:
    """Everything that is stored encrypted; nobody else changes it until the end of the transaction.

    Raises ``psycopg.errors.LockNotAvailable`` when somebody is just changing it.
    """
    connection.execute("SET LOCAL lock_timeout = '10s'")
    found = []
    for table, columns in connection.execute(_COLUMNS).fetchall():
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table)))
        query = sql.SQL(
            "SELECT ctid::text, coalesce(row ->> 'connection_name', row ->> 'name', ctid::text), {columns}"
            " FROM (SELECT ctid, t.*, to_jsonb(t) AS row FROM {table} t) t"
        ).format(columns=sql.SQL(", ").join(map(sql.Identifier, columns)), table=sql.Identifier(table))
        for row, owner, *values in connection.execute(query).fetchall():
            found += [
                Sealed(table, column, row, owner, bytes(value).decode("latin-1"))
                for column, value in zip(columns, values, strict=True)
                if value is not None
            ]
    return tuple(found)


def write(connection: Connection, sealed: Sequence[Sealed], values: Sequence[str]) -> None:
    """Replace what ``read`` found in the same transaction, in its order."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for each, value in zip(sealed, values, strict=True):
        rows.setdefault((each.table, each.row), {})[each.column] = value
    # One statement a row: a row that was changed is found at another place.
    for (table, row), columns in rows.items():
        statement = sql.SQL("UPDATE {} SET {} WHERE ctid = %s::tid").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in columns),
        )
        changed = connection.execute(statement, [*(value.encode() for value in columns.values()), row])
        if changed.rowcount != 1:
            raise LookupError(f"{changed.rowcount} rows of {table} are at {row}, where one was expected")


def adopt(now: Connection, then: Connection, names: Iterable[str]) -> int:
    """Let the rows of ``then`` have what the same rows of ``now`` store in the columns ``names`` (table.column).

    For an older database whose values are encrypted under keys that are gone: those of now are the same secrets,
    or newer ones. How many were taken over; rows that are not there any more keep theirs. Commits.
    """
    taken = 0
    for name in names:
        table, column = name.split(".")
        row = now.execute(_KEY, [column, f"testgen.{table}"]).fetchone()
        if row is None or row[0] is None:  # this version has no such column
            continue
        key = [sql.Identifier(each) for each in row[0]]
        parts = {
            "table": sql.Identifier("testgen", table),
            "column": sql.Identifier(column),
            "key": sql.SQL(", ").join(key),
            "values": sql.SQL(", ").join([sql.Placeholder()] * len(key)),
        }
        stored = sql.SQL("SELECT {column}, {key} FROM {table} WHERE {column} IS NOT NULL").format(**parts)
        change = sql.SQL(
            "UPDATE {table} SET {column} = %s WHERE {column} IS NOT NULL AND ({key}) = ({values})"
        ).format(**parts)
        taken += sum(then.execute(change, each).rowcount for each in now.execute(stored).fetchall())
    then.commit()
    return taken
