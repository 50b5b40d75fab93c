"""Schedules that the sidecar keeps: each is begun at its time, as cron would, as a process of its own.

What was due while no sidecar was there is begun once, however often it was. A run that was begun counts as such,
whatever became of it: one that brings the machine down is not begun again and again.
"""

import logging
import os
import subprocess
from datetime import datetime, timedelta

from dqctl import processes
from dqctl.clock import Clock
from dqctl.errors import DqctlError
from dqctl.services.controller.standing import Standing
from dqctl.services.schedule import command_of
from dqctl.settings import Settings
from dqctl.stack import schedules
from dqctl.stack.paths import StackPaths
from dqctl.stack.schedules import Schedule

log = logging.getLogger(__name__)

_LATE = timedelta(seconds=90)
# A clock is put back an hour once a year; one that is put back further was wrong before.
_PUT_BACK = timedelta(hours=2)


class Timetable:
    """Begins what is due."""

    def __init__(self, standing: Standing, clock: Clock) -> None:
        self._standing = standing
        self._clock = clock
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._minute: datetime | None = None

    @property
    def running(self) -> "tuple[subprocess.Popen[bytes], ...]":
        """The processes of runs that are under way."""
        return tuple(self._processes.values())

    def keep(self, settings: Settings) -> None:
        """Begin what is due now; hear how what was begun has ended."""
        for name, process in list(self._processes.items()):
            if (code := process.poll()) is not None:
                del self._processes[name]
                log.log(logging.WARNING if code else logging.INFO, "schedule %s ended with %s", name, code)
        now = self._clock.now()
        minute = now.replace(second=0, microsecond=0)
        if minute == self._minute:  # nothing is due in between
            return
        paths = StackPaths(settings.home, settings.stack)
        faults = []
        for name in schedules.names(paths):
            try:
                found = schedules.read(paths, name)
                if found and found.by == "controller":
                    self._keep(settings, paths, found, now)
            except (DqctlError, OSError) as error:  # the others are kept all the same
                faults.append(getattr(error, "message", str(error)))
        if not faults:
            self._minute = minute
            self._standing.succeed("schedule")
        elif self._standing.fail("schedule", "; ".join(faults)):
            log.warning("schedules are not kept: %s", "; ".join(faults))

    def _keep(self, settings: Settings, paths: StackPaths, schedule: Schedule, now: datetime) -> None:
        since = schedules.begun(paths, schedule.name)
        if since - now > _PUT_BACK:
            log.warning("schedule %s was begun %s from now: the clock was put back", schedule.name, since - now)
            schedules.write_begun(paths, schedule.name, now)
            return
        due = schedule.due(_local(since))
        if due is None or due > _local(now):
            return
        schedules.write_begun(paths, schedule.name, now)  # before it begins: see the top of this file
        if schedule.name in self._processes:
            log.warning("schedule %s is due, and still runs since its last time: left out", schedule.name)
            return
        late = f", which was due {due:%Y-%m-%d %H:%M}" if _local(now) - due > _LATE else ""
        log.info("begin schedule %s%s: dqctl %s", schedule.name, late, " ".join(schedule.arguments))
        self._processes[schedule.name] = processes.start(command_of(settings, schedule), environment=os.environ)

    def end(self) -> None:
        """Forget the processes, which were ended."""
        self._processes.clear()


def _local(time: datetime) -> datetime:
    """As cron sees it: the machine's own time."""
    return time.astimezone().replace(tzinfo=None)
