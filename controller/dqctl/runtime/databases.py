"""The databases of a stack beside its own; giving the stack another one changes all names in one transaction."""

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import EnvironmentFault
from dqctl.runtime.ports import MetadataServer

NEXT = "datakitchen_next"
"""Made out of a backup, for a trial; the stack's own one day, or dropped."""

BEFORE = "datakitchen_before"
"""The stack's own until the last upgrade."""

OLDER = "datakitchen_older"
"""That of the upgrade before the last, for the moment in which the names change."""

UNDONE = "datakitchen_undone"
"""The stack's own until a rollback, for the moment of the rollback."""

ALL = (NEXT, BEFORE, OLDER, UNDONE)

_MAINTENANCE = "postgres"
_SECONDS = 60.0
_POLL = 0.1


def existing(server: MetadataServer, names: Iterable[str] = ALL) -> frozenset[str]:
    """Which of ``names`` there are."""
    with server.connect(_MAINTENANCE) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s)", [list(names)]
        ).fetchall()
    return frozenset(str(name) for (name,) in rows)


def size(server: MetadataServer, name: str) -> int:
    """Bytes of a database on disk."""
    with server.connect(_MAINTENANCE) as connection:
        row = connection.execute("SELECT pg_database_size(%s::name)", [name]).fetchone()
    return int(row[0]) if row else 0


def rename(server: MetadataServer, moves: Sequence[tuple[str, str]], clock: Clock = SYSTEM_CLOCK) -> None:
    """Give databases other names, ``moves`` in their order, all or none; sessions of all of them are ended.

    Raises ``EnvironmentFault`` when somebody comes back again and again.
    """
    deadline = Deadline(_SECONDS, clock)
    while not _renamed(server, moves):
        if deadline.passed:
            raise EnvironmentFault(
                "the metadata database is in use and cannot get another name",
                "close other programs' connections to it (psql, a UI), then try again; nothing was changed",
            )
        clock.sleep(_POLL)


def _renamed(server: MetadataServer, moves: Sequence[tuple[str, str]]) -> bool:
    with server.connect(_MAINTENANCE) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)",
            [[old for old, _ in moves]],
        )
        try:
            for old, new in moves:
                connection.execute(
                    sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
                )
        except psycopg.errors.ObjectInUse:  # somebody came back; the server itself has waited for 5 s
            connection.rollback()
            return False
    return True
