"""Which test runs are worth a second try: those that broke for a reason that passes by itself.

A test that failed is never run again: it said something about the data. TestGen keeps of an error its text, so the
text has to do: of the job, or of the tests that could not be evaluated.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from dqctl.databricks.failures import may_pass
from dqctl.testgen.jobs import JobKind, JobOutcome, JobRequest
from dqctl.testgen.ports import Runtime

# PostgreSQL's own words (15 to 17), and psycopg2's, through which TestGen hears them.
_POSTGRESQL = re.compile(
    r"server closed the connection unexpectedly|terminating connection due to|connection already closed|"
    r"could not connect to server|connection to server .{0,200} failed|could not receive data from server|"
    r"the database system is (?:starting up|shutting down|in recovery mode)|SSL connection has been closed|"
    r"too many clients already|remaining connection slots|deadlock detected|could not serialize access",
    re.S,
)
# A password that is wrong stays so, in whatever sentence it is said.
_STAYS = re.compile(r"authentication failed|does not exist|permission denied", re.I)
_LONGEST = 160


@dataclass(frozen=True)
class Retry:
    """A run that was begun once more, as another run. Both are published; only the second one counts."""

    run_id: str
    again_as: str
    why: str


def reasons(runtime: Runtime, outcomes: Sequence[JobOutcome]) -> dict[JobRequest, tuple[JobOutcome, str]]:
    """Those of ``outcomes`` that may do better at once, each with the reason; see ``reason``."""
    with runtime.metadata() as connection:
        return {
            outcome.request: (outcome, why)
            for outcome in outcomes
            if (why := reason(connection, outcome)) is not None
        }


def reason(connection: "psycopg.Connection[tuple[Any, ...]]", outcome: JobOutcome) -> str | None:
    """Why the run may do better at once; None when it spoke of the data, or would say the same again."""
    if outcome.kind is not JobKind.TEST or outcome.status == "canceled":
        return None
    if outcome.status != "completed":
        return passing(outcome.error_message or "")
    if outcome.run_id is None:
        return None
    rows = connection.execute(
        "SELECT DISTINCT result_message FROM test_results WHERE test_run_id = %s AND result_status = 'Error'"
        " AND result_message IS NOT NULL LIMIT 200",
        [outcome.run_id],
    ).fetchall()
    return next((why for (message,) in rows if (why := passing(message))), None)


def mark(runtime: Runtime, first: JobOutcome, second: JobOutcome, why: str) -> Retry:
    """Say in the first run's job, and so in what is published of it, that another one stands in its place."""
    note = f"not the last word: it was run again as {second.job_id}, for {why}"
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE job_executions SET error_message = concat_ws(E'\\n', error_message, %s::text) WHERE id = %s",
            [note, first.job_id],
        )
        connection.commit()
    return Retry(str(first.job_id), str(second.job_id), why)


def passing(message: str) -> str | None:
    """``message`` in one line, if what it tells of may be over in a moment."""
    if _STAYS.search(message) or not (may_pass(message) or _POSTGRESQL.search(message)):
        return None
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
