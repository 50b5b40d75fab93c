"""Installing a stack: converges to what is wanted; again, there is nothing to do.

Every step leaves the stack either as it was or one step further, whatever interrupts it: the next install
completes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import Busy, DqctlError, EnvironmentFault, MissingSetting, UsageError
from dqctl.files import ensure_private_dir
from dqctl.progress import Progress
from dqctl.runtime import Runtime, controller, upgrade
from dqctl.services import schedule, state, state_install
from dqctl.services.target import name_of_target
from dqctl.settings import Settings
from dqctl.stack import lock, remembered
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, ThrowAway, read_record, write_record

_PASS_THROUGH = 0o711  # for PostgreSQL's account; nobody sees the names of what is there


@dataclass(frozen=True)
class InstallReport:
    """What the stack is now. ``changed`` names the steps that did something, in order."""

    stack: str
    home: str
    runtime: str
    testgen_version: str
    metadata: str
    postgres_version: str
    postgres_port: int | None
    postgres_account: str | None
    schema_revision: int
    changed: tuple[str, ...]


def install(
    settings: Settings,
    *,
    runtime: Literal["docker", "local"] = "local",
    version: str | None = None,
    remember: Mapping[str, str] | None = None,
    throw_away: ThrowAway | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> InstallReport:
    """Converge the stack to ``version`` of TestGen (default: what it has, else the newest that is known).

    A stack without metadata gets what was saved under its name, if there is anything; then the version is the
    saved one's.

    ``runtime`` says where it runs (see ``usual_runtime``). ``remember`` holds settings that were given and that
    later commands shall find without flags; no secrets. With ``throw_away`` a stack that is new may be lost at any
    time. Raises ``UsageError`` when the stack has data of another
    version or runtime, ``Busy`` when another command changes the stack, ``EnvironmentFault`` when this machine,
    its network or its Docker engine is in the way.
    """
    controller.require_host("dqctl install")
    remembered.check(remember or {})
    require_possible(settings, runtime)
    paths = StackPaths(settings.home, settings.stack)
    try:
        make_directories(paths)
        with lock.hold(paths.lock, "install", timeout=settings.lock_timeout, progress=progress):
            return _converge(settings, paths, runtime, version, remember or {}, throw_away, progress, clock)
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or paths.root}: {error.strerror}",
            "free space or change its owner, or choose another place with DQCTL_HOME; "
            "then run dqctl install again: it goes on where it stopped",
        ) from error


def usual_runtime(settings: Settings, progress: Progress) -> Literal["docker", "local"]:
    """Where a stack runs when nobody says: where it does, else in Docker where that answers, else locally."""
    from dqctl.runtime import compose, engine

    if settings.runtime:
        return settings.runtime
    if before := read_record(StackPaths(settings.home, settings.stack)):
        return before.runtime
    try:
        compose.compose_version()
        engine.client()
    except EnvironmentFault as fault:
        progress(f"the runtime is local: {fault.message}")
        return "local"
    progress("the runtime is docker; --runtime local needs no images")
    return "docker"


def require_runtime(paths: StackPaths, before: StackRecord | None, kind: str) -> None:
    """``UsageError`` when the stack is of another runtime: its data would not follow."""
    if before and before.runtime != kind:
        raise UsageError(
            f"stack {paths.name!r} is of the runtime {before.runtime}, {kind} was asked for",
            "nothing was changed: use another --stack, or dqctl uninstall --purge it first",
        )


def require_possible(settings: Settings, kind: str) -> None:
    """``UsageError`` for what is asked of a runtime that does not have it."""
    if settings.monitoring and kind != "docker":
        raise UsageError(
            f"the runtime {kind} has no containers that could watch it",
            "let a Prometheus of your own read its numbers: docs/monitoring.md; or install another --stack with "
            "--runtime docker. --without monitoring takes the wish back",
        )
    if settings.controller_run and kind != "docker":
        raise UsageError(
            f"the runtime {kind} has no containers, so none of a controller",
            "let systemd run it: dqctl controller unit prints the unit; --no-controller-run takes the wish back",
        )
    if settings.scheduler and kind != "docker":
        raise UsageError(
            f"the runtime {kind} has no scheduler that runs all the time",
            "let cron do it: dqctl run-tests --all; or install another --stack with --runtime docker. "
            "--no-scheduler takes the wish back",
        )


def _require_way_in(settings: Settings, before: StackRecord | None) -> None:
    """``MissingSetting`` for a new stack whose workspace is named and cannot be signed in to.

    Nobody could look for its saved state, and a stack that begins anew beside it is what nobody wants. Where the
    controller has a credential of its own, this machine needs none, and the workspace may be out of its reach.
    """
    named = settings.databricks_host or settings.databricks_config_profile
    if before or not named or settings.state == "off" or settings.controller_credential:
        return
    try:
        name_of_target(settings)
    except MissingSetting as lacking:
        raise MissingSetting(
            lacking.message,
            f"{lacking.hint}. Nothing was made; DQCTL_STATE=off installs without it, and saves no state",
        ) from None


def _converge(
    settings: Settings,
    paths: StackPaths,
    kind: Literal["docker", "local"],
    version: str | None,
    remember: Mapping[str, str],
    throw_away: ThrowAway | None,
    progress: Progress,
    clock: Clock,
) -> InstallReport:
    changed: list[str] = []
    upgrade.recover(settings, paths, progress, installing=True)
    before = read_record(paths)
    require_runtime(paths, before, kind)
    _require_way_in(settings, before)
    found = state_install.look_before(settings, paths, before, version, progress, clock)
    if found and found.state:
        version = found.state.testgen_version
    runtime = _steps(kind)(settings, paths, before, version, throw_away, changed, progress, clock)
    if restored := state_install.restore_if_blank(settings, runtime, found, progress, clock):
        changed.append(restored)
    if runtime.up():
        changed.append("metadata database")
    if remembered.remember(paths.settings, remember):
        changed.append("settings")
    record = runtime.record
    if not record.installed:
        record = record.model_copy(update={"installed": True, "updated": clock.now()})
        write_record(paths, record)
        changed.append("record")
        if before:
            _put_schedules_back(settings, changed, progress)
    _save_state(settings, runtime, progress, clock)
    return InstallReport(
        stack=settings.stack,
        home=str(settings.home),
        runtime=record.runtime,
        testgen_version=record.testgen_version,
        metadata=record.metadata,
        postgres_version=record.postgres_version,
        postgres_port=record.postgres_port,
        postgres_account=record.postgres_account,
        schema_revision=runtime.health().expected_revision,
        changed=tuple(changed),
    )


def _put_schedules_back(settings: Settings, changed: list[str], progress: Progress) -> None:
    """What uninstall took out of crontab or systemd. The stack does its work without them, if they cannot be."""
    try:
        if names := schedule.put_back(settings):
            progress(f"in crontab or systemd again: {', '.join(names)}")
            changed.append("schedules")
    except DqctlError as error:
        progress(f"note: schedules are missing, see dqctl schedule list: {error.message}; {error.hint}")


def _save_state(settings: Settings, runtime: Runtime, progress: Progress, clock: Clock) -> None:
    """Save the state, if that can be: what a set-up makes is worth no error, and the next command saves it too."""
    error = state.save_after(settings, runtime, "install", progress=progress, clock=clock)
    if isinstance(error, Busy):
        raise error
    if error:
        progress(f"note: {error.message}")


def _steps(kind: Literal["docker", "local"]) -> "Callable[..., Runtime]":
    # Imported when it is needed: a local stack has no use for the engine's SDK.
    if kind == "docker":
        from dqctl.services.install_docker import converge as docker

        return docker
    from dqctl.services.install_local import converge as local

    return local


def make_directories(paths: StackPaths) -> None:
    """The stack's directories, each open to nobody but those who need it."""
    if not paths.home.exists():
        paths.home.mkdir(parents=True)
        paths.home.chmod(_PASS_THROUGH)
    paths.root.mkdir(parents=True, exist_ok=True)
    for directory in (paths.root.parent, paths.root):
        directory.chmod(_PASS_THROUGH)
    paths.environments.mkdir(parents=True, exist_ok=True)
    for directory in (paths.logs, paths.work, paths.reports):
        ensure_private_dir(directory)
