"""The steps of an install that are the local runtime's: programs from the package index, and a database."""

from dqctl.clock import Clock
from dqctl.progress import Progress
from dqctl.runtime import Runtime, accounts, cluster_template, environments, postgres_programs, runtime_of
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.postgres import free_port
from dqctl.services.lakebase import Store, ensure_lakebase, project_of, require_tls, wanted_store
from dqctl.services.standstill import leave_version
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import LakebaseRecord, StackRecord, ThrowAway, write_record
from dqctl.stack.secrets import ensure_secrets
from dqctl.testgen.capabilities import KNOWN
from dqctl.testgen.driver import stand_by


def converge(
    settings: Settings,
    paths: StackPaths,
    before: StackRecord | None,
    version: str | None,
    throw_away: ThrowAway | None,
    changed: list[str],
    progress: Progress,
    clock: Clock,
) -> Runtime:
    """All that has to stand before the runtime can be started; what was done is added to ``changed``."""
    if ensure_secrets(paths):
        changed.append("secrets")
    if version is not None:
        environments.check_version(version)
    store = wanted_store(settings, before)
    if store == "lakebase":
        project_of(settings, before)
        require_tls(wanted_version(before, version))
    # PostgreSQL's account passes through; what is private has a directory of its own (0700).
    accounts.open_way(paths.home, paths.postgres)
    accounts.open_way(paths.home, paths.environments / "bin")
    record = before or _new_record(settings, paths, version, store, throw_away, clock)
    log = paths.logs / "install.log"
    if store == "disposable" and postgres_programs.ensure_programs(paths.environments, log=log, progress=progress):
        changed.append(f"PostgreSQL {postgres_programs.VERSION}")
    if version and version != record.testgen_version:
        leave_version(runtime_of(paths, record, progress), version, settings.lock_timeout)
        record = record.model_copy(update={"testgen_version": version, "installed": False})
        changed.append("version")
    if environments.ensure_environment(paths.environments, record.testgen_version, log=log, progress=progress):
        changed.append(f"TestGen {record.testgen_version}")
    if record != before:
        write_record(paths, record)
    if store == "lakebase":
        return runtime_of(paths, ensure_lakebase(settings, paths, record, changed, progress, clock), progress)
    runtime = LocalRuntime(paths, record, progress)
    if not runtime.postgres.exists:
        _make_cluster(runtime, progress)
        changed.append("database cluster")
    return runtime


def _make_cluster(runtime: LocalRuntime, progress: Progress) -> None:
    runtime.apply_secrets()  # all that TestGen's Python needs to start is there now
    stand_by(runtime)
    account = runtime.record.postgres_account
    progress("making the database cluster" + (f", owned by the account {account}" if account else ""))
    template = cluster_template.ClusterTemplate(runtime) if runtime.record.throw_away else None
    if template and template.take():
        return
    runtime.postgres.create()
    if template:
        runtime.up()
        template.keep()


def wanted_version(before: StackRecord | None, version: str | None) -> str:
    """The version that is asked for, else what the stack has, else the newest that is known."""
    return version or (before.testgen_version if before else KNOWN[0].version)


def _new_record(
    settings: Settings,
    paths: StackPaths,
    version: str | None,
    store: Store,
    throw_away: ThrowAway | None,
    clock: Clock,
) -> StackRecord:
    now = clock.now()
    record = StackRecord(
        installed=False,
        runtime="local",
        testgen_version=wanted_version(None, version),
        postgres_version="of Lakebase",
        postgres_port=None,
        postgres_account=None,
        throw_away=throw_away,
        created=now,
        updated=now,
    )
    if store == "lakebase":
        return record.model_copy(update={"lakebase": LakebaseRecord(project=project_of(settings, None))})
    # A cluster without a record: an install was interrupted, or somebody deleted the record.
    account = (
        accounts.owner_account(paths.postgres)
        if paths.postgres.exists()
        else accounts.choose_account(settings.postgres_account)
    )
    accounts.require_way(paths.postgres, account)  # before programs are fetched, which takes a minute
    own = {
        "postgres_version": postgres_programs.VERSION,
        "postgres_port": free_port(),
        "postgres_account": account,
    }
    return record.model_copy(update=own)
