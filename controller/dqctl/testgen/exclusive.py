"""Who works on a stack, held by advisory locks in the metadata database.

Two locks: dqctl holds the first while a command works; TestGen's process holds the second while a job runs, so
that a job which outlives its dqctl for some seconds still keeps the next one out. PostgreSQL frees both when
their owner dies, however it does.

A command has the stack for itself (``exclusive``), or shares it with others that only run tests (``shared``):
those hold the first lock together, and each suite by a lock of its own.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any
from uuid import UUID

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
# Commands that share the stack: which of them is just coming in, and which one publishes.
ENTRY, PUBLISH = 6, 7
# TestGen's process that runs the jobs which runs leave behind.
FOLLOW_UPS = 8
# Who hands results over to other systems; who looks what is worth an alert, and tells it.
EXPORT, ALERTS = 9, 10

# The first keys of locks of single suites: "dqcs" for the command that tests one, "dqcr" for TestGen's process.
SUITES, RUNNERS = 0x64716373, 0x64716372
# "dqcg": a table group, for versions that cannot test two suites of one at the same time.
TABLE_GROUPS = 0x64716367

# How long a job whose dqctl is gone may take to notice and stop: the driver takes 8 s at most.
_LAST_GASP = 15.0
# To come in takes a moment, or as long as a last gasp.
_ENTRY_SECONDS = 20.0
_POLL = 0.2

_HOLDER = """
    SELECT coalesce(nullif(a.application_name, ''), 'another process')
           || ', since ' || to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


_COMPANY = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND pid <> pg_backend_pid())
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
    _introduce(connection, doing)
    _take(connection, COMMAND, Deadline(timeout, clock), clock)
    try:
        _take(connection, JOB, Deadline(max(timeout, _LAST_GASP), clock), clock)
        _free(connection, JOB)
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a connection that broke has lost the lock already
            _free(connection, COMMAND)


@contextlib.contextmanager
def shared(
    connection: "psycopg.Connection[tuple[Any, ...]]",
    timeout: float,
    doing: str,
    *,
    when_alone: Callable[[], None],
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[None]:
    """Hold the stack together with others that hold it so, and against ``exclusive``; see there.

    ``when_alone`` is called first if nobody else works on the stack, and nobody begins to meanwhile: what looks as
    if somebody worked at it was left behind then.
    """
    _introduce(connection, doing)
    _enter(connection, Deadline(timeout, clock), clock)
    try:
        try:
            if _try(connection, COMMAND):  # beside our own share: nobody else has one
                try:
                    _take(connection, JOB, Deadline(_LAST_GASP, clock), clock)
                    _free(connection, JOB)
                    when_alone()
                finally:
                    _free(connection, COMMAND)
        finally:
            _free(connection, ENTRY)
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a connection that broke has lost the lock already
            connection.execute("SELECT pg_advisory_unlock_shared(%s, %s)", [SPACE, COMMAND])


@contextlib.contextmanager
def suites(
    connection: "psycopg.Connection[tuple[Any, ...]]",
    ids: Collection[UUID],
    timeout: float,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[dict[UUID, str]]:
    """Hold single suites, under ``shared`` and with its connection; those that others hold, and who they are.

    They are waited for up to ``timeout`` seconds. What an earlier command's TestGen still did with a suite that is
    held now has ended.
    """
    deadline = Deadline(timeout, clock)
    wanted = {suite_key(each) for each in ids}
    held: set[int] = set()
    try:
        while missing := sorted(wanted - held):
            # Who waits has only those before the one that it waits for, in one order everywhere: two commands with
            # several suites in common never wait for each other.
            is_last = deadline.passed
            held |= _take_all(connection, SUITES, missing) if is_last else _take_first(connection, SUITES, missing)
            if wanted <= held or is_last:
                break
            clock.sleep(min(_POLL, deadline.left + 0.01))
        _await_runners(connection, held, Deadline(_LAST_GASP, clock), clock)
        yield {each: _holder(connection, SUITES, suite_key(each)) for each in ids if suite_key(each) not in held}
    finally:
        with contextlib.suppress(psycopg.Error):
            _free_all(connection, SUITES, held)


def has_company(connection: "psycopg.Connection[tuple[Any, ...]]") -> bool:
    """Whether others share the stack with ``connection``, which has it by ``shared``."""
    row = connection.execute(_COMPANY, [SPACE, COMMAND]).fetchone()
    return bool(row and row[0])


def suite_key(suite: UUID) -> int:
    """The second key of a suite's or table group's locks: it has 32 bits, of which ids are random throughout."""
    return int.from_bytes(suite.bytes[:4], signed=True)


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


def _introduce(connection: "psycopg.Connection[tuple[Any, ...]]", doing: str) -> None:
    connection.rollback()
    connection.autocommit = True
    connection.execute("SELECT set_config('application_name', %s, false)", [doing[:63]])


def _enter(connection: "psycopg.Connection[tuple[Any, ...]]", deadline: Deadline, clock: Clock) -> None:
    """Take ``ENTRY`` and a share of ``COMMAND``. Nobody stands in the door while it waits for the second."""
    patience = Deadline(_ENTRY_SECONDS, clock)
    while True:
        if _try(connection, ENTRY):
            row = connection.execute("SELECT pg_try_advisory_lock_shared(%s, %s)", [SPACE, COMMAND]).fetchone()
            if row and row[0]:
                return
            _free(connection, ENTRY)
            if deadline.passed:
                raise _busy(connection, COMMAND)
        elif deadline.passed and patience.passed:
            raise _busy(connection, ENTRY)
        clock.sleep(_POLL)


def _await_runners(
    connection: "psycopg.Connection[tuple[Any, ...]]", keys: set[int], deadline: Deadline, clock: Clock
) -> None:
    left = set(keys)
    while left:
        free = _take_all(connection, RUNNERS, sorted(left))
        _free_all(connection, RUNNERS, free)
        left -= free
        if left and deadline.passed:
            raise Busy(
                f"the stack is busy: {_holder(connection, RUNNERS, min(left))}",
                "an earlier command's job has not ended yet; try again in a moment",
            )
        if left:
            clock.sleep(_POLL)


def _take_all(connection: "psycopg.Connection[tuple[Any, ...]]", space: int, keys: list[int]) -> set[int]:
    """Those of ``keys`` that could be locked."""
    rows = connection.execute(
        "SELECT key, pg_try_advisory_lock(%s, key) FROM unnest(%s::int[]) AS key", [space, keys]
    ).fetchall()
    return {int(key) for key, taken in rows if taken}


def _take_first(connection: "psycopg.Connection[tuple[Any, ...]]", space: int, keys: list[int]) -> set[int]:
    """Lock ``keys`` in their order, up to the first that another holds."""
    taken: set[int] = set()
    for key in keys:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [space, key]).fetchone()
        if not (row and row[0]):
            break
        taken.add(key)
    return taken


def _free_all(connection: "psycopg.Connection[tuple[Any, ...]]", space: int, keys: set[int]) -> None:
    if keys:
        connection.execute(
            "SELECT pg_advisory_unlock(%s, key) FROM unnest(%s::int[]) AS key", [space, sorted(keys)]
        )


def _try(connection: "psycopg.Connection[tuple[Any, ...]]", key: int) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [SPACE, key]).fetchone()
    return bool(row and row[0])


def _holder(connection: "psycopg.Connection[tuple[Any, ...]]", space: int, key: int) -> str:
    # pg_locks shows keys unsigned.
    found = connection.execute(_HOLDER, [space, key % 2**32]).fetchone()
    return str(found[0]) if found else "another process"


def _busy(connection: "psycopg.Connection[tuple[Any, ...]]", key: int) -> Busy:
    return Busy(
        f"the stack is busy: {_holder(connection, SPACE, key)}",
        "try again when it is done, or wait for it with DQCTL_LOCK_TIMEOUT=<seconds>",
    )


def _take(connection: "psycopg.Connection[tuple[Any, ...]]", key: int, deadline: Deadline, clock: Clock) -> None:
    while True:
        if _try(connection, key):
            return
        if deadline.passed:
            raise _busy(connection, key)
        clock.sleep(min(_POLL, deadline.left + 0.01))


def _free(connection: "psycopg.Connection[tuple[Any, ...]]", key: int) -> None:
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", [SPACE, key])
