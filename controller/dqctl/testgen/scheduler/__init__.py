"""TestGen's always-on scheduler, seen from the metadata database: whether one lives, what it works at.

A scheduler that starts cancels every job that somebody runs, and a second one would do so to the first. The
program of the one that dqctl installs (``program.py`` beside this file) therefore starts under locks of that
database, and holds one of them as long as it lives.
"""

import contextlib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import Busy
from dqctl.testgen import foreground
from dqctl.testgen.capabilities import Capabilities
from dqctl.testgen.exclusive import CLAIMS, SCHEDULER, SPACE

Connection = psycopg.Connection[tuple[Any, ...]]

HEARTBEAT = "/tmp/scheduler"  # noqa: S108 - inside a container of ours, where it is a tmpfs of its own
"""A file that the program touches whenever it has looked for jobs, every 5 s."""

_POLL = 0.2
# Seconds to wait for what passes by itself: a claim that is being written, a scheduler that is just starting.
_MOMENT = 2.0

_LIVING = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_AT_WORK = """
    SELECT job_key, to_char(claimed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM job_executions
    WHERE status = ANY(%s) AND id NOT IN (SELECT job_id FROM dqctl.foreground) ORDER BY created_at
"""


def program() -> str:
    """The source of what the scheduler's process runs, in TestGen's own Python."""
    return (files(__package__) / "program.py").read_text(encoding="utf-8")


def is_living(connection: Connection) -> bool:
    """Whether a scheduler of dqctl's works on this database; one that is about to start counts, too."""
    row = connection.execute(_LIVING, [SPACE, SCHEDULER]).fetchone()
    return bool(row and row[0])


@contextlib.contextmanager
def at_rest(
    connection: Connection, version: Capabilities, timeout: float, clock: Clock = SYSTEM_CLOCK
) -> Iterator[None]:
    """No scheduler runs a job while the block does, nor begins one; queued jobs stay in the queue meanwhile.

    Call it under ``exclusive``, with the same connection. Waits up to ``timeout`` seconds for the jobs that run,
    then raises ``Busy``, which names them.
    """
    deadline = Deadline(max(timeout, _MOMENT), clock)
    while not _is_still(connection, version):
        if deadline.passed:
            raise Busy(
                f"the stack is busy: its scheduler runs {', '.join(_at_work(connection, version)) or 'a job'}",
                "try again when it is done, or wait for it with DQCTL_LOCK_TIMEOUT=<seconds>",
            )
        clock.sleep(_POLL)
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a connection that broke has lost the lock already
            _let_go(connection)


def _is_still(connection: Connection, version: Capabilities) -> bool:
    """Whether nothing runs and, by the lock that is held then, nothing can begin."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [SPACE, CLAIMS]).fetchone()
    if not (row and row[0]):
        return False
    if not is_living(connection) or not _at_work(connection, version):
        return True
    _let_go(connection)  # jobs that are to be cancelled are settled by a claim, too
    return False


def _let_go(connection: Connection) -> None:
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", [SPACE, CLAIMS])


def _at_work(connection: Connection, version: Capabilities) -> list[str]:
    """What the scheduler runs, in words."""
    foreground.ensure(connection, version)
    rows = connection.execute(_AT_WORK, [list(version.working_statuses)]).fetchall()
    return [f"{job} (since {since} UTC)" for job, since in rows]
