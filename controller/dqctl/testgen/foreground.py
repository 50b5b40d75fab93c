"""Which jobs dqctl itself runs: ``dqctl.foreground``, beside TestGen's schema in its metadata database.

A job has a row here from the transaction that claims it. Where a scheduler works on the same queue, this tells
the jobs that dqctl left behind from those that the scheduler runs.

Where several processes of TestGen work for one command, ``dqctl.turns`` says which job has been taken by one of
them: each takes the next one that is left, so that a long one holds up nobody but its own process.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg

from dqctl.testgen.capabilities import Capabilities

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    "CREATE TABLE IF NOT EXISTS dqctl.foreground (job_id uuid PRIMARY KEY)",
)
_CREATE_TURNS = (
    "CREATE TABLE IF NOT EXISTS dqctl.turns (command uuid NOT NULL, turn integer NOT NULL,"
    " taken_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (command, turn))"
)

CLAIM = "INSERT INTO dqctl.foreground (job_id) VALUES (:id) ON CONFLICT DO NOTHING"
"""What the driver adds to the transaction in which it claims a job; ``:id`` is the job's."""

IS_OURS = "j.id IN (SELECT job_id FROM dqctl.foreground)"
"""SQL condition on ``job_executions j``."""


def ensure(connection: "psycopg.Connection[tuple[Any, ...]]", version: Capabilities) -> None:
    """Make the table where there is none, and forget the jobs that are over."""
    with connection.transaction():
        if connection.execute("SELECT to_regclass('dqctl.foreground')").fetchone() == (None,):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            for statement in _CREATE:
                connection.execute(statement.encode())
        connection.execute(
            "DELETE FROM dqctl.foreground f WHERE NOT EXISTS"
            " (SELECT FROM job_executions j WHERE j.id = f.job_id AND j.status = ANY(%s))",
            [list(version.working_statuses)],
        )


TAKE_TURN = "INSERT INTO dqctl.turns (command, turn) VALUES (:command, :turn) ON CONFLICT DO NOTHING"
"""What a process of TestGen does before a job: the row is its own, or the job is somebody else's."""


@contextlib.contextmanager
def turns(connection: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[UUID]:
    """A command whose jobs several processes share, for as long as the block lasts; ``ensure`` comes before it."""
    command = uuid4()
    with connection.transaction():
        if connection.execute("SELECT to_regclass('dqctl.turns')").fetchone() == (None,):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            connection.execute(_CREATE_TURNS)
        # Of commands that were killed; none lasts that long.
        connection.execute("DELETE FROM dqctl.turns WHERE taken_at < now() - interval '30 days'")
    try:
        yield command
    finally:
        with contextlib.suppress(psycopg.Error), connection.transaction():
            connection.execute("DELETE FROM dqctl.turns WHERE command = %s", [command])
