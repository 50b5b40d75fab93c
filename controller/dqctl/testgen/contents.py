"""What a metadata database holds, told apart from any other by numbers: rows and checksum of every table.

For comparing a copy with its original. Unlike a saved state (``state.saved``) nothing is left out.
"""

# ruff: noqa: S608 - SQL text out of names of the catalog, quoted by it or by state.rows

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, Queue

from dqctl.testgen.state import rows
from dqctl.testgen.state.saved import Connection

# Blocks of 8 KB that are summed by one statement: a connection gives up on a server that says nothing for 30 s.
_PORTION = 16384
_OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
_TABLES = f"""
    SELECT n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
           array_agg(a.attname::text ORDER BY a.attnum), pg_relation_size(c.oid) / 8192 + 1
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE {_OURS} AND c.relkind = 'r'
    GROUP BY n.nspname, c.relname, c.oid
    ORDER BY 1
"""
_SEQUENCES = f"""
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OURS} AND c.relkind = 'S' ORDER BY 1
"""
# What a schema is made of beside tables: a copy that lacks an index or a right would have the same rows.
_OBJECTS = f"""
    SELECT 'relation ' || c.relkind::text, count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_OURS} GROUP BY 1
    UNION ALL
    SELECT 'constraint ' || k.contype::text, count(*) FROM pg_constraint k
    JOIN pg_namespace n ON n.oid = k.connamespace WHERE {_OURS} GROUP BY 1
    UNION ALL
    SELECT 'function', count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OURS}
    UNION ALL
    SELECT 'trigger', count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} AND NOT t.tgisinternal
"""
# Roles beside the owner that have rights here; they belong to the server, no dump of a database holds them.
_ROLES = f"""
    SELECT DISTINCT pg_get_userbyid(a.grantee)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
    WHERE {_OURS} AND a.grantee NOT IN (0, c.relowner) ORDER BY 1
"""


@dataclass(frozen=True)
class Contents:
    """Rows and checksum by table, last value (and whether it was given out) by sequence, other objects by kind.

    A sequence that is left out is not compared: its being there is one of ``objects``.
    """

    tables: Mapping[str, tuple[int, int]]
    sequences: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(count for count, _ in self.tables.values())

    def differences(self, other: "Contents") -> tuple[str, ...]:
        """What is not the same in ``other``, in words; nothing when both hold the same."""
        found = []
        for name in sorted({*self.tables, *other.tables}):
            mine, yours = self.tables.get(name), other.tables.get(name)
            if mine is None or yours is None:
                found.append(f"{name} is missing" if yours is None else f"{name} is too many")
            elif mine[0] != yours[0]:
                found.append(f"{name} has {yours[0]} rows in place of {mine[0]}")
            elif mine != yours:
                found.append(f"{name} has other values")
        found += [
            f"sequence {name} differs"
            for name, last in sorted(self.sequences.items())
            if last != other.sequences.get(name)
        ]
        found += [
            f"number of {kind} differs"
            for kind in sorted({*self.objects, *other.objects})
            if self.objects.get(kind) != other.objects.get(kind)
        ]
        return tuple(found)


def contents(connection: Connection, *beside: Connection) -> Contents:
    """All that the database holds, in the snapshot of the transaction that is open.

    Outside of a repeatable-read transaction tables may be of different moments. The transaction's settings for
    texts of values are changed (``state.rows.settle``). Connections ``beside`` it share the work, each on a
    processor of its own, where nobody else changes the database.
    """
    rows.settle(connection)
    portions: Queue[tuple[str, str]] = Queue()
    found: dict[str, tuple[int, int]] = {}
    for name, table, columns, blocks in connection.execute(_TABLES.encode()).fetchall():
        found[str(name)] = 0, 0
        for first in range(0, int(blocks), _PORTION):
            portions.put((str(name), _summed(str(table), columns, first)))
    with ThreadPoolExecutor(1 + len(beside)) as workers:
        for sums in workers.map(lambda each: _sums(each, portions), (connection, *beside)):
            for name, count, total in sums:
                found[name] = found[name][0] + count, found[name][1] + total
    return Contents(found, sequences(connection), dict(connection.execute(_OBJECTS.encode()).fetchall()))


def _summed(table: str, columns: Sequence[str], first: int) -> str:
    digest = f"md5({rows.document(columns, 't')})"
    portion = f"t.ctid >= '({first},0)'::tid AND t.ctid < '({first + _PORTION},0)'::tid"
    return f"SELECT count(*), coalesce(sum({rows.number(digest)}), 0) FROM ONLY {table} t WHERE {portion}"


def _sums(connection: Connection, portions: "Queue[tuple[str, str]]") -> list[tuple[str, int, int]]:
    rows.settle(connection)
    found: list[tuple[str, int, int]] = []
    while True:
        try:
            name, statement = portions.get_nowait()
        except Empty:
            return found
        row = connection.execute(statement.encode()).fetchone()
        assert row  # noqa: S101 - an aggregate has one
        found.append((name, int(row[0]), int(row[1])))


def granted(connection: Connection) -> tuple[str, ...]:
    """Roles of the server that have rights in the database, beside those who own it."""
    return tuple(str(role) for (role,) in connection.execute(_ROLES.encode()).fetchall())


def sequences(connection: Connection) -> Mapping[str, tuple[int, bool]]:
    """The sequences as they are now: they belong to no snapshot."""
    found = {}
    for (name,) in connection.execute(_SEQUENCES.encode()).fetchall():
        row = connection.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone()
        assert row  # noqa: S101 - a sequence has one
        found[str(name)] = int(row[0]), bool(row[1])
    return found
