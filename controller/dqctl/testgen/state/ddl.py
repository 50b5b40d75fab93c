"""The schema of a saved state as SQL: made by pg_dump of the server's own version, run by any PostgreSQL as new.

In two parts: what has to be there before the rows come (tables, functions, views, rights), and what comes after
them (keys, indexes, triggers), so that rows go in fast and are not captured as changes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

import psycopg
from psycopg import sql

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.processes import Completed

SCHEMAS = ("testgen", "dqctl")

_TIMEOUT = 120.0
# What psql understands and no server does: newer pg_dumps begin and end with \restrict (16.10, 15.14, CVE-2025-8714).
_OF_PSQL = re.compile(r"^\\(un)?restrict .*\n", re.MULTILINE)
_GRANT = re.compile(r"^GRANT .* TO (testgen_\w+);$", re.MULTILINE)

# Up to 5.92.2 TestGen's set-up makes two users with the metadata password, each in a role with rights
# (template/dbsetup/070_create_default_users.sql). Roles belong to the cluster: a dump of a database lacks them.
_USERS = {"testgen_execute_role": "testgen_execute", "testgen_report_role": "testgen_report"}

Connection = psycopg.Connection[tuple[Any, ...]]


class DatabasePrograms(Protocol):
    """What this module needs of a runtime."""

    def database_program(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        deadline: Deadline,
    ) -> Completed:
        """Run pg_dump, pg_restore or psql against the stack's server."""
        ...


def read(runtime: DatabasePrograms, *, snapshot: str | None = None) -> dict[str, str]:
    """The schema of the metadata database: SQL to run ``before`` its rows are there, and ``after``.

    ``snapshot`` is one that a transaction has exported: the schema of that moment. Raises ``EnvironmentFault``
    when pg_dump fails.
    """
    return {part: _section(runtime, section, snapshot) for part, section in _SECTIONS.items()}


_SECTIONS = {"before": "pre-data", "after": "post-data"}


def _section(runtime: DatabasePrograms, section: str, snapshot: str | None) -> str:
    argv = ["pg_dump", "--schema-only", "--no-owner", f"--section={section}"]
    argv += [f"--schema={name}" for name in SCHEMAS]
    if snapshot:
        argv.append(f"--snapshot={snapshot}")
    completed = runtime.database_program(argv, deadline=Deadline(_TIMEOUT))
    if completed.exit_code:
        raise EnvironmentFault(
            f"pg_dump cannot read the schema: {completed.stderr.strip()[-300:]}",
            "nothing was changed; run the same command again, dqctl doctor looks for the reason",
        )
    return _OF_PSQL.sub("", completed.stdout)


def ensure_roles(connection: Connection, ddl: Mapping[str, str], password: bytes) -> tuple[str, ...]:
    """Make the cluster's roles that ``ddl`` gives rights to; the names of those that were made.

    ``password`` is the stack's, as TestGen's own set-up would take it; the server is told its verifier only.
    """
    wanted = set(_GRANT.findall(ddl["before"]))
    made = []
    for role, user in _USERS.items():
        if role not in wanted:
            continue
        for name in (role, user):
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                continue
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
            made.append(name)
        verifier = connection.pgconn.encrypt_password(password, user.encode(), b"scram-sha-256").decode()
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(verifier))
        )
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(user)))
    return tuple(made)


def run(connection: Connection, text: str) -> None:
    """Run one part in the transaction that is open; the search path is what it was, afterwards."""
    (path,) = connection.execute("SHOW search_path").fetchone() or ("testgen",)
    connection.execute(text.encode())
    connection.execute("SELECT set_config('search_path', %s, false)", [path])
