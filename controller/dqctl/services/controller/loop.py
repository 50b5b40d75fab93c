"""The loop of the sidecar: a turn a second, until it is told to end.

What takes long is a process of its own (a round, a schedule), so that a turn takes milliseconds. The signal that
ends it comes as an exception wherever it is: nothing in here has to be ended properly but the processes.
"""

import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from dqctl import processes
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError
from dqctl.report.metrics import Measures
from dqctl.services.alerts import raise_alerts
from dqctl.services.controller.endpoints import Endpoints
from dqctl.services.controller.leading import Leadership
from dqctl.services.controller.rounds import Rounds
from dqctl.services.controller.standing import Standing
from dqctl.services.controller.timetable import Timetable
from dqctl.services.controller.unit import notify
from dqctl.services.controller.watch import Watch
from dqctl.services.metrics import measure
from dqctl.settings import Settings, settings_files
from dqctl.stack.paths import StackPaths

log = logging.getLogger(__name__)

_TURN = 1.0
_ALERT_EVERY = 30.0
# Of the ten seconds that it may take to end. What a schedule started has as long to end its own; then it is
# killed, and the next command settles what is left.
_GRACE = 6.0


class Controller:
    """One sidecar. ``load`` reads the settings, which are read anew when their files change."""

    def __init__(self, load: Callable[[], Settings], clock: Clock = SYSTEM_CLOCK) -> None:
        self._load = load
        self._clock = clock
        self._settings = load()
        # Home and stack never change: the files are always the same ones.
        self._files = settings_files(self._settings.home, self._settings.stack)
        self._stamp = self._stamps()
        self._alert_at = 0.0
        self._measured: Measures | None = None
        self.standing = Standing(self._settings.stack, clock)
        self._leadership = Leadership(StackPaths(self._settings.home, self._settings.stack), clock)
        self._watch = Watch(self.settings, clock)
        self._rounds = Rounds(self.standing, clock)
        self._timetable = Timetable(self.standing, clock)

    def settings(self) -> Settings:
        """Those of the moment; when a file became unreadable, those of before."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._settings = self._load()
            except DqctlError as error:
                log.warning("the settings of before hold on: %s; %s", error.message, error.hint)
        return self._settings

    def measure(self) -> Measures:
        """The stack's numbers; those of before where asking would keep a Lakebase from falling asleep."""
        if self._watch.may_ask() or self._measured is None:
            self._measured = measure(self.settings(), self._clock, self._measured)
        return self._measured

    def turn(self) -> None:
        """Do what is due now, if this one leads."""
        self.standing.turn()
        if not self._lead():
            return
        settings = self.settings()
        self._timetable.keep(settings)
        try:
            seen = self._watch.look()
        except DqctlError as fault:
            self._rounds.reap()
            self._rounds.rest()
            if self.standing.fail("watch", fault.message):
                log.warning("waiting: %s; %s", fault.message, fault.hint)
            return
        if self.standing.succeed("watch"):
            log.info("the stack is back")
        if self._rounds.tend(seen, settings):
            self._watch.refresh()
            self._alert_at = 0.0
        self._alert(settings)

    def end(self) -> None:
        """End the processes, within ``_GRACE`` seconds, and lead no more."""
        running = [each for each in (self._rounds.running, *self._timetable.running) if each]
        processes.stop_groups(running, _GRACE)
        self._rounds.end()
        self._timetable.end()
        self._watch.close()
        self._leadership.leave()

    def _lead(self) -> bool:
        was = self.standing.is_leading
        now = self._leadership.hold()
        self.standing.is_leading, self.standing.leader = now, self._leadership.leader
        if now and not was:
            log.info("leading stack %s", self.standing.stack)
        elif was and not now:
            log.warning("not leading any more: the stack was uninstalled")
            self.end()
        if not now:
            self._wait()
        return now

    def _wait(self) -> None:
        """Say why there is nothing to do: there is no stack, or another one leads, which is in nobody's way."""
        if self._leadership.is_installed:
            self.standing.succeed("watch")
            return
        missing = f"stack {self.standing.stack!r} is not installed in {self._settings.home}"
        if self.standing.fail("watch", missing):
            log.warning("waiting: %s; run: dqctl install", missing)

    def _alert(self, settings: Settings) -> None:
        now = self._clock.monotonic()
        if self._watch.runtime is None or now < self._alert_at:
            return
        self._alert_at = now + _ALERT_EVERY
        errors = raise_alerts(settings, self._watch.runtime, progress=log.info, clock=self._clock).errors
        if not errors:
            self.standing.succeed("alert")
        for error in errors:
            if self.standing.fail("alert", error.message):
                log.warning("%s; %s", error.message, error.hint)

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def run(
    load: Callable[[], Settings],
    *,
    listen: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Be a sidecar until SIGTERM or Ctrl-C; ``listen`` is another address than that of the settings.

    Raises ``EnvironmentFault`` where the address is taken; whatever happens later is waited for.
    """
    with _ended_by_signals():
        controller = Controller(load, clock)
        settings = controller.settings()
        endpoints = Endpoints(
            listen or settings.controller_listen,
            controller.standing,
            controller.measure,
            clock,
        )
        log.info("listening at port %d", endpoints.port)
        notify("READY=1")
        try:
            while True:
                controller.turn()
                notify("WATCHDOG=1")
                clock.sleep(_TURN)
        finally:
            notify("STOPPING=1")
            log.info("ending")
            controller.end()


class _Told(BaseException):
    """A signal said that it is to end."""


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """The block ends by SIGTERM and SIGINT, properly; a second one changes nothing."""

    def tell(number: int, frame: FrameType | None) -> None:
        del frame
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise _Told(number)

    before = {each: signal.signal(each, tell) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Told:
        log.info("ended")
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
