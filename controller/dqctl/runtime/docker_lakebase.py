"""TestGen in containers, and its metadata in Lakebase: no PostgreSQL in the Compose project, and no volume."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.processes import Completed
from dqctl.runtime import compose, lakebase
from dqctl.runtime.docker import DockerRuntime
from dqctl.runtime.lakebase import LakebaseServer, lakebase_server
from dqctl.stack.record import LakebaseRecord
from dqctl.stack.secrets import read_secret


class DockerLakebaseRuntime(DockerRuntime):
    """One installed stack; implements ``dqctl.runtime.ports.Runtime``."""

    @property
    def postgres(self) -> LakebaseServer:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self.server(read_secret(self.paths, "postgres_password"))

    def server(self, password: SecretStr) -> LakebaseServer:
        """See ``dqctl.runtime.ports.Runtime``."""
        found = lakebase_server(self._lakebase, password)
        # The copy that containers have, dqctl's own among them: the original may be of this machine alone.
        copy = self.paths.mounted / "engine" / compose.LAKEBASE_CA
        return replace(found, ca_file=copy) if copy.exists() else found

    @property
    def has_database_server(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self._lakebase.host is not None

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

    def _answers(self, services: Mapping[str, str]) -> bool:
        del services
        return self.has_database_server and self.postgres.answers

    def start_server(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``: Lakebase wakes when it is asked."""
        self._wait()

    def _wait(self) -> None:
        """Wait until Lakebase lets us in, and an engine that reaches a workspace of this machine too."""
        if self._lakebase.host in compose.LOOPBACK:
            self.require_reachable(self._lakebase.port)
        self._greet()
