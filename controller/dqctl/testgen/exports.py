"""What was handed over to other systems: ``dqctl.exports``, beside TestGen's schema in its metadata database.

A row is a request. It is written before the request leaves, with the results that travel in it, and they count as
sent for TestGen from that moment on: neither its own export nor a second dqctl takes them. ``sent_at`` follows
when the receiver has said so. A row without it, when nobody is exporting, is in doubt: its sender was killed, or
the answer was lost. A request that surely was not taken is forgotten, and its results wait again.
"""

# ruff: noqa: S608 - SQL text out of names that are written here; values travel as parameters

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg

from dqctl.testgen.capabilities import Capabilities

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    """CREATE TABLE IF NOT EXISTS dqctl.exports (
        id uuid PRIMARY KEY,
        target text NOT NULL,
        run_id uuid NOT NULL,
        results uuid[] NOT NULL,
        digest text NOT NULL,
        begun_at timestamptz NOT NULL DEFAULT now(),
        sent_at timestamptz
    )""",
)


@dataclass(frozen=True)
class Doubt:
    """A request of which nobody knows whether it was taken; ``digest`` is its body's SHA-256."""

    id: str
    target: str
    run_id: str
    results: tuple[str, ...]
    digest: str
    begun_at: datetime


@dataclass(frozen=True)
class Exports:
    """The requests, through a connection that is not in autocommit (search path on TestGen's schema); each method
    is a transaction of its own.
    """

    connection: "psycopg.Connection[Any]"
    capabilities: Capabilities

    def ensure(self) -> None:
        """Make the table where there is none; what is known of runs that are gone is forgotten."""
        with self.connection.transaction():
            if not self._is_there():
                self.connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                for statement in _CREATE:
                    self.connection.execute(statement.encode())
            self.connection.execute(
                "DELETE FROM dqctl.exports e WHERE NOT EXISTS (SELECT FROM job_executions j WHERE j.id = e.run_id)"
            )

    def claim(self, target: str, run_id: str, results: Sequence[str], digest: str) -> str | None:
        """Before a request leaves: write it down, and let TestGen take its results for sent; the request's id.

        None, and nothing is changed, when another export has taken one of the results meanwhile.
        """
        made = str(uuid4())
        with self.connection.transaction() as transaction:
            taken = self._mark(run_id, results, "Queued", "Sent")
            if taken != len(results):
                raise psycopg.Rollback(transaction)
            self._write(made, target, run_id, results, digest)
        return made if taken == len(results) else None

    def sent(self, request: str) -> None:
        """The receiver has it, or is taken to have it."""
        with self.connection.transaction():
            self.connection.execute("UPDATE dqctl.exports SET sent_at = now() WHERE id = %s", (request,))

    def release(self, request: str) -> None:
        """The receiver does not have it, or is taken not to have it: its results wait again."""
        with self.connection.transaction():
            found = self.connection.execute(
                "DELETE FROM dqctl.exports WHERE id = %s RETURNING run_id::text, results::text[]", (request,)
            ).fetchone()
            if found:
                self._mark(found[0], found[1], "Sent", "Queued")

    def doubts(self) -> tuple[Doubt, ...]:
        """Requests in doubt, the oldest first; where an export is under way, its request too."""
        with self.connection.transaction():
            if not self._is_there():
                return ()
            found = self.connection.execute(
                "SELECT id::text, target, run_id::text, results::text[], digest, begun_at FROM dqctl.exports"
                " WHERE sent_at IS NULL AND results <> '{}' ORDER BY begun_at, id"
            ).fetchall()
        return tuple(Doubt(row[0], row[1], row[2], tuple(row[3]), row[4], row[5]) for row in found)

    def record(self, target: str, run_id: str, digest: str) -> None:
        """Remember that ``target`` has a whole run, where a request may be repeated without harm."""
        with self.connection.transaction():
            request = str(uuid4())
            self._write(request, target, run_id, (), digest)
            self.connection.execute("UPDATE dqctl.exports SET sent_at = now() WHERE id = %s", (request,))

    def recorded(self, target: str) -> frozenset[str]:
        """Ids of the runs that ``target`` has as a whole."""
        with self.connection.transaction():
            if not self._is_there():
                return frozenset()
            found = self.connection.execute(
                "SELECT run_id::text FROM dqctl.exports"
                " WHERE target = %s AND results = '{}' AND sent_at IS NOT NULL",
                (target,),
            ).fetchall()
        return frozenset(row[0] for row in found)

    def _is_there(self) -> bool:
        return self.connection.execute("SELECT to_regclass('dqctl.exports') IS NOT NULL").fetchone() == (True,)

    def _write(self, request: str, target: str, run_id: str, results: Sequence[str], digest: str) -> None:
        self.connection.execute(
            "INSERT INTO dqctl.exports (id, target, run_id, results, digest) VALUES (%s, %s, %s, %s::uuid[], %s)",
            (request, target, run_id, list(results), digest),
        )

    def _mark(self, run_id: str, results: Sequence[str], now: str, then: str) -> int:
        # Results are found by their run, which is indexed in every version.
        statement = (
            "UPDATE test_results SET observability_status = %s WHERE observability_status = %s"
            f" AND test_run_id IN (SELECT id FROM test_runs WHERE {self.capabilities.job_of_run} = %s)"
            " AND id = ANY(%s::uuid[])"
        )
        return self.connection.execute(statement.encode(), (then, now, run_id, list(results))).rowcount
