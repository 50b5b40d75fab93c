"""Ending the rows of jobs that nobody runs any more.

TestGen settles them when its scheduler starts; a stack without a scheduler needs somebody else to, and so do the
jobs that dqctl runs beside one. The statements are the same whether the driver runs them (psycopg2) when it is
told to stop, or dqctl (psycopg) afterwards: both take ``ids`` and ``reason``.
"""

# ruff: noqa: S608 - SQL text out of the capability table's own words; values are parameters

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from dqctl.testgen import foreground, scheduler
from dqctl.testgen.capabilities import Capabilities, capabilities
from dqctl.testgen.ports import Runtime

INTERRUPTED = "interrupted: the process that ran this job ended before the job did"


@dataclass(frozen=True)
class Settled:
    """A job that was ended because nobody ran it."""

    job_id: UUID
    job_key: str
    project_code: str
    created_at: datetime


def statements(version: Capabilities) -> tuple[str, ...]:
    """What cancels the jobs ``ids`` for ``reason``; the first alone asks for it, as TestGen's own cancel does.

    From then on TestGen itself can end the job only as canceled (its transitions are guarded).
    """
    alive = _listed(version.stale_statuses)
    worked = ""
    if version.job_has_active_seconds:
        # As testgen.common.models.job_execution bills a segment: only time in which the job worked.
        worked = """, active_seconds = CASE
            WHEN status IN ('running', 'interrupt_requested', 'pause_requested')
            THEN coalesce(active_seconds, 0) + extract(epoch FROM now() - claimed_at) ELSE active_seconds END"""
    chosen = "id = ANY(%(ids)s::uuid[])"
    found = (
        f"UPDATE job_executions SET status = 'cancel_requested'{worked} WHERE {chosen} AND status IN ({alive})",
        "UPDATE job_executions SET status = 'canceled', completed_at = now() "
        f"WHERE {chosen} AND status = 'cancel_requested'",
        f"UPDATE job_executions SET error_message = %(reason)s WHERE {chosen} AND status = 'canceled'",
    )
    if not version.run_has_status:
        return found
    return found + tuple(
        # An Error is what the handler made of the statement that was cancelled under it.
        f"UPDATE {runs} SET status = 'Cancelled', {end} = now(), log_message = %(reason)s "
        f"WHERE job_execution_id = ANY(%(ids)s::uuid[]) AND status <> 'Complete' AND EXISTS ("
        f"SELECT FROM job_executions j WHERE j.id = {runs}.job_execution_id AND j.status = 'canceled')"
        for runs, end in (("profiling_runs", "profiling_endtime"), ("test_runs", "test_endtime"))
    )


def settle(
    connection: "psycopg.Connection[tuple[Any, ...]]", version: Capabilities, ids: list[UUID], reason: str
) -> None:
    """Cancel those of ``ids`` that have not ended, and give ``reason`` to all that were cancelled."""
    for statement in statements(version):
        connection.execute(statement, {"ids": ids, "reason": reason})
    connection.commit()


def settle_orphans(
    runtime: Runtime,
    *,
    keep_queued: bool = False,
    suites: Collection[UUID] | None = None,
    ours_only: bool = False,
) -> tuple[Settled, ...]:
    """End all jobs that are on their way although nobody runs them; call it under ``exclusive``.

    With ``suites`` only those test runs: who holds these suites under ``shared`` knows that nobody runs them.

    Queued follow-ups stay: the next run drains them. So do jobs that TestGen parked on purpose (paused), and with
    ``keep_queued`` all that nobody has claimed: the stack has a scheduler, which runs them when it is up again.
    While a scheduler lives, or with ``ours_only``, only jobs that dqctl itself claimed can be orphans.
    """
    version = capabilities(runtime.version)
    with runtime.metadata() as connection:
        foreground.ensure(connection, version)
        rows = connection.execute(
            "SELECT j.id, j.job_key, j.project_code, j.created_at FROM job_executions j "
            "WHERE j.status = ANY(%(stale)s) "
            "AND NOT (j.status = 'pending' AND (%(keep_queued)s OR j.job_key = ANY(%(follow_ups)s))) "
            f"AND (NOT %(living)s OR {foreground.IS_OURS}) "
            "AND (%(suites)s::text[] IS NULL OR (j.job_key = 'run-tests' AND j.kwargs ->> 'test_suite_id' = "
            f"ANY(%(suites)s) AND {foreground.IS_OURS})) ORDER BY j.created_at",
            {
                "stale": list(version.stale_statuses),
                "keep_queued": keep_queued,
                "follow_ups": list(version.follow_up_jobs),
                "living": ours_only or scheduler.is_living(connection),
                "suites": None if suites is None else [str(each) for each in suites],
            },
        ).fetchall()
        found = tuple(Settled(*row) for row in rows)
        if found:
            settle(connection, version, [job.job_id for job in found], INTERRUPTED)
    return found


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)
