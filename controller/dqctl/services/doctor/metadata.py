"""TestGen's metadata database: the server, its port, the schema, jobs that nobody runs, results that wait."""

import contextlib
from pathlib import Path
from typing import Any

import psycopg

from dqctl.databricks.target import target_name
from dqctl.errors import DqctlError, EnvironmentFault
from dqctl.runtime import metadata
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.postgres import HOST, port_is_free
from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.subject import Subject
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.exclusive import SPACE
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import MetadataReader

_LATE = "it hangs, or is stopped (kill -STOP): see dqctl logs postgres"


@check("postgres.port", needs=("stack.record", "secrets.files"))
def port(subject: Subject) -> Finding:
    """Who listens on the port of the stack's own PostgreSQL."""
    runtime = _local(subject)
    number = runtime.record.postgres_port
    if number is None:
        return skipped("the record names no port")
    running = runtime.postgres.postmaster()
    if running and running.port == number:
        return ok(f"{HOST}:{number} is this stack's PostgreSQL, process {running.pid}")
    if port_is_free(number):
        return ok(f"{HOST}:{number} is free")
    return failed(
        f"{HOST}:{number} is taken by {_listener(number)}",
        f"{subject.command('install')} (PostgreSQL moves to another port)",
    )


@check("postgres.running", needs=("stack.record", "secrets.files"))
def running(subject: Subject) -> Finding:
    """Whether the stack's own PostgreSQL runs."""
    runtime = _local(subject)
    if not runtime.postgres.exists:
        return failed(f"there is no database cluster in {runtime.paths.postgres}", subject.command("install"))
    postmaster = runtime.postgres.postmaster()
    if postmaster is None and not runtime.record.installed:
        return skipped("PostgreSQL does not run: the stack is not installed", subject.command("install"))
    if postmaster is None:
        return failed(
            "PostgreSQL does not run", f"{subject.command('install')} (so does every command that works)"
        )
    if not postmaster.ready:
        return failed(
            f"PostgreSQL, process {postmaster.pid}, is not ready: it starts, recovers or stops",
            f"wait; what it does: {subject.command('logs', 'postgres')}",
        )
    return ok(f"PostgreSQL {runtime.record.postgres_version} runs, process {postmaster.pid}")


@check(
    "metadata.reachable",
    seconds=2.0,
    needs=("postgres.running", "docker.postgres", "lakebase.endpoint"),
    late=_LATE,
)
def reachable(subject: Subject) -> Finding:
    """Whether the database lets us in."""
    with subject.runtime.postgres.connect("postgres", autocommit=True) as connection:
        found = connection.execute(
            "SELECT current_setting('server_version'), pg_size_pretty(pg_database_size(oid)),"
            " (SELECT count(*) FROM pg_stat_activity WHERE datname = %(name)s),"
            " current_setting('max_connections')::int FROM pg_database WHERE datname = %(name)s",
            {"name": metadata.DATABASE},
        ).fetchone()
    if found is None:
        return failed(f"there is no database {metadata.DATABASE}", subject.command("install"))
    server, size, sessions, most = found
    evidence = f"PostgreSQL {server}, {size}, {sessions} of {most} connections"
    if sessions > 0.9 * most:
        return warning(evidence, "end what holds them: ps aux | grep testgen")
    return ok(evidence)


@check("metadata.revision", seconds=2.0, needs=("metadata.reachable", "stack.programs"), late=_LATE)
def revision(subject: Subject) -> Finding:
    """The schema's revision against the one of the TestGen that is installed."""
    health = subject.runtime.health()
    if health.schema_revision == health.expected_revision:
        return ok(f"schema revision {health.schema_revision}")
    return failed(
        f"schema revision {health.schema_revision}, TestGen {subject.runtime.record.testgen_version} works with "
        f"{health.expected_revision}",
        f"the version that the stack had: {subject.command('install', '--version')} VERSION (nothing was changed)",
    )


@check("metadata.jobs", seconds=2.0, needs=("metadata.revision",), late=_LATE)
def jobs(subject: Subject) -> Finding:
    """Jobs on their way that nobody runs; only looked at, the next command that works settles them."""
    with subject.runtime.metadata() as connection:
        version = capabilities(subject.runtime.record.testgen_version)
        row = connection.execute(
            "SELECT count(*), to_char(min(created_at), 'YYYY-MM-DD HH24:MI') FROM job_executions"
            " WHERE status = ANY(%s) AND NOT (status = 'pending' AND job_key = ANY(%s))",
            [list(version.stale_statuses), list(version.follow_up_jobs)],
        ).fetchone()
        count, oldest = row or (0, None)
        holder = connection.execute(
            "SELECT min(a.application_name) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s",
            [SPACE],
        ).fetchone()
    if not count:
        return ok("no job is left behind")
    jobs = f"{count} {'job' if count == 1 else 'jobs'}"
    if holder and holder[0]:
        return ok(f"{jobs} at work, by {holder[0]}")
    return warning(
        f"{jobs} on the way since {oldest} UTC though nobody runs {'it' if count == 1 else 'them'}",
        f"{subject.command('publish', '--pending')} (like every command that works, it settles them first)",
    )


@check("metadata.unpublished", seconds=2.0, needs=("metadata.revision",), late=_LATE)
def unpublished(subject: Subject) -> Finding:
    """Finished runs that are not in Databricks yet."""
    version = capabilities(subject.runtime.record.testgen_version)
    with subject.runtime.metadata() as connection:
        finished = MetadataReader(connection, version, subject.settings.stack).finished_runs()
        known = _published(connection, _target(subject))
    waiting = sum(run.run_id not in known for run in finished)
    if not waiting:
        return ok(f"{len(finished)} finished runs, none waits to be published")
    return warning(
        f"{waiting} of {len(finished)} finished runs wait to be published", subject.command("publish", "--pending")
    )


def _published(connection: "psycopg.Connection[tuple[Any, ...]]", target: str) -> frozenset[str]:
    # Not Ledger.ensure: this only looks.
    if connection.execute("SELECT to_regclass('dqctl.published')").fetchone() == (None,):
        return frozenset()
    connection.rollback()
    ledger = Ledger(connection)
    home = ledger.last_home(target)
    return ledger.published(home) if home else frozenset()


def _target(subject: Subject) -> str:
    """The name under which published runs are in the ledger, also while the workspace does not run."""
    settings = subject.settings
    with contextlib.suppress(DqctlError):
        return subject.target.name
    place = str(settings.workspace.resolve()) if settings.workspace else settings.databricks_host or ""
    return target_name(place, settings.catalog, settings.schema_name)


def _local(subject: Subject) -> LocalRuntime:
    runtime = subject.runtime
    if not isinstance(runtime, LocalRuntime):
        raise EnvironmentFault(
            "this stack's PostgreSQL does not run on this machine itself", "see docker.postgres"
        )
    return runtime


def _listener(number: int) -> str:
    """The process that listens on a port of this machine, by the kernel's tables; others' are not shown to all."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == number:  # 0A: listens
                    sockets.add(f"socket:[{words[9]}]")
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                process = descriptor.parents[1]
                return f"{(process / 'comm').read_text().strip()}, process {process.name}"
    return "another process"


LOCAL_CHECKS = (port, running)
CHECKS = (reachable, revision, jobs, unpublished)
