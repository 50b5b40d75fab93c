"""Which jobs dqctl itself runs: ``dqctl.foreground``, beside TestGen's schema in its metadata database.

A job has a row here from the transaction that claims it. Where a scheduler works on the same queue, this tells
the jobs that dqctl left behind from those that the scheduler runs.
"""

from typing import Any

import psycopg

from dqctl.testgen.capabilities import Capabilities

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    "CREATE TABLE IF NOT EXISTS dqctl.foreground (job_id uuid PRIMARY KEY)",
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
