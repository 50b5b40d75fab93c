"""The look at a stack, through one connection that is held, and found again when it was lost.

It starts nothing and wakes nothing.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg

from dqctl.clock import Clock
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import silent
from dqctl.redaction import redact
from dqctl.runtime import Runtime, runtime_of
from dqctl.services.status import is_asleep
from dqctl.settings import Settings
from dqctl.stack import upgrading
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record
from dqctl.stack.upgrading import Phase
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.noticing import Notice, Noticed

# A Lakebase falls asleep when nobody has asked it anything for half an hour: who looked more often would keep it
# awake for ever. It is asked itself (by REST, which wakes nothing) whether it was woken, and looked at then.
_ASK_LAKEBASE = 30.0
_LAKEBASE_MAY_SLEEP = 40 * 60.0
_LAKEBASE_AT_WORK = 5.0


class Watch:
    """Looks at the stack of ``find_settings``, which is asked anew whenever they may matter."""

    def __init__(self, find_settings: Callable[[], Settings], clock: Clock) -> None:
        self._find_settings = find_settings
        self._clock = clock
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._notice: Notice | None = None
        self._runtime: Runtime | None = None
        self._seen = Noticed()
        self._look_after = 0.0
        self._ask_after = 0.0
        self._slept = True
        self._rests = False
        self._fresh = False

    @property
    def runtime(self) -> Runtime | None:
        """The stack as it was found last; None while it is out of reach, asleep or just changing."""
        return self._runtime

    def may_ask(self) -> bool:
        """Whether others may ask the database now: always, but a Lakebase that may sleep once after each look."""
        fresh, self._fresh = self._fresh, False
        return fresh or self._slept or not self._rests

    def refresh(self) -> None:
        """What was seen has been dealt with: look again."""
        if self._rests and not self._slept:
            self._look_after = 0.0

    def look(self) -> Noticed:
        """What there is to do.

        Raises ``UsageError`` where no stack is installed, ``Busy`` while it changes its version, and
        ``EnvironmentFault`` when its database does not answer.
        """
        try:
            return self._look()
        except psycopg.Error as error:
            self.close()
            raise EnvironmentFault(
                f"the metadata database went away: {redact(str(error)).strip()}",
                "dqctl starts it with the next command that works",
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection; the next look makes another one."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = self._notice = self._runtime = None

    def _look(self) -> Noticed:
        settings = self._find_settings()
        paths = StackPaths(settings.home, settings.stack)
        record = read_record(paths)
        if record is None or not record.installed:
            raise UsageError(f"stack {settings.stack!r} is not installed in {settings.home}", "run: dqctl install")
        changing = upgrading.pending(paths)
        if changing and changing.phase is not Phase.DONE:
            raise Busy(
                f"the stack changes from TestGen {changing.before.record.testgen_version} to "
                f"{changing.after.record.testgen_version}",
                "it goes on when that is over; if it was interrupted, the next dqctl command ends it",
            )
        if self._runtime and self._runtime.record.testgen_version != record.testgen_version:
            self.close()
        # Where TestGen's scheduler asks every 5 s, a Lakebase does not sleep.
        self._rests = record.lakebase is not None and not record.scheduler
        if self._rests:
            return self._look_at_lakebase(settings, paths, record)
        return self._look_closely(paths, record)

    def _look_closely(self, paths: StackPaths, record: StackRecord) -> Noticed:
        if self._notice is None:
            runtime = runtime_of(paths, record, silent)
            self._connection = runtime.metadata()
            self._connection.autocommit = True
            self._connection.execute("SELECT set_config('application_name', 'dqctl controller run', false)")
            self._notice = Notice(self._connection, capabilities(record.testgen_version))
            self._runtime = runtime
        return self._notice.look()

    def _look_at_lakebase(self, settings: Settings, paths: StackPaths, record: StackRecord) -> Noticed:
        now = self._clock.monotonic()
        if now >= self._ask_after:
            self._ask_after = now + _ASK_LAKEBASE
            asleep = is_asleep(settings, record)
            if self._slept and not asleep:
                self._look_after = now
            if asleep:
                self._seen = Noticed()
            self._slept = asleep
        if self._slept or now < self._look_after:
            self._runtime = None
            return self._seen
        self._seen = self._look_closely(paths, record)
        runtime = self._runtime
        self.close()  # an open connection is cut when it falls asleep, and counts for nothing
        self._runtime, self._fresh = runtime, True
        at_work = self._seen.under_way or self._seen.waiting
        self._look_after = now + (_LAKEBASE_AT_WORK if at_work else _LAKEBASE_MAY_SLEEP)
        return self._seen
