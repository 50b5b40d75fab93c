"""TestGen on this machine, and its metadata in Lakebase: nothing of the stack runs between commands."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.processes import Completed
from dqctl.runtime import lakebase, metadata
from dqctl.runtime.host import Health, HostRuntime
from dqctl.runtime.lakebase import LakebaseServer, lakebase_server
from dqctl.runtime.recovery import CurrentServer, recover
from dqctl.stack.record import LakebaseRecord
from dqctl.stack.secrets import read_secret


class LocalLakebaseRuntime(HostRuntime):
    """One installed stack; implements ``dqctl.runtime.ports.Runtime``."""

    @property
    def postgres(self) -> LakebaseServer:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self.server(read_secret(self.paths, "postgres_password"))

    def server(self, password: SecretStr) -> LakebaseServer:
        """See ``dqctl.runtime.ports.Runtime``."""
        return lakebase_server(self._lakebase, password)

    @property
    def has_database_server(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self._lakebase.host is not None

    def down(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``: nothing runs here, and Lakebase goes to sleep by itself."""
        return False

    def remove(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``: what is in Lakebase, ``services.lakebase`` removes."""

    def health(self, *, ask_database: bool = True) -> Health:
        """See ``dqctl.runtime.ports.Runtime``. A compute that sleeps is woken when it is asked."""
        answers = self.has_database_server and self.postgres.answers
        revision = None
        with contextlib.suppress(EnvironmentFault):
            if ask_database and answers and metadata.database_exists(self.postgres):
                revision = metadata.schema_revision(self.postgres)
        return Health(
            postgres_running=answers,
            postgres_pid=None,
            schema_revision=revision,
            expected_revision=self.environment.schema_revision,
            services={},
        )

    def database_program(
        self, argv: Sequence[str], *, stdin: str | Path = "", stdout: Path | None = None, deadline: Deadline
    ) -> Completed:
        """See ``dqctl.runtime.ports.Runtime``: on this machine, by Lakebase's address."""
        return lakebase.database_program(
            self.postgres,
            self.paths,
            argv,
            stdin=stdin,
            stdout=stdout,
            deadline=deadline,
            progress=self._progress,
        )

    @property
    def _lakebase(self) -> LakebaseRecord:
        assert self.record.lakebase, "runtime_of looks"  # noqa: S101 - nobody else makes one
        return self.record.lakebase

    def _location(self) -> Mapping[str, object]:
        server = self.postgres
        return {"host": server.host, "port": server.port, "ca_file": server.ca_file}

    def _is_up(self) -> bool:
        try:
            return self._is_configured() and metadata.is_current(self.postgres, self.environment.schema_revision)
        except EnvironmentFault as fault:
            if "authentication failed" in fault.message:  # a rotation has just ended
                return False
            raise

    def _start(self) -> bool:
        recover(self, self._progress)
        self.apply_secrets()
        CurrentServer(self, self._progress).connect("postgres").close()
        return False
