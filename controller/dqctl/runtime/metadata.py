"""TestGen's metadata database: set up once, whole or not at all, and never migrated by accident.

TestGen's set-up commits in between. It is therefore made under another name and renamed when it is complete: a
database called ``datakitchen`` is whole, whatever killed the set-up before.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault, TestGenFailed, UsageError
from dqctl.processes import Completed
from dqctl.redaction import redact
from dqctl.runtime.connection import be_patient
from dqctl.runtime.metadata_template import Template
from dqctl.runtime.ports import MetadataServer
from dqctl.stack.paths import StackPaths

DATABASE = "datakitchen"
MAKING = "datakitchen_making"
_MAINTENANCE = "postgres"

_RENAME = 30.0  # seconds for the sessions of others to end; PostgreSQL itself waits 5 s at each try
_PATIENCE = 300.0  # seconds for files to go, or be made, on a disk that has much to do
_END_MAKING = """
    SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
    WHERE state = 'active' AND starts_with(query, %s) AND pid <> pg_backend_pid()
"""
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"

_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Violation|Refused)\b.*:|\([\w.]+\) ")

SetUp = Callable[[Mapping[str, str]], Completed]


@dataclass(frozen=True)
class Wanted:
    """The metadata of a stack as its TestGen wants it."""

    testgen_version: str
    schema_revision: int
    paths: StackPaths


def ensure_metadata(
    postgres: MetadataServer, wanted: Wanted, set_up: SetUp, template: Template | None = None
) -> bool:
    """Set the database up unless it is; whether anything was done.

    ``set_up`` runs TestGen's ``setup-system-db`` with the environment that it is given; where ``template`` has
    what such a set-up made before, that is taken instead. Raises ``UsageError`` when the database belongs to
    another version of TestGen and holds data, ``TestGenFailed`` when the set-up fails.
    """
    if database_exists(postgres):
        revision = schema_revision(postgres)
        if revision == wanted.schema_revision:
            return False
        if has_data(postgres):
            raise UsageError(
                f"the stack's metadata has schema revision {revision}, TestGen {wanted.testgen_version} works "
                f"with {wanted.schema_revision}",
                "nothing was changed: install the version that the stack had (--version), or use another --stack",
            )
        drop_database(postgres, DATABASE)
    drop_database(postgres, MAKING)
    if not (template and _restored(postgres, wanted, template)):
        completed = set_up({"TG_METADATA_DB_NAME": MAKING})
        if completed.exit_code:
            raise _failed(postgres, wanted.paths, redact(completed.stdout + completed.stderr))
        if template:
            template.keep(MAKING)
    with postgres.connect(_MAINTENANCE, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(MAKING), sql.Identifier(DATABASE))
        )
    return True


def _restored(postgres: MetadataServer, wanted: Wanted, template: Template) -> bool:
    try:
        return template.restore(postgres, MAKING, wanted.schema_revision)
    except EnvironmentFault as fault:
        if postgres.ran_out_of_space(fault.message):
            raise _disk_full(wanted.paths) from fault
        raise


def _disk_full(paths: StackPaths) -> EnvironmentFault:
    return EnvironmentFault(
        f"the disk is full: the metadata of {paths.root} could not be set up",
        "free 500 MB, then run the same command again; what was stored before is safe",
    )


def _failed(postgres: MetadataServer, paths: StackPaths, said: str) -> EnvironmentFault | TestGenFailed:
    if postgres.ran_out_of_space(said):
        return _disk_full(paths)
    # TestGen prints its tracebacks on stdout, the SQL of the statement after the exception (5.134.0).
    reasons = [line for line in said.splitlines() if _EXCEPTION.match(line)] or said.split("\n")[-1:]
    return TestGenFailed(
        f"TestGen could not set its database up: {reasons[-1].strip()[:300]}",
        f"run dqctl install again: it sets up anew; the whole of it is in {paths.logs}",
    )


def is_current(postgres: MetadataServer, revision: int) -> bool:
    """Whether the database is there, and of the schema revision ``revision``."""
    return database_exists(postgres) and schema_revision(postgres) == revision


def database_exists(postgres: MetadataServer) -> bool:
    """Whether the metadata database is there; then it is whole."""
    with postgres.connect(_MAINTENANCE) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
    return found is not None


def drop_database(postgres: MetadataServer, name: str) -> None:
    """Drop the database, ending its sessions and whoever still makes it; nothing to do when it is not there."""
    with postgres.connect(_MAINTENANCE, autocommit=True) as connection:
        be_patient(connection, _PATIENCE)
        # The server goes on with what a command that was killed had asked for: it would be there a moment later.
        making = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)).as_string(connection)
        connection.execute(_END_MAKING, [making])
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def create_database(postgres: MetadataServer, name: str) -> None:
    """Make an empty database, in place of one of that name."""
    drop_database(postgres, name)
    with postgres.connect(_MAINTENANCE, autocommit=True) as connection:
        be_patient(connection, _PATIENCE)
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        )


def rename_databases(postgres: MetadataServer, names: Sequence[tuple[str, str]]) -> None:
    """Rename databases, from and to, in this order and in one transaction: all or none.

    Their sessions are ended, those of the caller too. ``Busy`` when others come back faster than that, or have
    made or dropped one of them meanwhile.
    """
    deadline = Deadline(_RENAME)
    while True:
        with postgres.connect(_MAINTENANCE) as connection:
            try:
                for before, after in names:
                    connection.execute(_END_SESSIONS, [before])
                    connection.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                            sql.Identifier(before), sql.Identifier(after)
                        )
                    )
                connection.commit()
            except (errors.DuplicateDatabase, errors.InvalidCatalogName) as error:
                raise Busy(
                    f"another command has changed the stack's databases meanwhile: {error.diag.message_primary}",
                    "nothing was changed; run the same command again",
                ) from error
            except errors.ObjectInUse:
                connection.rollback()
                if deadline.passed:
                    raise Busy(
                        f"the database {names[0][0]} is in use: somebody connects to it again and again",
                        "nothing was changed; end what works with it, then run the same command again",
                    ) from None
            else:
                return


def database_size(postgres: MetadataServer, name: str) -> int:
    """Bytes that the database takes, indexes included."""
    with postgres.connect(_MAINTENANCE) as connection:
        row = connection.execute("SELECT pg_database_size(%s::name)", [name]).fetchone()
    return int(row[0]) if row else 0


def free_space(postgres: MetadataServer) -> int | None:
    """Bytes that are free where the server keeps its databases; None where it does not let us ask (Lakebase).

    PostgreSQL has no function for it. The question runs as the server does, in its data directory.
    """
    with postgres.connect(_MAINTENANCE) as connection:
        try:
            connection.execute("CREATE TEMP TABLE space (line text) ON COMMIT DROP")
            connection.execute("COPY space FROM PROGRAM 'df -Pk .'")
            lines = [str(line).split() for (line,) in connection.execute("SELECT line FROM space").fetchall()]
            return int(lines[-1][3]) * 1024
        except (psycopg.Error, IndexError, ValueError):
            connection.rollback()
            return None


def schema_revision(postgres: MetadataServer) -> int | None:
    """Revision of the metadata's schema; None when there is none."""
    with postgres.connect(DATABASE) as connection:
        if connection.execute("SELECT to_regclass('testgen.tg_revision')").fetchone() == (None,):
            return None
        row = connection.execute("SELECT revision FROM tg_revision WHERE component = 'metadata_db'").fetchone()
    return int(row[0]) if row else None


def has_data(postgres: MetadataServer) -> bool:
    """Whether there is more than a fresh set-up leaves: a job, a system, a connection, a second user, a project's
    settings that somebody made.

    A fresh set-up of 5.33.3, 5.92.2 and 5.134.0 has the project DEFAULT, named Demo, one user, and none of the
    others.
    """
    with postgres.connect(DATABASE) as connection:
        for table in ("job_executions", "table_groups", "test_suites", "connections", "projects"):
            if connection.execute("SELECT to_regclass(%s)", [f"testgen.{table}"]).fetchone() == (None,):
                continue
            query = sql.SQL("SELECT 1 FROM {} WHERE project_code <> 'DEFAULT' LIMIT 1")
            if table != "projects":
                query = sql.SQL("SELECT 1 FROM {} LIMIT 1")
            if connection.execute(query.format(sql.Identifier(table))).fetchone():
                return True
        found = connection.execute("SELECT to_regclass('testgen.projects'), to_regclass('testgen.auth_users')")
        if None in (found.fetchone() or (None,)):
            return False
        # By JSON: not every version has every column.
        changed = connection.execute(_CONFIGURED).fetchone()
    return changed == (True,)


_CONFIGURED = """
    SELECT (SELECT count(*) > 1 FROM testgen.auth_users) OR EXISTS (
        SELECT 1 FROM testgen.projects p, to_jsonb(p) AS j
        WHERE project_name <> 'Demo'
           OR coalesce(j ->> 'observability_api_key', '') <> ''
           OR coalesce(j ->> 'observability_api_url', '') <> ''
           OR (j ->> 'data_retention_days')::int <> 180 OR NOT (j ->> 'data_retention_enabled')::boolean
           OR NOT (j ->> 'use_dq_score_weights')::boolean
    )
"""
