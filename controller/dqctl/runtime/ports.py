"""What services need of a runtime, wherever TestGen's processes run."""

from typing import Any, Protocol

import psycopg

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

    def up(self) -> bool:
        """Start what is down and set the database up if it is not; whether anything was done.

        Raises ``UsageError`` when the database belongs to another version of TestGen (nothing is migrated here).
        """
        ...

    def down(self) -> bool:
        """Stop everything of the stack; whether anything ran. Data stays."""
        ...

    def health(self) -> Health:
        """How the stack is, without starting anything."""
        ...
