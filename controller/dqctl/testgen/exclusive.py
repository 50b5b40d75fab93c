"""One job at a time per stack, held by an advisory lock in the metadata database.

Two locks: dqctl holds the first while a command works; TestGen's process holds the second while a job runs, so
that a job which outlives its dqctl for some seconds still keeps the next one out. PostgreSQL frees both when
their owner dies, however it does.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import Busy

# The first key of all locks, "dqct"; advisory locks live in one database, which is the stack's own.
SPACE = 0x64716374
COMMAND, JOB = 1, 2
# Those of an always-on scheduler (dqctl.testgen.scheduler): its life, and the moment in which it claims jobs.
SCHEDULER, CLAIMS = 3, 4
# Whoever saves the state (dqctl.services.state).
STATE = 5

# How long a job whose dqctl is gone may take to notice and stop: the driver takes 8 s at most.
_LAST_GASP = 15.0
_POLL = 0.2

_HOLDER = """
    SELECT coalesce(nullif(a.application_name, ''), 'another process')
           || ', since ' || to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextlib.contextmanager
def exclusive(
    connection: "psycopg.Connection[tuple[Any, ...]]",
    timeout: float,
    doing: str = "dqctl",
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[None]:
    """Hold the stack for one piece of work; ``doing`` is what others are told while they wait for it.

    ``connection`` must stay open and unused meanwhile; it is left in autocommit. Waits up to ``timeout``
    seconds, then raises ``Busy``, which names the holder.
    """
    connection.rollback()
    connection.autocommit = True
    connection.execute("SELECT set_config('application_name', %s, false)", [doing[:63]])
    _take(connection, COMMAND, Deadline(timeout, clock), clock)
    try:
        _take(connection, JOB, Deadline(max(timeout, _LAST_GASP), clock), clock)
        _free(connection, JOB)
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a connection that broke has lost the lock already
            _free(connection, COMMAND)


@contextlib.contextmanager
def alone(
    connection: "psycopg.Connection[tuple[Any, ...]]", key: int, timeout: float, clock: Clock = SYSTEM_CLOCK
) -> Iterator[None]:
    """Hold one lock of this database for a while; ``Busy`` when another has it for ``timeout`` seconds more.

    No transaction is open when the block begins; it has none of its own open when it ends.
    """
    _take(connection, key, Deadline(timeout, clock), clock)
    connection.rollback()  # the lock is the session's
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a connection that broke has lost the lock already
            connection.rollback()
            _free(connection, key)
            connection.rollback()


def _take(connection: "psycopg.Connection[tuple[Any, ...]]", key: int, deadline: Deadline, clock: Clock) -> None:
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [SPACE, key]).fetchone()
        if row and row[0]:
            return
        if deadline.passed:
            holder = connection.execute(_HOLDER, [SPACE, key]).fetchone()
            raise Busy(
                f"the stack is busy: {holder[0] if holder else 'another process'}",
                "try again when it is done, or wait for it with DQCTL_LOCK_TIMEOUT=<seconds>",
            )
        clock.sleep(min(_POLL, deadline.left + 0.01))


def _free(connection: "psycopg.Connection[tuple[Any, ...]]", key: int) -> None:
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", [SPACE, key])
