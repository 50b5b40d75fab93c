"""TestGen on this machine: its own virtual environment, and a PostgreSQL of the stack's own."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.processes import Completed
from dqctl.runtime import database_programs, metadata, postgres_programs
from dqctl.runtime.accounts import owner_account
from dqctl.runtime.homes import call_home
from dqctl.runtime.host import Health, HostRuntime
from dqctl.runtime.metadata_template import Template
from dqctl.runtime.postgres import HOST, PortTaken, Postgres, free_port
from dqctl.runtime.recovery import recover
from dqctl.stack.record import write_record
from dqctl.stack.secrets import read_secret
from dqctl.testgen.capabilities import capabilities


class LocalRuntime(HostRuntime):
    """One installed stack; implements ``dqctl.runtime.ports.Runtime``."""

    @property
    def has_database_server(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self.postgres.exists

    @property
    def postgres(self) -> Postgres:
        """The stack's PostgreSQL. The account is the one that owns the cluster, whoever the record names."""
        return self.server(read_secret(self.paths, "postgres_password"))

    @property
    def _process(self) -> Postgres:
        """The same, to be looked at and stopped: that takes no password, which may be lost."""
        return self.server(SecretStr(""))

    def server(self, password: SecretStr) -> Postgres:
        """See ``dqctl.runtime.ports.Runtime``."""
        data = self.paths.postgres
        return Postgres(
            programs=postgres_programs.location(self.paths.environments),
            data=data,
            port=self._port,
            account=owner_account(data) if data.exists() else self.record.postgres_account,
            password=password,
            durable=self.record.throw_away is None,
        )

    def require_programs(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``."""
        super().require_programs()
        if not postgres_programs.location(self.paths.environments).is_dir():
            raise UsageError(f"programs of the stack {self.paths.name!r} are missing", "run: dqctl install")

    def database_program(
        self, argv: Sequence[str], *, stdin: str | Path = "", stdout: Path | None = None, deadline: Deadline
    ) -> Completed:
        """See ``dqctl.runtime.ports.Runtime``: the wheel's, over the loopback."""
        server = self.postgres
        place = database_programs.Place(HOST, server.port, server.password)
        with self._on_disk(), call_home(self.paths.work) as home:
            return database_programs.run(
                server.programs, argv, place, home=home, stdin=stdin, stdout=stdout, deadline=deadline
            )

    def down(self) -> bool:
        """Stop PostgreSQL; whether it ran."""
        if not self.paths.postgres.exists():
            return False
        with self._starting("stop of PostgreSQL"):
            return self._process.stop()

    def remove(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``: all that there is lies in the stack's directory."""

    def health(self, *, ask_database: bool = True) -> Health:
        """How the stack is, without starting anything."""
        running = self._process.postmaster() if self.paths.postgres.exists() else None
        revision = None
        with contextlib.suppress(EnvironmentFault):
            if ask_database and running and running.ready and metadata.database_exists(self.postgres):
                revision = metadata.schema_revision(self.postgres)
        return Health(
            postgres_running=running is not None,
            postgres_pid=running.pid if running else None,
            schema_revision=revision,
            expected_revision=self.environment.schema_revision,
            services={"postgres": "running" if running else "exited"},
        )

    @property
    def _port(self) -> int:
        if self.record.postgres_port is None:
            raise EnvironmentFault(f"{self.paths.record} names no port", "run dqctl install again")
        return self.record.postgres_port

    def _location(self) -> Mapping[str, object]:
        return {"host": HOST, "port": self._port, "ca_file": None}

    def _template(self) -> Template | None:
        if not capabilities(self.version).known:
            return None
        return Template(
            self, f"{self.environment.fingerprint}\nPostgreSQL {self.record.postgres_version}", self._progress
        )

    def _is_up(self) -> bool:
        running = self.postgres.postmaster()
        if not (running and running.ready and running.port == self.record.postgres_port and self._is_configured()):
            return False
        try:
            return metadata.is_current(self.postgres, self.environment.schema_revision)
        except EnvironmentFault:  # it was killed a moment ago
            return False

    def _start(self) -> bool:
        running = self.postgres.postmaster()
        if running and running.port != self.record.postgres_port:
            self._move_to(running.port)
        try:
            started = self.postgres.start()
        except PortTaken as taken:
            port = free_port()
            self._progress(f"{taken.message}: PostgreSQL moves to {port}")
            self._move_to(port)
            started = self.postgres.start()
        recover(self, self._progress)
        self.apply_secrets()
        if started:
            account = self.postgres.account
            as_whom = f" as the account {account}" if account else ""
            self._progress(f"PostgreSQL is up on {HOST}:{self.record.postgres_port}{as_whom}")
        return started

    def _move_to(self, port: int) -> None:
        self.record = self.record.model_copy(update={"postgres_port": port, "updated": datetime.now(UTC)})
        write_record(self.paths, self.record)
