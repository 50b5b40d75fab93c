"""The schema of a saved state as SQL: made by pg_dump of the server's own version, run by any PostgreSQL as new.

In two parts: what has to be there before the rows come (tables, functions, views, rights), and what comes after
them (keys, indexes, triggers), so that rows go in fast and are not captured as changes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.processes import Completed

SCHEMAS = ("testgen", "dqctl")

_TIMEOUT = 120.0
# What psql understands and no server does: pg_dump 16.10 and 15.14 and newer begin and end with it.
_OF_PSQL = re.compile(r"^\\(un)?restrict .*\n", re.MULTILINE)
_GRANT = re.compile(r"^GRANT .* TO (testgen_\w+);$", re.MULTILINE)

# Up to 5.92.2 TestGen's set-up makes two users with the metadata password, each in a role with rights
# (template/dbsetup/070_create_default_users.sql). Roles belong to the cluster: a dump of a database lacks them.
_USERS = {"testgen_execute_role": "testgen_execute", "testgen_report_role": "testgen_report"}

ROLES = frozenset(_USERS)
"""Those that ``ensure_roles`` knows."""

Connection = psycopg.Connection[tuple[Any, ...]]


class DatabasePrograms(Protocol):
    """What this module needs of a runtime."""

    def database_program(
        self,
        argv: Sequence[str],
        *,
        stdin: str | Path = "",
        stdout: Path | None = None,
        deadline: Deadline,
    ) -> Completed:
        """Run pg_dump against the stack's server."""
        ...


def read(
    runtime: DatabasePrograms, *, database: str = "datakitchen", snapshot: str | None = None
) -> dict[str, str]:
    """The schema of ``database``: SQL to run ``before`` its rows are there, and ``after``.

    ``snapshot`` is one that a transaction has exported: the schema of that moment. Raises ``EnvironmentFault``
    when pg_dump fails.
    """
    argv = ["pg_dump", "--schema-only", "--no-owner", f"--dbname={database}"]
    argv += [f"--schema={name}" for name in SCHEMAS]
    if snapshot:
        argv.append(f"--snapshot={snapshot}")
    return {part: _section(runtime, [*argv, f"--section={section}"]) for part, section in _SECTIONS.items()}


_SECTIONS = {"before": "pre-data", "after": "post-data"}


def _section(runtime: DatabasePrograms, argv: Sequence[str]) -> str:
    completed = runtime.database_program(argv, deadline=Deadline(_TIMEOUT))
    if completed.exit_code:
        raise EnvironmentFault(
            f"pg_dump cannot read the schema: {completed.stderr.strip()[-300:]}",
            "nothing was changed; run the same command again, dqctl doctor looks for the reason",
        )
    return _OF_PSQL.sub("", completed.stdout)


def roles(ddl: Mapping[str, str]) -> frozenset[str]:
    """The roles beside its owner that ``ddl`` gives rights to: those of TestGen's set-up, or none."""
    return frozenset(_GRANT.findall(ddl["before"])) & _USERS.keys()


def ensure_roles(connection: Connection, wanted: frozenset[str], password: bytes) -> tuple[str, ...]:
    """Make the cluster's roles ``wanted`` and their users as TestGen's set-up does; the names of those made.

    ``password`` is the stack's. What is there already stays as it is.
    """
    made = []
    for role in sorted(wanted):
        user = _USERS[role]
        for name in (role, user):
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
                made.append(name)
        if user in made:
            # The server is told the verifier of SCRAM, never the password.
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
