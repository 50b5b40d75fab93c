"""Which runs are published where: ``dqctl.published``, beside TestGen's schema in its metadata database.

It decides what is pending, nothing else. A crash between Databricks' commit and the ledger's does no harm: the run
is published again, which changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

# "dqctl" in ASCII: two commands that make the ledger at the same time would fail on each other's schema.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    """CREATE TABLE IF NOT EXISTS dqctl.published (
        home text NOT NULL,
        run_id uuid NOT NULL,
        target text NOT NULL,
        checksum text NOT NULL,
        published_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (home, run_id)
    )""",
)


@dataclass(frozen=True)
class Ledger:
    """The ledger, through a connection that is not in autocommit; each method is a transaction of its own.

    ``home`` identifies a set of published tables (``dq_migrations.home``), ``target`` is the name under which it
    was reached: tables that were dropped and made anew have another home, so that everything is published again.
    """

    connection: "psycopg.Connection[Any]"

    def ensure(self) -> None:
        """Make the ledger where there is none."""
        with self.connection.transaction():
            if self._is_there():
                return
            self.connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            for statement in _CREATE:
                self.connection.execute(statement.encode())

    def last_home(self, target: str) -> str | None:
        """The home that ``target`` led to last; ``None`` when nothing was published there, or ever."""
        with self.connection.transaction():
            if not self._is_there():
                return None
            found = self.connection.execute(
                "SELECT home FROM dqctl.published WHERE target = %s ORDER BY published_at DESC LIMIT 1", (target,)
            ).fetchone()
        return found[0] if found else None

    def published(self, home: str) -> frozenset[str]:
        """Ids of the runs that are in ``home``."""
        with self.connection.transaction():
            found = self.connection.execute(
                "SELECT run_id::text FROM dqctl.published WHERE home = %s", (home,)
            ).fetchall()
        return frozenset(row[0] for row in found)

    def record(self, home: str, target: str, checksums: Mapping[str, str]) -> None:
        """Remember that runs are in ``home``, by id with what they came to; again is no error."""
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO dqctl.published (home, run_id, target, checksum) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (home, run_id) DO UPDATE SET target = EXCLUDED.target, checksum = EXCLUDED.checksum,"
                " published_at = now()",
                [(home, run_id, target, checksum) for run_id, checksum in checksums.items()],
            )

    def _is_there(self) -> bool:
        found = self.connection.execute("SELECT to_regclass('dqctl.published') IS NOT NULL").fetchone()
        return bool(found and found[0])
