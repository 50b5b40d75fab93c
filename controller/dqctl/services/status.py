"""How a stack is, without starting or changing anything."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

import dqctl
from dqctl.errors import DqctlError
from dqctl.progress import silent
from dqctl.runtime import Runtime, runtime_of
from dqctl.services.pages import pages
from dqctl.settings import Settings
from dqctl.stack import backups, upgrading
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record
from dqctl.stack.upgrading import Phase

log = logging.getLogger(__name__)

_LAST = 5


@dataclass(frozen=True)
class LastJob:
    """One of the jobs that the stack ran last. Times are UTC."""

    job_id: str
    kind: str
    status: str
    started: datetime | None
    ended: datetime | None
    error: str | None


@dataclass(frozen=True)
class Status:
    """One stack. Everything after ``installed`` is empty when nothing was ever installed.

    ``healthy`` is True when TestGen could work at once. ``metadata`` is disposable or lakebase, ``lakebase`` the
    endpoint, ``lakebase_state`` what it does: active, asleep, init, degraded, or unknown where nobody tells. Only
    one that is active is asked for more; one that sleeps wakes by itself for whoever works.
    ``schema_revision`` and ``last_jobs`` are unknown (None, empty) while PostgreSQL is down.
    ``disk_bytes`` are those of the stack's directory, programs not included, and of databases in a container, when
    they can be asked. ``newest_backup`` is by its files.
    ``monitoring`` are the pages of what watches the stack, by service, of those that run.
    ``changing_to`` is the version of an upgrade or a rollback that is under way or was interrupted,
    ``rollback_to`` what ``dqctl rollback`` goes back to.
    """

    stack: str
    home: str
    dqctl_version: str
    installed: bool
    healthy: bool = False
    runtime: str | None = None
    testgen_version: str | None = None
    metadata: str | None = None
    lakebase: str | None = None
    lakebase_state: str | None = None
    postgres_version: str | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    postgres_running: bool = False
    postgres_pid: int | None = None
    postgres_port: int | None = None
    postgres_account: str | None = None
    schema_revision: int | None = None
    expected_revision: int | None = None
    created: datetime | None = None
    updated: datetime | None = None
    monitoring: Mapping[str, str] = field(default_factory=dict)
    disk_bytes: int = 0
    changing_to: str | None = None
    rollback_to: str | None = None
    newest_backup: str | None = None
    newest_backup_at: datetime | None = None
    last_jobs: tuple[LastJob, ...] = ()


def status(settings: Settings) -> Status:
    """The stack as it is; ``EnvironmentFault`` when its record or secrets cannot be read."""
    paths = StackPaths(settings.home, settings.stack)
    record = read_record(paths)
    if record is None:
        return Status(settings.stack, str(settings.home), dqctl.__version__, installed=False)
    # It only looks, also at a stack that is just changing its version.
    runtime = runtime_of(paths, record, silent, upgrading=True)
    changing, kept = upgrading.pending(paths), upgrading.kept(paths)
    if changing and changing.phase is Phase.DONE:  # only what is left over has to go
        changing = None
    lakebase = lakebase_state(settings, record)
    health = runtime.health(ask_database=lakebase in (None, "active"))
    resting = lakebase == "asleep" and all(state == "running" for state in health.services.values())
    newest = next(iter(backups.listed(paths)), None)
    last_jobs, in_volume = _asked(runtime) if health.is_good and not changing else ((), 0)
    return Status(
        stack=settings.stack,
        home=str(settings.home),
        dqctl_version=dqctl.__version__,
        installed=record.installed,
        healthy=record.installed and (health.is_good or resting),
        runtime=record.runtime,
        testgen_version=record.testgen_version,
        metadata=record.metadata,
        lakebase=(record.lakebase.endpoint or record.lakebase.project) if record.lakebase else None,
        lakebase_state=lakebase,
        postgres_version=record.postgres_version,
        services=dict(health.services),
        postgres_running=health.postgres_running,
        postgres_pid=health.postgres_pid,
        postgres_port=record.postgres_port,
        postgres_account=record.postgres_account,
        schema_revision=health.schema_revision,
        expected_revision=health.expected_revision,
        created=record.created,
        updated=record.updated,
        monitoring=pages(paths, record),
        disk_bytes=_bytes_below(paths.root) + in_volume,
        changing_to=changing.after.record.testgen_version if changing else None,
        rollback_to=kept.side.record.testgen_version if kept else None,
        newest_backup=newest.id if newest else None,
        newest_backup_at=newest.manifest.created if newest else None,
        last_jobs=last_jobs,
    )


def is_asleep(settings: Settings, record: StackRecord) -> bool:
    """Whether the stack's Lakebase does anything but work: asking its database would wake it, or wait for it."""
    return lakebase_state(settings, record) not in (None, "active")


def lakebase_state(settings: Settings, record: StackRecord) -> str | None:
    """What Lakebase's endpoint does, by REST: a look must not wake it, or keep it awake."""
    if record.lakebase is None or record.lakebase.endpoint is None:
        return None
    # They take most of a second to import, and most stacks have no Lakebase.
    from dqctl.databricks.lakebase import state_of
    from dqctl.databricks.rest import RestApi
    from dqctl.services.target import find_target

    try:
        state = state_of(RestApi(find_target(settings)), record.lakebase.endpoint)
    except DqctlError as error:
        log.info("what Lakebase does is not known: %s", error.message)
        return "unknown"
    return "asleep" if state == "IDLE" else state.lower()


def _asked(runtime: Runtime) -> tuple[tuple[LastJob, ...], int]:
    """What only the database tells: the newest jobs, and the bytes that it has elsewhere than below the stack."""
    with runtime.metadata() as connection:
        jobs = _last_jobs(connection)
        if runtime.record.runtime != "docker" or runtime.record.lakebase:
            return jobs, 0
        ((size,),) = connection.execute("SELECT sum(pg_database_size(oid))::bigint FROM pg_database").fetchall()
        return jobs, size


def _last_jobs(connection: "psycopg.Connection[tuple[Any, ...]]") -> tuple[LastJob, ...]:
    query = sql.SQL(
        "SELECT id::text, job_key, status, started_at, completed_at, error_message FROM job_executions"
        " ORDER BY created_at DESC LIMIT {}"
    ).format(sql.Literal(_LAST))
    return tuple(
        LastJob(job, kind, state, _utc(started), _utc(ended), error)
        for job, kind, state, started, ended, error in connection.execute(query).fetchall()
    )


def _utc(value: Any) -> datetime | None:
    # TestGen stores UTC without a zone.
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _bytes_below(root: Path) -> int:
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            try:
                total += (Path(directory) / name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue  # PostgreSQL made it and took it away meanwhile
    return total
