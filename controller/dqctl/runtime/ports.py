"""What services need of a runtime, wherever TestGen's processes run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.processes import Completed
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord
from dqctl.testgen import ports


class MetadataServer(Protocol):
    """The PostgreSQL that holds TestGen's metadata."""

    def connect(self, database: str, *, autocommit: bool = False) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection: search path ``testgen``, time zone UTC. ``EnvironmentFault`` when there is none."""
        ...

    def ran_out_of_space(self, said: str) -> bool:
        """Whether the disk is full, by what a program said or by the server's last words."""
        ...


class Health(Protocol):
    """How a stack is."""

    @property
    def postgres_running(self) -> bool:
        """Whether the metadata's PostgreSQL runs."""
        ...

    @property
    def postgres_pid(self) -> int | None:
        """Its process on this machine; None where it has none of its own (docker)."""
        ...

    @property
    def services(self) -> Mapping[str, str]:
        """The state of all that lasts between commands: ``running``, ``exited``, ``paused``, ``missing`` ..."""
        ...

    @property
    def schema_revision(self) -> int | None:
        """Revision of the metadata's schema; None when the database does not answer."""
        ...

    @property
    def expected_revision(self) -> int:
        """The revision that the installed TestGen works with."""
        ...

    @property
    def is_good(self) -> bool:
        """Whether TestGen can work."""
        ...


class Runtime(ports.Runtime, Protocol):
    """One installed stack, up or down. Implemented by ``LocalRuntime`` and ``DockerRuntime``."""

    @property
    def paths(self) -> StackPaths:
        """Where the stack's files lie."""
        ...

    @property
    def record(self) -> StackRecord:
        """What is installed."""
        ...

    @property
    def postgres(self) -> MetadataServer:
        """The metadata's PostgreSQL, whether it runs or not."""
        ...

    def server(self, password: SecretStr) -> MetadataServer:
        """``postgres``, reached with another password than that of the stack's secrets."""
        ...

    def apply_secrets(self) -> None:
        """Let TestGen have the stack's secrets as their files are now."""
        ...

    def database_program(
        self,
        argv: Sequence[str],
        *,
        stdin: str | Path = "",
        stdout: Path | None = None,
        deadline: Deadline,
    ) -> Completed:
        """Run ``pg_dump``, ``pg_restore`` or ``psql`` (the first of ``argv``) against the server of the metadata.

        They are those of the server's own version; who connects, where and with which password is added, which
        database is the caller's to say (``--dbname=datakitchen``). ``stdin`` is text or a file; ``stdout`` is a
        file that takes what the program says (0600; then ``Completed.stdout`` is empty). Files pass as streams:
        memory does not grow with them.

        Any exit code is returned, not raised. When the deadline passes, or dqctl is interrupted or killed,
        nothing of the program is left. ``EnvironmentFault`` for the deadline, a server that does not run, a
        disk that is full.
        """
        ...

    def require_programs(self) -> None:
        """``UsageError`` when programs or images of the stack are missing."""
        ...

    @property
    def has_database_server(self) -> bool:
        """Whether there is a server, running or not, that may hold a database."""
        ...

    def up(self) -> bool:
        """Start what is down and set the database up if it is not; whether anything was done.

        Raises ``UsageError`` when the database belongs to another version of TestGen (nothing is migrated here).
        """
        ...

    def start_server(self) -> None:
        """Have the metadata's PostgreSQL answer, and start nothing beside it."""
        ...

    def hold_still(self) -> bool:
        """Stop what works with the database between commands, until ``start_postgres``; whether there is any."""
        ...

    def start_postgres(self, *, scheduler: bool = True) -> bool:
        """Start what is down without setting the database up; whether anything was started.

        Without ``scheduler`` what begins work by itself stays down.
        """
        ...

    def down(self) -> bool:
        """Stop everything of the stack; whether anything ran. Data stays."""
        ...

    def remove(self) -> None:
        """Remove everything of a stopped stack that lies outside of its directory, data included."""
        ...

    def health(self, *, ask_database: bool = True) -> Health:
        """How the stack is, without starting anything. Asking the database wakes a Lakebase that sleeps."""
        ...
