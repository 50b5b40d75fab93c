"""Schedules: what crontab, systemd or the sidecar runs, from the moment that it is asked for to its log."""

import contextlib
import logging
import logging.handlers
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from dqctl import processes
from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.crontimes import checked_time
from dqctl.errors import DqctlError, EnvironmentFault, UsageError
from dqctl.files import PRIVATE_FILE
from dqctl.redaction import RedactingFormatter, holds_secret
from dqctl.settings import Settings, load, variable
from dqctl.stack import crontab, lock, schedules, timers
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from dqctl.stack.schedules import By, LastRun, Schedule

_LOG_BYTES = 5_000_000
_LOG_FILES = 5
_SECRETS = ("databricks_token", "databricks_client_secret")
# What else decides how a command finds its way; a proxy's address may hold a password, and is left out then.
_KEPT = (
    "DQCTL_CONFIG", "DATABRICKS_CONFIG_FILE", "PATH", "HOME", "LANG", "DOCKER_HOST", "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip
# Where somebody else starts what is written down there; the sidecar reads our own files.
_PLACES: tuple[By, ...] = ("cron", "systemd")
_LINES_KEPT = 40  # of what a run said on stderr, for the mail

Change = Literal["added", "changed", "unchanged", "removed", "not there"]


@dataclass(frozen=True)
class Planned:
    """What ``add`` or ``remove`` did, or would: ``writes`` has the text by the place that it goes to."""

    change: Change
    schedule: Schedule | None
    writes: Mapping[str, str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A schedule as it stands. ``installed``: whether crontab or systemd has it; ``due`` is local time."""

    schedule: Schedule
    installed: bool
    due: datetime | None
    last: LastRun | None
    log: Path


def add(
    settings: Settings,
    name: str,
    at: str,
    arguments: Sequence[str],
    *,
    by: By = "cron",
    timeout: float = 86400.0,
    environment: Mapping[str, str],
    dry_run: bool = False,
) -> Planned:
    """Have ``dqctl ARGUMENTS`` run at ``at``; one of that name is replaced, the second time changes nothing.

    ``environment`` is what the command will find, as far as it is about dqctl, without secrets; what the sidecar
    starts finds what the sidecar has.
    """
    paths = _paths(settings)
    # The sidecar's own settings hold for what it starts; in its container those of the host would lead nowhere.
    kept, left_out = ({}, ()) if by == "controller" else kept_variables(environment)
    wanted = Schedule(schedules.checked_name(name), checked_time(at), _checked(arguments), by, kept, timeout)
    with _editing(paths):
        before = _there(paths, name)
        writes = _writes(settings, wanted)
        if before == wanted and _is_installed(settings, wanted):
            return Planned("unchanged", wanted, {}, left_out)
        if not dry_run:
            if before and before.by != by:
                _take_out(settings, name, before.by)
            schedules.write(paths, wanted)
            _put_in(settings, wanted)
        return Planned("changed" if before else "added", wanted, writes, left_out)


def remove(settings: Settings, name: str, *, dry_run: bool = False) -> Planned:
    """Have it run no more, also when its stack is gone; lines and units of others are left alone."""
    paths = StackPaths(settings.home, settings.stack)
    with _editing(paths):
        there = _there(paths, name)
        places = (there.by,) if there else _PLACES
        found = [by for by in places if there or _is_marked(settings, name, by)]
        is_known = name in schedules.names(paths)  # also one whose file is damaged
        if not dry_run:
            for by in found:
                _take_out(settings, name, by)
            schedules.drop(paths, name)
        return Planned("removed" if found or is_known else "not there", there, {})


def take_out(settings: Settings) -> tuple[str, ...]:
    """Take all of the stack's schedules out of crontab and systemd; the names of those that were there.

    Their files stay, for ``put_back``. Raises ``EnvironmentFault`` when crontab or systemd refuses.
    """
    paths = StackPaths(settings.home, settings.stack)
    if not schedules.names(paths):
        return ()
    with _editing(paths):
        found: dict[str, None] = {}
        for name in schedules.names(paths):
            for by in _PLACES:
                if _is_marked(settings, name, by):
                    _take_out(settings, name, by)
                    found[name] = None
        return tuple(found)


def put_back(settings: Settings) -> tuple[str, ...]:
    """Put back what ``take_out`` took out of crontab and systemd; the names. Raises what ``add`` raises."""
    paths = StackPaths(settings.home, settings.stack)
    if not schedules.names(paths):
        return ()
    with _editing(paths):
        missing = [each for each in schedules.every(paths) if not _is_installed(settings, each)]
        for each in missing:
            _put_in(settings, each)
        return tuple(each.name for each in missing)


def listed(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> tuple[Listed, ...]:
    """All schedules of the stack."""
    paths = _paths(settings)
    now = clock.now().astimezone().replace(tzinfo=None)
    return tuple(
        Listed(
            each,
            _is_installed(settings, each),
            each.due(now),
            schedules.read_last(paths, each.name),
            log_of(paths, each.name),
        )
        for each in schedules.every(paths)
    )


def log_of(paths: StackPaths, name: str) -> Path:
    """The log of a schedule's runs."""
    return paths.logs / f"schedule-{name}.log"


def run(settings: Settings, name: str, say: Callable[[str, bool], None], clock: Clock = SYSTEM_CLOCK) -> int:
    """Run a schedule now, as cron does; the exit code of its command.

    All that it says goes to its log. ``say`` gets (a line, whether it is an error's) only when it did not end
    well: what is said to cron becomes a mail. ``Busy`` when the same schedule still runs.
    """
    paths = _paths(settings)
    wanted = schedules.read(paths, name)
    if wanted is None:
        raise UsageError(f"there is no schedule {name}", "see dqctl schedule list")
    said: dict[bool, list[str]] = {False: [], True: []}
    environment = os.environ if wanted.by == "controller" else _found_by(wanted)
    with (
        lock.hold(paths.schedules / f"{name}.lock", f"schedule run {name}", clock=clock),
        _log(paths, name) as log,
    ):
        started = clock.now()
        log.info("%s begins: dqctl %s", started.isoformat(timespec="seconds"), " ".join(wanted.arguments))
        code = None

        def hear(line: str, error: bool) -> None:
            said[error].append(line)
            log.info("%s", line)

        try:
            done = processes.run(
                [*dqctl_command(settings), *wanted.arguments],
                deadline=Deadline(wanted.timeout, clock),
                environment=environment,
                on_line=lambda line: hear(line, False),
                on_error_line=lambda line: hear(line, True),
            )
            code = done.exit_code
        except EnvironmentFault as fault:
            log.info("error: %s", fault.message)
            code = int(fault.exit_code)
            raise
        finally:
            ended = clock.now()
            seconds = (ended - started).total_seconds()
            log.info("%s ended with %s after %.0f s", ended.isoformat(timespec="seconds"), code, seconds)
            if code is not None:
                schedules.write_last(paths, name, LastRun(started.isoformat(timespec="seconds"), seconds, code))
                _write_metrics(settings, environment, log)
    if code:
        for line in said[False]:
            say(line, False)
        for line in said[True][-_LINES_KEPT:]:
            say(line, True)
    return code


def _write_metrics(settings: Settings, environment: Mapping[str, str], log: logging.Logger) -> None:
    """The numbers anew, where its command writes them: how it ended was not known yet when that did."""
    try:
        found = load({"home": settings.home, "stack": settings.stack}, environment)
        if found.metrics_file is None:
            return
        from dqctl.services import metrics  # PostgreSQL and Prometheus take longer to import than all of this

        metrics.write_after(found, lambda line: log.info("%s", line))
    except DqctlError as error:
        log.info("%s; %s", error.message, error.hint)


def _paths(settings: Settings) -> StackPaths:
    paths = StackPaths(settings.home, settings.stack)
    if read_record(paths) is None:
        raise UsageError(f"there is no stack {settings.stack!r}", "make one: dqctl install")
    return paths


def _there(paths: StackPaths, name: str) -> Schedule | None:
    """The schedule of that name; one whose file is damaged is none, so that it can be replaced, or removed."""
    schedules.checked_name(name)
    with contextlib.suppress(EnvironmentFault):
        return schedules.read(paths, name)
    return None


def _checked(arguments: Sequence[str]) -> tuple[str, ...]:
    if any(holds_secret(each) for each in arguments):
        raise UsageError(
            "the command holds a secret", "leave it out: secrets come from files, see docs/operations.md"
        )
    if list(arguments[:1]) == ["schedule"]:
        raise UsageError("a schedule cannot run schedule", "give the command that is to run: run-tests --all")
    return tuple(arguments) or ("--quiet", "run-tests", "--all")


def kept_variables(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is written down of ``environment``, and the names of what cannot be."""
    names = [variable(name) for name in Settings.model_fields if name not in _SECRETS]
    names += [f"{variable(name)}_FILE" for name in _SECRETS] + list(_KEPT)
    found = {name: environment[name] for name in names if environment.get(name)}
    secret = [variable(name) for name in _SECRETS if environment.get(variable(name))]
    secret += [
        name for name, value in found.items() if holds_secret(value) or ("proxy" in name.lower() and "@" in value)
    ]
    return {name: value for name, value in found.items() if name not in secret}, tuple(secret)


def _found_by(wanted: Schedule) -> dict[str, str]:
    """What is kept with it, and what cron itself gives: time zone, user."""
    given = {name: os.environ[name] for name in ("TZ", "USER", "LOGNAME", "XDG_RUNTIME_DIR") if name in os.environ}
    return given | dict(wanted.environment)


def dqctl_command(settings: Settings) -> list[str]:
    """How dqctl is started for this stack, without a command."""
    return [sys.executable, "-m", "dqctl", "--home", str(settings.home), "--stack", settings.stack]


def command_of(settings: Settings, schedule: Schedule) -> list[str]:
    """What cron, systemd or the sidecar starts."""
    return [*dqctl_command(settings), "schedule", "run", schedule.name]


def _writes(settings: Settings, schedule: Schedule) -> dict[str, str]:
    argv = command_of(settings, schedule)
    if schedule.by == "systemd":
        units = timers.render(settings.stack, str(settings.home), schedule, argv)
        return {str(timers.directory() / name): text for name, text in units.items()}
    if schedule.by == "controller":
        return {"controller": f"{schedule.at} {shlex.join(schedule.arguments)}\n"}
    return {"crontab": f"{_mark(settings, schedule.name)}\n{crontab.line(schedule.at, argv)}\n"}


def _mark(settings: Settings, name: str) -> str:
    return crontab.mark(str(settings.home), settings.stack, name)


def _put_in(settings: Settings, schedule: Schedule) -> None:
    argv = command_of(settings, schedule)
    if schedule.by == "systemd":
        timers.install(settings.stack, str(settings.home), schedule, argv)
        return
    if schedule.by == "controller":  # it reads the file
        return
    crontab.write(
        crontab.with_line(crontab.read(), _mark(settings, schedule.name), crontab.line(schedule.at, argv))
    )


def _take_out(settings: Settings, name: str, by: By) -> None:
    if by == "systemd":
        timers.uninstall(settings.stack, str(settings.home), name)
        return
    if by == "controller":
        return
    text = crontab.read()
    without = crontab.without_line(text, _mark(settings, name))
    if without != text:
        crontab.write(without)


def _is_marked(settings: Settings, name: str, by: By) -> bool:
    """Whether crontab or systemd has anything of that name."""
    if by == "systemd":
        return timers.is_there(str(settings.home), settings.stack, name)
    try:
        return crontab.line_of(crontab.read(), _mark(settings, name)) is not None
    except EnvironmentFault:  # no cron here
        return False


def _is_installed(settings: Settings, schedule: Schedule) -> bool:
    if schedule.by == "systemd":
        return timers.is_there(str(settings.home), settings.stack, schedule.name)
    if schedule.by == "controller":
        return True
    try:
        found = crontab.line_of(crontab.read(), _mark(settings, schedule.name))
    except EnvironmentFault:  # no cron here
        return False
    return found == crontab.line(schedule.at, command_of(settings, schedule))


@contextlib.contextmanager
def _editing(paths: StackPaths) -> Iterator[None]:
    # A crontab is read, changed and written as a whole: of two that did so at once, one would be lost.
    with lock.hold(paths.home / "schedules.lock", "schedule", timeout=30):
        yield


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """Rotates by size; nobody else may read it."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        return os.fdopen(descriptor, "a", encoding="utf-8")


@contextlib.contextmanager
def _log(paths: StackPaths, name: str) -> Iterator[logging.Logger]:
    paths.logs.mkdir(parents=True, exist_ok=True)
    handler = _PrivateLog(log_of(paths, name), maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    log = logging.Logger(f"schedule {name}", logging.INFO)
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()
