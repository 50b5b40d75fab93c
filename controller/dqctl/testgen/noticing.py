"""Noticing what happened in a stack, whoever did it: looked at every second, at next to no cost.

While nothing is written in the whole PostgreSQL, nothing can have happened: its log does not grow then, which is
told without reading a row. Only when it has grown, the jobs are looked at.
"""

import time
from dataclasses import dataclass
from typing import Any

import psycopg

from dqctl.testgen import foreground
from dqctl.testgen.capabilities import Capabilities
from dqctl.testgen.exclusive import COMMAND, FOLLOW_UPS, JOB, RUNNERS, SPACE
from dqctl.testgen.reader import sources

# A commit stands in the log before others see what it did; most are seen within milliseconds.
_LOOKS_AFTER_A_CHANGE = 3
# Whatever was not noticed is noticed then.
_EVERY = 60.0

_LOCKED = (
    "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND ({}))"
)
_MARK = (
    "SELECT pg_current_wal_insert_lsn()::text, "
    + _LOCKED.format("classid = %(space)s AND objid = %(command)s")
    + ", to_regclass('dqctl.published') IS NOT NULL, to_regclass('dqctl.foreground') IS NOT NULL,"
    " to_regclass('dqctl.state_changes') IS NOT NULL"
)
# A set of tables that was published to last: the others are of targets that were left.
_PUBLISHED = (
    "SELECT run_id FROM dqctl.published WHERE home ="
    " (SELECT home FROM dqctl.published ORDER BY published_at DESC LIMIT 1)"
)


@dataclass(frozen=True)
class Noticed:
    """What there is to do.

    ``waiting``: runs have ended and are not published, and no command is at work that will publish them itself.
    ``left_behind``: jobs of dqctl's seem to run, and nobody runs them. ``unsaved``: rows came or went since the
    state was saved. ``under_way``: jobs run, or a command works. ``coming``: runs are under way that will be
    waiting when they have ended, since no command is at work that will publish them.
    """

    waiting: bool = False
    left_behind: bool = False
    unsaved: bool = False
    under_way: bool = False
    coming: bool = False


class Notice:
    """Looks through one connection, which is in autocommit and stays open."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]", version: Capabilities) -> None:
        self._connection = connection
        self._version = version
        self._mark: tuple[Any, ...] = ()
        self._left = 0
        self._looked = 0.0
        self._found = Noticed()

    def look(self) -> Noticed:
        """What there is to do now. Raises ``psycopg.Error`` when the database does not answer."""
        mark = self._connection.execute(_MARK, {"space": SPACE, "command": COMMAND}).fetchone() or ()
        now = time.monotonic()
        if mark != self._mark:
            self._mark, self._left = mark, _LOOKS_AFTER_A_CHANGE
        if self._left or now - self._looked >= _EVERY:
            self._left = max(0, self._left - 1)
            self._looked = now
            self._found = self._closely(*mark[1:])
        return self._found

    def _closely(self, at_work: bool, published: bool, foreground_known: bool, captured: bool) -> Noticed:
        ours = foreground.IS_OURS if foreground_known else "FALSE"
        done = f"j.id IN ({_PUBLISHED})" if published else "FALSE"
        locked = _LOCKED.format("(classid = %(space)s AND objid = ANY(%(jobs)s)) OR classid = %(runners)s")
        # What a command runs, it publishes when it has run everything.
        statement = (
            f"SELECT EXISTS (SELECT FROM job_executions j WHERE {sources.FINISHED} AND NOT {done}"  # noqa: S608
            f" AND NOT (%(at_work)s AND {ours})),"
            f" NOT %(at_work)s AND NOT {locked} AND EXISTS (SELECT FROM job_executions j"
            f" WHERE j.status = ANY(%(working)s) AND {ours}),"
            f" {'EXISTS (SELECT FROM dqctl.state_changes)' if captured else 'FALSE'},"
            " %(at_work)s OR EXISTS (SELECT FROM job_executions j WHERE j.status = ANY(%(working)s)),"
            " EXISTS (SELECT FROM job_executions j WHERE j.status = ANY(%(working)s)"
            f" AND j.job_key = ANY(%(job_keys)s) AND NOT (%(at_work)s AND {ours}))"
        )
        row = self._connection.execute(
            statement.encode(),
            {
                "final": list(self._version.final_statuses),
                "job_keys": list(sources.KINDS),
                "working": list(self._version.working_statuses),
                "at_work": at_work,
                "space": SPACE,
                "jobs": [JOB, FOLLOW_UPS],
                "runners": RUNNERS,
            },
        ).fetchone()
        return Noticed(*row) if row else Noticed()
