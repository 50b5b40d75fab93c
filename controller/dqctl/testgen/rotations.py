"""Which rotations of secrets the metadata database has taken: ``dqctl.rotations``, beside TestGen's schema.

The row of a rotation is written by the transaction that changes everything else, first. Whoever finds the journal
of an interrupted rotation writes it too, as given up: the key lets one of both win, also over a transaction that
is still on its way. Secrets are not in it.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    """CREATE TABLE IF NOT EXISTS dqctl.rotations (
        id uuid PRIMARY KEY,
        taken boolean NOT NULL,
        secrets text[] NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
    )""",
)

Connection = psycopg.Connection[tuple[Any, ...]]

# Up to 5.92.2 TestGen's set-up makes these two with the metadata password; its SQL runs as others all the same.
_ROLES = ("testgen_execute", "testgen_report")
# TESTGEN_USERNAME of env-templates/config.env.j2.
ADMINISTRATOR = "admin"


def ensure(connection: Connection) -> None:
    """Make the table where there is none."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for statement in _CREATE:
            connection.execute(statement.encode())


def take(connection: Connection, rotation: UUID, names: Iterable[str]) -> None:
    """Say, in the transaction that is open, that the database has taken the rotation.

    ``psycopg.errors.UniqueViolation`` when somebody has given it up meanwhile.
    """
    connection.execute(
        "INSERT INTO dqctl.rotations (id, taken, secrets) VALUES (%s, true, %s)", [rotation, sorted(names)]
    )


def was_taken(connection: Connection, rotation: UUID) -> bool:
    """Whether the database has taken the rotation; when it has not, it never will after this.

    Waits for the end of a transaction that is about to take it.
    """
    ensure(connection)
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '30s'")
        connection.execute(
            "INSERT INTO dqctl.rotations (id, taken, secrets) VALUES (%s, false, '{}') ON CONFLICT DO NOTHING",
            [rotation],
        )
        found = connection.execute("SELECT taken FROM dqctl.rotations WHERE id = %s", [rotation]).fetchone()
    return bool(found and found[0])


def change_password(connection: Connection, password: bytes) -> tuple[str, ...]:
    """Let the connection's own role, and those that TestGen made with its password, have another; their names.

    The server is told the verifier of SCRAM, never the password; except where TLS keeps it from all others: who
    asks for that (Lakebase) wants to judge the password itself.
    """
    found = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = current_user OR rolname = ANY(%s) ORDER BY 1", [list(_ROLES)]
    ).fetchall()
    roles = tuple(str(role) for (role,) in found)
    for role in roles:
        said = password
        if not connection.pgconn.ssl_in_use:
            said = connection.pgconn.encrypt_password(password, role.encode(), b"scram-sha-256")
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(said.decode()))
        )
    return roles


def has_administrator(connection: Connection) -> bool:
    """Whether TestGen still has its first user."""
    return connection.execute(_ADMINISTRATOR, [ADMINISTRATOR]).fetchone() is not None


def change_administrator(connection: Connection, hashed: str) -> None:
    """Let TestGen's first user have another password, which is hashed as TestGen hashes it."""
    connection.execute("UPDATE auth_users SET password = %s WHERE username = %s", [hashed, ADMINISTRATOR])


_ADMINISTRATOR = "SELECT 1 FROM auth_users WHERE username = %s"
