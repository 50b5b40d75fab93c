"""What runs by itself, and when: one file a schedule below the stack's directory, without secrets.

Crontab and systemd get one short line that names the schedule, the sidecar looks here itself; what it runs, with
which environment, is here. A secret is never written down: a token has to come from a file
(``DATABRICKS_TOKEN_FILE``).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from dqctl.crontimes import next_time
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import PRIVATE_FILE, ensure_private_dir, write_atomically
from dqctl.stack.paths import StackPaths

By = Literal["cron", "systemd", "controller"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class LastRun:
    """How the newest run ended."""

    started_at: str
    seconds: float
    exit_code: int

    @property
    def ended_at(self) -> datetime:
        """When it ended."""
        return datetime.fromisoformat(self.started_at) + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Schedule:
    """One schedule. ``at`` has cron's five fields, in the machine's own time; ``arguments`` are those of dqctl."""

    name: str
    at: str
    arguments: tuple[str, ...]
    by: By = "cron"
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 86400.0

    def due(self, after: datetime) -> datetime | None:
        """When it is due next; None when never (30 February)."""
        return next_time(self.at, after)


def checked_name(name: str) -> str:
    """``name``, if it can be one; else ``UsageError``."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a schedule cannot be called {name!r}", "use small letters, digits and -: night, hourly-2"
        )
    return name


def write(paths: StackPaths, schedule: Schedule) -> None:
    """Keep it, in place of one of the same name."""
    ensure_private_dir(paths.schedules)
    write_atomically(_file(paths, schedule.name), json.dumps(asdict(schedule), indent=2) + "\n", PRIVATE_FILE)


def read(paths: StackPaths, name: str) -> Schedule | None:
    """The one called ``name``; ``EnvironmentFault`` when its file is damaged."""
    file = _file(paths, checked_name(name))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return replace(Schedule(**found), arguments=tuple(found["arguments"]))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise EnvironmentFault(f"{file} cannot be read: {error}", f"add {name} again, or remove it") from error


def names(paths: StackPaths) -> tuple[str, ...]:
    """Those of all schedules of the stack, damaged ones too, in order."""
    return tuple(sorted(file.stem for file in paths.schedules.glob("*.json") if _NAME.fullmatch(file.stem)))


def every(paths: StackPaths) -> tuple[Schedule, ...]:
    """All of the stack, by name. ``EnvironmentFault`` when one is damaged."""
    return tuple(found for name in names(paths) if (found := read(paths, name)))


def drop(paths: StackPaths, name: str) -> bool:
    """Forget it, and how it last ran; whether it was there."""
    there = _file(paths, name).exists()
    for file in (_file(paths, name), _last(paths, name), _begun(paths, name)):
        file.unlink(missing_ok=True)
    return there


def write_last(paths: StackPaths, name: str, last: LastRun) -> None:
    """Keep how a run ended."""
    write_atomically(_last(paths, name), json.dumps(asdict(last)) + "\n", PRIVATE_FILE)


def read_last(paths: StackPaths, name: str) -> LastRun | None:
    """How the newest run ended; None when none has."""
    try:
        found = LastRun(**json.loads(_last(paths, name).read_text(encoding="utf-8")))
        return found if found.ended_at else None
    except (OSError, ValueError, TypeError):
        return None


def write_begun(paths: StackPaths, name: str, at: datetime) -> None:
    """Keep when the sidecar has begun it; what was due until then counts no more."""
    write_atomically(_begun(paths, name), f"{at.isoformat()}\n", PRIVATE_FILE)


def begun(paths: StackPaths, name: str) -> datetime:
    """When it was begun last, or written down as it is: what was due before that is over."""
    written = datetime.fromtimestamp(_file(paths, name).stat().st_mtime, UTC)
    try:
        return max(written, datetime.fromisoformat(_begun(paths, name).read_text(encoding="utf-8").strip()))
    except (FileNotFoundError, ValueError, TypeError):
        return written


def _file(paths: StackPaths, name: str) -> Path:
    return paths.schedules / f"{name}.json"


def _last(paths: StackPaths, name: str) -> Path:
    return paths.schedules / f"{name}.last"


def _begun(paths: StackPaths, name: str) -> Path:
    return paths.schedules / f"{name}.begun"
