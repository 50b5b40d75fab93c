"""Installing a stack: converges to what is wanted; again, there is nothing to do.

Every step leaves the stack either as it was or one step further, whatever interrupts it: the next install
completes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import ensure_private_dir
from dqctl.progress import Progress
from dqctl.runtime import accounts, environments, metadata, postgres_programs
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.postgres import free_port
from dqctl.services.standstill import standstill
from dqctl.settings import Settings
from dqctl.stack import lock, remembered
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record, write_record
from dqctl.stack.secrets import ensure_secrets
from dqctl.testgen.capabilities import KNOWN

_PASS_THROUGH = 0o711  # for PostgreSQL's account; nobody sees the names of what is there


@dataclass(frozen=True)
class InstallReport:
    """What the stack is now. ``changed`` names the steps that did something, in order."""

    stack: str
    home: str
    runtime: str
    testgen_version: str
    postgres_version: str
    postgres_port: int
    postgres_account: str | None
    schema_revision: int
    changed: tuple[str, ...]


def install(
    settings: Settings,
    *,
    runtime: Literal["local"] = "local",
    version: str | None = None,
    remember: Mapping[str, str] | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> InstallReport:
    """Converge the stack to ``version`` of TestGen (default: what it has, else the newest that is known).

    ``remember`` holds settings that were given and that later commands shall find without flags; no secrets.
    Raises ``UsageError`` when the stack has data of another version, ``Busy`` when another command changes the
    stack, ``EnvironmentFault`` when this machine or its network is in the way.
    """
    if runtime != "local":
        raise UsageError(f"there is no runtime {runtime!r}", "use --runtime local")
    if version is not None:
        environments.check_version(version)
    remembered.check(remember or {})
    paths = StackPaths(settings.home, settings.stack)
    try:
        _make_directories(paths)
        with lock.hold(paths.lock, "install", timeout=settings.lock_timeout, progress=progress):
            return _converge(settings, paths, version, remember or {}, progress, clock)
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or paths.root}: {error.strerror}",
            "free space or change its owner, or choose another place with DQCTL_HOME; "
            "then run dqctl install again: it goes on where it stopped",
        ) from error


def _converge(
    settings: Settings,
    paths: StackPaths,
    version: str | None,
    remember: Mapping[str, str],
    progress: Progress,
    clock: Clock,
) -> InstallReport:
    changed: list[str] = []
    log = paths.logs / "install.log"
    if ensure_secrets(paths):
        changed.append("secrets")
    if postgres_programs.ensure_programs(paths.environments, log=log, progress=progress):
        changed.append(f"PostgreSQL {postgres_programs.VERSION}")
    before = read_record(paths)
    record = before or _new_record(settings, paths, version, clock)
    if version and version != record.testgen_version:
        _leave_version(LocalRuntime(paths, record, progress), version, settings.lock_timeout)
        record = record.model_copy(update={"testgen_version": version, "installed": False})
        changed.append("version")
    if environments.ensure_environment(paths.environments, record.testgen_version, log=log, progress=progress):
        changed.append(f"TestGen {record.testgen_version}")
    if record != before:
        write_record(paths, record)
    runtime = LocalRuntime(paths, record, progress)
    if not runtime.postgres.exists:
        account = record.postgres_account
        progress("making the database cluster" + (f", owned by the account {account}" if account else ""))
        runtime.postgres.create()
        changed.append("database cluster")
    if runtime.up():
        changed.append("metadata database")
    if remembered.remember(paths.settings, remember):
        changed.append("settings")
    record = runtime.record
    if not record.installed:
        record = record.model_copy(update={"installed": True, "updated": clock.now()})
        write_record(paths, record)
        changed.append("record")
    return InstallReport(
        stack=settings.stack,
        home=str(settings.home),
        runtime=record.runtime,
        testgen_version=record.testgen_version,
        postgres_version=record.postgres_version,
        postgres_port=record.postgres_port,
        postgres_account=runtime.postgres.account,
        schema_revision=runtime.environment.schema_revision,
        changed=tuple(changed),
    )


def _leave_version(runtime: LocalRuntime, version: str, timeout: float) -> None:
    """Make room for another version of TestGen; ``UsageError`` when that would touch data."""
    if not runtime.postgres.exists:
        return
    runtime.start_postgres()
    if not metadata.database_exists(runtime.postgres):
        return
    with standstill(runtime, timeout, "dqctl install"):
        if metadata.has_data(runtime.postgres):
            raise UsageError(
                f"stack {runtime.paths.name!r} has data of TestGen {runtime.version}, {version} was asked for",
                "nothing was changed: install that version in a stack of its own, with another --stack",
            )
        metadata.drop_database(runtime.postgres, metadata.DATABASE)


def _make_directories(paths: StackPaths) -> None:
    if not paths.home.exists():
        paths.home.mkdir(parents=True)
        paths.home.chmod(_PASS_THROUGH)
    paths.root.mkdir(parents=True, exist_ok=True)
    for directory in (paths.root.parent, paths.root):
        directory.chmod(_PASS_THROUGH)
    paths.environments.mkdir(parents=True, exist_ok=True)
    # PostgreSQL's account passes through; what is private has a directory of its own (0700).
    accounts.open_way(paths.home, paths.postgres)
    accounts.open_way(paths.home, paths.environments / "bin")
    for directory in (paths.logs, paths.work, paths.reports):
        ensure_private_dir(directory)


def _new_record(settings: Settings, paths: StackPaths, version: str | None, clock: Clock) -> StackRecord:
    # A cluster without a record: an install was interrupted, or somebody deleted the record.
    account = (
        accounts.owner_account(paths.postgres)
        if paths.postgres.exists()
        else accounts.choose_account(settings.postgres_account)
    )
    now = clock.now()
    return StackRecord(
        installed=False,
        testgen_version=version or KNOWN[0].version,
        postgres_version=postgres_programs.VERSION,
        postgres_port=free_port(),
        postgres_account=account,
        created=now,
        updated=now,
    )
