"""TestGen on this machine, in its own virtual environment, wherever its metadata is."""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import write_private
from dqctl.progress import Progress
from dqctl.runtime import environments, fence, metadata
from dqctl.runtime.call_log import both, call_log
from dqctl.runtime.connection import ROLE
from dqctl.runtime.homes import call_home, remove_left_overs
from dqctl.runtime.launch import ENVIRONMENT, Program, command, digest
from dqctl.runtime.metadata_template import Template
from dqctl.runtime.ports import MetadataServer
from dqctl.runtime.recovery import CurrentServer
from dqctl.runtime.templates import render
from dqctl.stack import lock, rotation
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord
from dqctl.stack.secrets import LENGTHS, read_secret
from dqctl.testgen.ports import Completed, Feed, Line

_SETUP_TIMEOUT = 900.0  # seconds; 15 on an idle machine, 300 on one at a load of 20
_START_TIMEOUT = 1000.0  # to wait for another command that starts PostgreSQL, a set-up included

# All that TestGen gets of dqctl's environment: any variable that it knows (TG_*, PROJECT_*, DEFAULT_*, ...), or
# libpq (PG*), would override what the stack says, and secrets are none of its business.
_INHERITED = (
    "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip


@dataclass(frozen=True)
class Health:
    """How the stack is. ``schema_revision`` is None when the database does not answer.

    ``services`` has the state of each process that lasts.
    """

    postgres_running: bool
    postgres_pid: int | None
    schema_revision: int | None
    expected_revision: int
    services: Mapping[str, str]

    @property
    def is_good(self) -> bool:
        """Whether TestGen can work."""
        return self.postgres_running and self.schema_revision == self.expected_revision


class HostRuntime(ABC):
    """What of ``dqctl.runtime.ports.Runtime`` does not depend on where the metadata is."""

    def __init__(
        self, paths: StackPaths, record: StackRecord, progress: Progress, *, upgrading: bool = False
    ) -> None:
        self.paths = paths
        self.record = record
        self._progress = progress
        self._upgrading = upgrading
        self.environment = environments.environment(paths.environments, record.testgen_version)

    @property
    def version(self) -> str:
        """Version of TestGen."""
        return self.record.testgen_version

    @property
    def postgres(self) -> MetadataServer:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self.server(read_secret(self.paths, "postgres_password"))

    @abstractmethod
    def server(self, password: SecretStr) -> MetadataServer:
        """See ``dqctl.runtime.ports.Runtime``."""

    @property
    @abstractmethod
    def has_database_server(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""

    @abstractmethod
    def database_program(
        self, argv: Sequence[str], *, stdin: str | Path = "", stdout: Path | None = None, deadline: Deadline
    ) -> Completed:
        """See ``dqctl.runtime.ports.Runtime``."""

    @abstractmethod
    def down(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""

    @abstractmethod
    def remove(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``."""

    @abstractmethod
    def health(self, *, ask_database: bool = True) -> Health:
        """See ``dqctl.runtime.ports.Runtime``."""

    @abstractmethod
    def _location(self) -> Mapping[str, object]:
        """Where TestGen finds its metadata: ``host``, ``port``, ``ca_file`` (None: no TLS)."""

    @abstractmethod
    def _is_up(self) -> bool:
        """Whether nothing has to be started or set up."""

    @abstractmethod
    def _start(self) -> bool:
        """Have the server let us in; whether anything was started."""

    def apply_secrets(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``."""
        if not self._is_configured():
            write_private(self._configuration, self._render_configuration())

    def require_programs(self) -> None:
        """``UsageError`` when programs of the stack are missing."""
        if not self.environment.is_complete:
            raise UsageError(f"programs of the stack {self.paths.name!r} are missing", "run: dqctl install")

    def up(self) -> bool:
        """Start what is down and set the database up if it is not; whether anything was done.

        Raises ``UsageError`` when the database belongs to another version of TestGen (nothing is migrated here).
        """
        remove_left_overs(self.paths.work)
        if not rotation.is_pending(self.paths) and self._is_up():
            return False
        with self._starting("start of PostgreSQL"):
            started = self._start()
            with self._fenced():
                return self._ensure_metadata() or started

    def start_postgres(self, *, scheduler: bool = True) -> bool:
        """Start PostgreSQL and nothing else; whether it was started."""
        del scheduler  # there is none
        with self._starting("start of PostgreSQL"):
            return self._start()

    def run(
        self,
        argv: Sequence[str],
        *,
        program: Program = "testgen",
        stdin: str | Feed = "",
        deadline: Deadline,
        environment: Mapping[str, str] | None = None,
        on_line: Line | None = None,
        on_error_line: Line | None = None,
        fetch: str | None = None,
    ) -> Completed:
        """See ``dqctl.testgen.ports.Runtime``."""
        with (
            self._on_disk(),
            self._fenced(),
            call_home(self.paths.work) as home,
            call_log(self.paths, program, argv) as keep,
        ):
            completed = processes.run(
                command(str(self.environment.python), program, argv),
                deadline=deadline,
                stdin=stdin,
                environment=self._environment(home, environment or {}),
                cwd=home,
                on_line=both(keep, on_line) if program == "testgen" else on_line,
                on_error_line=both(keep, on_error_line),
            )
            return replace(completed, files=_read_files(home / fetch)) if fetch else completed

    @property
    def configuration(self) -> str:
        """See ``dqctl.testgen.ports.Runtime``."""
        return digest(str(self.environment.python), self._configuration)

    def variables(self, on_top: Mapping[str, str]) -> Mapping[str, str]:
        """See ``dqctl.testgen.ports.Runtime``."""
        return on_top

    def metadata(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """See ``dqctl.testgen.ports.Runtime``."""
        if not self._upgrading:
            fence.require_current(self.paths, self.record)
        return CurrentServer(self, self._progress).connect(metadata.DATABASE)

    def hold_still(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``: nothing works between commands."""
        return False

    def start_server(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``."""
        self.start_postgres()

    def _fenced(self) -> "contextlib.AbstractContextManager[None]":
        return contextlib.nullcontext() if self._upgrading else fence.shared(self.paths, self.record)

    @contextlib.contextmanager
    def _starting(self, what: str) -> Iterator[None]:
        with lock.hold(self.paths.root / "postgres.lock", what, timeout=_START_TIMEOUT):
            yield

    @property
    def _configuration(self) -> Path:
        return self.paths.secrets / "config.env"

    def _render_configuration(self) -> str:
        secrets = {name: read_secret(self.paths, name).get_secret_value() for name in LENGTHS}
        return render("config.env", **self._location(), database=metadata.DATABASE, role=ROLE, **secrets)

    def _is_configured(self) -> bool:
        try:
            return self._configuration.read_text(encoding="ascii") == self._render_configuration()
        except OSError:
            return False

    def _ensure_metadata(self) -> bool:
        def set_up(variables: Mapping[str, str]) -> Completed:
            self._progress("setting up TestGen's metadata database")
            return self.run(["setup-system-db", "--yes"], deadline=Deadline(_SETUP_TIMEOUT), environment=variables)

        wanted = metadata.Wanted(self.version, self.environment.schema_revision, self.paths)
        return metadata.ensure_metadata(CurrentServer(self, self._progress), wanted, set_up, self._template())

    def _template(self) -> Template | None:
        """Where a fresh database is kept for stacks like this one; None where each is set up by TestGen."""
        return None

    def _environment(self, home: Path, on_top: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return inherited | {
            "HOME": str(home),
            "PATH": f"{self.environment.path / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "TG_TESTGEN_HOME": str(self._configuration.parent),
            **ENVIRONMENT,
            **on_top,
        }

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        """A home that cannot be made, or a log that cannot be written, is a fault of the machine."""
        try:
            yield
        except OSError as error:
            raise EnvironmentFault(
                f"{error.filename or self.paths.root}: {error.strerror or error}",
                f"free space at {self.paths.root} or see who owns it, then run the same command again",
            ) from error


def _read_files(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
