"""``pg_dump``, ``pg_restore`` and ``psql``, let in without a secret in arguments or environment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.files import write_private
from dqctl.processes import Completed
from dqctl.redaction import reveal
from dqctl.runtime.connection import ROLE

# What decides about a connection, apart from where it leads.
ENVIRONMENT = {"PGUSER": ROLE, "PGAPPNAME": "dqctl", "PGCONNECT_TIMEOUT": "30", "PGTZ": "UTC", "LC_ALL": "C"}


@dataclass(frozen=True)
class Place:
    """Where a server is, and the password of the role that dqctl works as."""

    host: str
    port: int
    password: SecretStr


def command(argv: Sequence[str]) -> list[str]:
    """``argv`` with what keeps a program from asking a terminal, or reading somebody's habits."""
    habits = ["--no-psqlrc"] if argv[0].endswith("psql") else []
    return [argv[0], "--no-password", *habits, *argv[1:]]


def run(
    programs: Path,
    argv: Sequence[str],
    place: Place,
    *,
    home: Path,
    stdin: str | Path = "",
    stdout: Path | None = None,
    deadline: Deadline,
) -> Completed:
    """Run a program of ``programs`` (the directory with ``bin``) in ``home``, a directory of the call's own.

    See ``dqctl.runtime.ports.Runtime.database_program``. The password is proven by SCRAM, never sent.
    """
    passwords = home / "pgpass"
    escaped = reveal(place.password).replace("\\", "\\\\").replace(":", "\\:")
    write_private(passwords, f"*:*:*:*:{escaped}\n")
    name, *arguments = command(argv)
    return processes.run(
        [str(programs / "bin" / name), *arguments],
        deadline=deadline,
        environment={
            **ENVIRONMENT,
            "HOME": str(home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PGHOST": place.host,
            "PGPORT": str(place.port),
            "PGPASSFILE": str(passwords),
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
            "PGREQUIREAUTH": "scram-sha-256",
        },
        cwd=home,
        stdin=stdin,
        stdout=stdout,
    )
