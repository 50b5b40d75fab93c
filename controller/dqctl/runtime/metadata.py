"""TestGen's metadata database: set up once, whole or not at all, and never migrated by accident.

TestGen's set-up commits in between. It is therefore made under another name and renamed when it is complete: a
database called ``datakitchen`` is whole, whatever killed the set-up before.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from psycopg import sql

from dqctl.errors import EnvironmentFault, TestGenFailed, UsageError
from dqctl.processes import Completed
from dqctl.redaction import redact
from dqctl.runtime.ports import MetadataServer
from dqctl.stack.paths import StackPaths

DATABASE = "datakitchen"
MAKING = "datakitchen_making"
_MAINTENANCE = "postgres"

_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Violation|Refused)\b.*:|\([\w.]+\) ")

SetUp = Callable[[Mapping[str, str]], Completed]


@dataclass(frozen=True)
class Wanted:
    """The metadata of a stack as its TestGen wants it."""

    testgen_version: str
    schema_revision: int
    paths: StackPaths


def ensure_metadata(postgres: MetadataServer, wanted: Wanted, set_up: SetUp) -> bool:
    """Set the database up unless it is; whether anything was done.

    ``set_up`` runs TestGen's ``setup-system-db`` with the environment that it is given. Raises ``UsageError``
    when the database belongs to another version of TestGen and holds data, ``TestGenFailed`` when the set-up
    fails.
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
    completed = set_up({"TG_METADATA_DB_NAME": MAKING})
    if completed.exit_code:
        raise _failed(postgres, wanted.paths, redact(completed.stdout + completed.stderr))
    with postgres.connect(_MAINTENANCE, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(MAKING), sql.Identifier(DATABASE))
        )
    return True


def _failed(postgres: MetadataServer, paths: StackPaths, said: str) -> EnvironmentFault | TestGenFailed:
    if postgres.ran_out_of_space(said):
        return EnvironmentFault(
            f"the disk is full: the metadata of {paths.root} could not be set up",
            "free 500 MB, then run the same command again; what was stored before is safe",
        )
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
    """Drop the database, ending its sessions; nothing to do when it is not there."""
    with postgres.connect(_MAINTENANCE, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def schema_revision(postgres: MetadataServer) -> int | None:
    """Revision of the metadata's schema; None when there is none."""
    with postgres.connect(DATABASE) as connection:
        if connection.execute("SELECT to_regclass('testgen.tg_revision')").fetchone() == (None,):
            return None
        row = connection.execute("SELECT revision FROM tg_revision WHERE component = 'metadata_db'").fetchone()
    return int(row[0]) if row else None


def has_data(postgres: MetadataServer) -> bool:
    """Whether there is more than a fresh set-up leaves: a job, a system, a connection that somebody made.

    A fresh set-up of 5.33.3, 5.92.2 and 5.134.0 has the project DEFAULT and none of the others.
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
    return False
