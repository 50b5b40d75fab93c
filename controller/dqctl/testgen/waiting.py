"""Jobs that wait while a stack changes from one database to another: they come along."""

from typing import Any

import psycopg

from dqctl.testgen.reader import sources

Connection = psycopg.Connection[tuple[Any, ...]]

# Jobs that every version knows; the others (scores, housekeeping) are queued again by the next run.
_KEYS = [*sources.KINDS, "run-monitors"]
# Of the columns of a job that waits, those that every version has and that are not as they are made.
_QUEUED = """
    SELECT id, job_key, kwargs::text, source, project_code, created_at, job_schedule_id
    FROM testgen.job_executions WHERE status = 'pending' AND job_key = ANY(%s)
"""
_QUEUE = """
    INSERT INTO testgen.job_executions (id, job_key, kwargs, source, project_code, created_at, job_schedule_id)
    VALUES (%s, %s, %s::jsonb, %s, %s, %s, (SELECT id FROM testgen.job_schedules WHERE id = %s))
    ON CONFLICT DO NOTHING
"""
_BEGUN = """
    SELECT id FROM testgen.job_executions WHERE job_key = ANY(%s) AND status <> 'pending'
"""


def runs_since(now: Connection, then: Connection) -> int:
    """How many runs the database of ``now`` has begun that the one of ``then`` does not know as begun."""
    known = {job for (job,) in then.execute(_BEGUN, [list(sources.KINDS)]).fetchall()}
    return sum(job not in known for (job,) in now.execute(_BEGUN, [list(sources.KINDS)]).fetchall())


def carry(now: Connection, then: Connection) -> tuple[int, int]:
    """Let the database of ``then`` have the jobs that wait in the one of ``now``, and none that was begun there.

    Schedules come due while an upgrade is at its trial, or since the one that is rolled back: what they queued
    must not be lost. What waited then and was begun since would be run once more, or published as canceled in the
    place of what it came to. How many jobs came along, and how many went. Commits.
    """
    queued = now.execute(_QUEUED, [_KEYS]).fetchall()
    begun = [job for (job,) in now.execute(_BEGUN, [_KEYS]).fetchall()]
    with then.transaction():
        came = sum(then.execute(_QUEUE, row).rowcount for row in queued)
        went = then.execute(
            "DELETE FROM testgen.job_executions WHERE status = 'pending' AND id = ANY(%s)", [begun]
        ).rowcount
    return came, went
