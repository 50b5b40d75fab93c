"""Schedules as systemd timers: root's are the system's, everybody else's their own (``systemctl --user``)."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.crontimes import Times
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import write_atomically
from dqctl.stack.schedules import Schedule

_SECONDS = 60.0
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def directory() -> Path:
    """Where this user's units are."""
    if os.geteuid() == 0:
        return Path("/etc/systemd/system")
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "systemd" / "user"


def unit(stack: str, name: str) -> str:
    """The name of both units, without its end."""
    return f"dqctl-{stack}-{name}"


def calendar(at: str) -> tuple[str, ...]:
    """``OnCalendar`` for cron's five fields. systemd wants date and weekday both; where cron takes either, two."""
    times = Times.of(at)
    minute, hour, day, month, weekday = at.split(" ")
    clock = f"{_listed(times.hours, hour)}:{_listed(times.minutes, minute)}:00"
    months, days = _listed(times.months, month), _listed(times.days, day)
    of_week = "" if weekday == "*" else f"{','.join(_DAYS[each] for each in sorted(times.weekdays))} "
    if times.either:
        return (f"*-{months}-{days} {clock}", f"{of_week}*-{months}-* {clock}")
    return (f"{of_week}*-{months}-{days} {clock}",)


def render(stack: str, home: str, schedule: Schedule, argv: Sequence[str]) -> dict[str, str]:
    """The texts of the two units, by file name."""
    name = unit(stack, schedule.name)
    owner = mark(home, stack, schedule.name)
    times = "\n".join(f"OnCalendar={each}" for each in calendar(schedule.at))
    about = f"dqctl schedule {schedule.name} of stack {stack}"
    command = shlex.join(argv).replace("%", "%%").replace("$", "$$")
    return {
        f"{name}.service": (
            f"{owner}\n[Unit]\nDescription={about}\nWants=network-online.target\nAfter=network-online.target\n\n"
            # 1: tests failed, which is what the run was for.
            f"[Service]\nType=oneshot\nExecStart={command}\nSuccessExitStatus=1\nTimeoutStopSec=30\n"
        ),
        # Persistent: what was missed while the machine was down runs when it is up again.
        f"{name}.timer": (
            f"{owner}\n[Unit]\nDescription={about}\n\n[Timer]\n{times}\nPersistent=true\nAccuracySec=1s\n\n"
            "[Install]\nWantedBy=timers.target\n"
        ),
    }


def mark(home: str, stack: str, name: str) -> str:
    """The first line of a unit of ours."""
    return f"# dqctl schedule: {stack}/{name} in {home}"


def is_there(home: str, stack: str, name: str) -> bool:
    """Whether the timer of this very schedule is there."""
    return _is_ours(directory() / f"{unit(stack, name)}.timer", mark(home, stack, name)) is True


def install(stack: str, home: str, schedule: Schedule, argv: Sequence[str]) -> None:
    """Write both units and start the timer. ``UsageError`` when units of that name are somebody else's."""
    units = render(stack, home, schedule, argv)
    place = directory()
    for file in units:
        if _is_ours(place / file, mark(home, stack, schedule.name)) is False:
            raise UsageError(
                f"{place / file} is there already, and not this schedule's", "choose another name for the schedule"
            )
    _systemctl("--version")  # before anything is written
    place.mkdir(parents=True, exist_ok=True)
    for file, text in units.items():
        write_atomically(place / file, text)
    _systemctl("daemon-reload")
    _systemctl("enable", f"{unit(stack, schedule.name)}.timer")
    _systemctl("restart", f"{unit(stack, schedule.name)}.timer")


def uninstall(stack: str, home: str, name: str) -> bool:
    """Stop the timer and remove both units; whether they were there and ours."""
    place = directory()
    files = [place / f"{unit(stack, name)}{end}" for end in (".timer", ".service")]
    ours = [file for file in files if _is_ours(file, mark(home, stack, name))]
    if not ours:
        return False
    _systemctl("disable", "--now", f"{unit(stack, name)}.timer")
    for file in ours:
        file.unlink(missing_ok=True)
    _systemctl("daemon-reload")
    return True


def _is_ours(file: Path, owner: str) -> bool | None:
    """None when there is no such file."""
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0] == owner
    except FileNotFoundError:
        return None


def _listed(values: frozenset[int], field: str) -> str:
    return "*" if field == "*" else ",".join(f"{value:02}" for value in sorted(values))


def _systemctl(*arguments: str) -> None:
    found = shutil.which("systemctl")
    if found is None:
        raise EnvironmentFault("there is no systemctl on this machine", "use --by cron")
    argv = [found, *([] if os.geteuid() == 0 else ["--user"]), *arguments]
    kept = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "HOME")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = processes.run(argv, deadline=Deadline(_SECONDS), environment=environment)
    if done.exit_code:
        raise EnvironmentFault(
            f"systemctl {' '.join(arguments)} failed: {' '.join(done.stderr.split()) or done.exit_code}",
            "see whether systemd runs here, and for this user; --by cron does without it",
        )
