"""TestGen in containers: a Compose project with an idle engine and a disposable PostgreSQL.

Between jobs nothing of TestGen runs; a job is an exec into the engine. No port is published: dqctl reaches
PostgreSQL by its container's address, which only this machine can.

Long because it is one Protocol's implementation, method by method; what takes thought lies beside it (``compose``,
``engine``, ``images``, ``recovery``, ``fence``).
"""

import contextlib
import hashlib
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from docker.models.containers import Container
from pydantic import SecretStr

from dqctl.clock import SYSTEM_CLOCK, Deadline
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import write_atomically
from dqctl.processes import Completed, Feed, Line
from dqctl.progress import Progress
from dqctl.runtime import compose, controller, database_programs, fence, metadata, monitoring
from dqctl.runtime.call_log import both, call_log
from dqctl.runtime.connection import connect, says_no_space
from dqctl.runtime.engine import client, containers, explained, glance, remove_volumes, run_inside
from dqctl.runtime.launch import ENVIRONMENT, Program, command, digest
from dqctl.runtime.metadata_template import Template
from dqctl.runtime.ports import MetadataServer
from dqctl.runtime.recovery import CurrentServer, recover
from dqctl.stack import lock, rotation
from dqctl.stack.images import Images, read_images
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord
from dqctl.stack.secrets import read_secret
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.driver import stand_by

_SETUP_TIMEOUT = 900.0  # seconds; 15 on an idle machine, 300 on one at a load of 20
_START_TIMEOUT = 1000.0  # to wait for another command that starts the stack, a set-up included
_READY = 90.0  # seconds for PostgreSQL to answer, its first set-up or crash recovery included
_STOP = 5  # seconds for a PostgreSQL that hangs to stop by itself, which takes less than one where it can
_CONTROLLER_STOP = 15  # it needs ten at most
_POLL = 0.1
_PORT = 5432
_SOCKETS = "/var/run/postgresql"  # in the container; compose/stack.yaml.j2 has a tmpfs there
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Health:
    """How the stack is. ``services`` has the state of each container: running, exited, paused, missing ...

    What only watches the stack is among them, and does not count for ``is_good``. ``schema_revision`` is None when
    the database does not answer.
    """

    services: Mapping[str, str]
    database_answers: bool
    schema_revision: int | None
    expected_revision: int

    @property
    def postgres_pid(self) -> int | None:
        """See ``dqctl.runtime.ports.Health``."""
        return None

    @property
    def postgres_running(self) -> bool:
        """Whether PostgreSQL's container runs, or Lakebase answers."""
        return self.database_answers

    @property
    def is_good(self) -> bool:
        """Whether TestGen can work."""
        # What looks on is nothing that TestGen needs.
        looking_on = ("controller", *monitoring.SERVICES)
        running = all(state == "running" for name, state in self.services.items() if name not in looking_on)
        return running and self.schema_revision == self.expected_revision


@dataclass(frozen=True)
class ContainerPostgres:
    """The PostgreSQL of the Compose project ``project``."""

    project: str
    password: SecretStr

    def connect(self, database: str, *, autocommit: bool = False) -> "psycopg.Connection[tuple[Any, ...]]":
        """See ``dqctl.runtime.ports.MetadataServer``."""
        return connect(
            self.address(),
            _PORT,
            self.password,
            database,
            autocommit=autocommit,
            log=f"docker logs {_container_name(self.project, 'postgres')}",
        )

    def address(self) -> str:
        """The container's address, which leads to it from this machine; ``EnvironmentFault`` when it is down."""
        if controller.is_here():
            if known := controller.address_of(_container_name(self.project, "postgres")):
                return known
        else:
            seen = glance(self.project).get("postgres")
            if seen and seen.address:
                return seen.address
        raise EnvironmentFault(
            "the metadata database does not answer: its container does not run",
            "dqctl starts it with the next command; dqctl doctor looks for the reason",
        )

    def ran_out_of_space(self, said: str) -> bool:
        """See ``dqctl.runtime.ports.MetadataServer``."""
        if says_no_space(said) or not controller.has_engine():
            return says_no_space(said)
        container = containers(self.project).get("postgres")
        with explained():
            last = container.logs(tail=50).decode(errors="replace") if container else ""
        return says_no_space(last)


@dataclass(frozen=True)
class Trial:
    """A container beside the stack's own, for programs of another version."""

    images: Images
    container: Container


class DockerRuntime:
    """One installed stack; implements ``dqctl.runtime.ports.Runtime``."""

    def __init__(
        self,
        paths: StackPaths,
        record: StackRecord,
        progress: Progress,
        *,
        upgrading: bool = False,
        trial: "Trial | None" = None,
    ) -> None:
        self.paths = paths
        self.record = record
        self._progress = progress
        self._upgrading = upgrading
        self._trial = trial

    @property
    def has_database_server(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self.paths.compose.exists()

    @property
    def version(self) -> str:
        """Version of TestGen."""
        return self.record.testgen_version

    @property
    def images(self) -> Images:
        """The pinned images; ``UsageError`` when there are none, because an install was interrupted."""
        found = self._trial.images if self._trial else read_images(self.paths)
        if found is None:
            raise UsageError(f"stack {self.paths.name!r} has no images yet", "run: dqctl install --runtime docker")
        return found

    @property
    def postgres(self) -> MetadataServer:
        """The stack's PostgreSQL."""
        return self.server(read_secret(self.paths, "postgres_password"))

    def server(self, password: SecretStr) -> MetadataServer:
        """See ``dqctl.runtime.ports.Runtime``."""
        return self._container(password)

    def apply_secrets(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``. Containers see it at once: directories are mounted, not files."""
        compose.secret_files(self.paths).write()

    def require_programs(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``. Whether the engine has the images is seen when they start."""
        if not self.paths.compose.exists():
            raise UsageError(f"stack {self.paths.name!r} has no Compose definition", "run: dqctl install")
        _ = self.images

    def up(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``."""
        if not rotation.is_pending(self.paths) and self._is_up():
            return False
        with self._starting(), self._fenced():  # whoever changes the version has stopped the scheduler
            started = self._start()
            return self._ensure_metadata() or started

    def start_postgres(self, *, scheduler: bool = True) -> bool:
        """Start the containers without setting the database up; whether anything was started."""
        with self._starting():
            return self._start([] if scheduler else [name for name in self._services if name != "scheduler"])

    def down(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``. Containers and network go, the volume with the data stays."""
        if not glance(compose.project(self.paths)):
            return False
        with self._starting():
            compose.down(self.paths)
        return True

    def remove(self) -> None:
        """Remove everything that the engine has of the stack, the data included."""
        if self.paths.compose.exists():
            compose.down(self.paths, volumes=True)
            # Compose knows those of its definition: what watched the stack at another time has left its own.
            remove_volumes(compose.project(self.paths), self.paths.root)

    def health(self, *, ask_database: bool = True) -> Health:
        """See ``dqctl.runtime.ports.Runtime``."""
        services = self._states()
        answers = self._answers(services)
        revision = None
        with contextlib.suppress(EnvironmentFault):
            if ask_database and answers and metadata.database_exists(self.postgres):
                revision = metadata.schema_revision(self.postgres)
        return Health(services, answers, revision, self.images.engine.schema_revision)

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
        if self._trial:
            container: Container | None = self._trial.container
        else:
            container = containers(compose.project(self.paths)).get("engine")
        if container is None:
            raise EnvironmentFault("TestGen's container is gone", "run the same command again: dqctl starts it")
        with self._fenced(), call_log(self.paths, program, argv) as keep:
            return run_inside(
                container,
                command(self.images.engine.python, program, argv),
                deadline=deadline,
                stdin=stdin,
                environment=self.variables(environment or {}),
                on_line=both(keep, on_line) if program == "testgen" else on_line,
                on_error_line=both(keep, on_error_line),
                fetch=fetch,
            )

    def database_program(
        self, argv: Sequence[str], *, stdin: str | Path = "", stdout: Path | None = None, deadline: Deadline
    ) -> Completed:
        """See ``dqctl.runtime.ports.Runtime``: an exec beside the server, whose socket asks for no password."""
        container = containers(compose.project(self.paths)).get("postgres")
        if container is None:
            raise EnvironmentFault("PostgreSQL's container is gone", "run the same command again: dqctl starts it")
        return run_inside(
            container,
            database_programs.command(argv),
            deadline=deadline,
            stdin=stdin,
            stdout=stdout,
            environment={**database_programs.ENVIRONMENT, "PGHOST": _SOCKETS},
        )

    @property
    def configuration(self) -> str:
        """See ``dqctl.testgen.ports.Runtime``."""
        container = self._trial.container.id if self._trial else compose.project(self.paths)
        return digest(f"{self.images.engine.id} {container}", self.paths.mounted / "engine" / "config.env")

    def metadata(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """See ``dqctl.testgen.ports.Runtime``."""
        if not self._upgrading:
            fence.require_current(self.paths, self.record)
        return CurrentServer(self, self._progress).connect(metadata.DATABASE)

    def hold_still(self) -> bool:
        """See ``dqctl.runtime.ports.Runtime``: the scheduler's container stops until all are started again."""
        scheduler = containers(compose.project(self.paths)).get("scheduler")
        if scheduler is None:
            return False
        with explained():
            scheduler.stop(timeout=_STOP)
        return True

    def start_server(self) -> None:
        """See ``dqctl.runtime.ports.Runtime``."""
        with self._starting():
            compose.up(self.paths, "postgres")
            self._wait()

    def _fenced(self) -> "contextlib.AbstractContextManager[None]":
        return contextlib.nullcontext() if self._upgrading else fence.shared(self.paths, self.record)

    @property
    def _services(self) -> dict[str, str]:
        """What runs between commands and is needed by them, and the image of each."""
        pinned = self.images
        found = {"postgres": pinned.postgres.id} if pinned.postgres else {}
        found["engine"] = pinned.engine.id
        found |= {"scheduler": pinned.engine.id} if self.record.scheduler else {}
        return found | (
            {"controller": pinned.controller.id} if self.record.controller and pinned.controller else {}
        )

    def _container(self, password: SecretStr) -> ContainerPostgres:
        return ContainerPostgres(compose.project(self.paths), password)

    def _answers(self, services: Mapping[str, str]) -> bool:
        return services["postgres"] == "running"

    def _states(self) -> dict[str, str]:
        """How the containers are, as far as it is told here: without the engine, whether they run."""
        name = compose.project(self.paths)
        services = (*self._services, *self.images.monitoring)
        if not controller.has_engine():
            known = {each: controller.address_of(_container_name(name, each)) for each in services}
            return {each: "running" if address else "missing" for each, address in known.items()}
        found = glance(name)
        return {each: found[each].status if each in found else "missing" for each in services}

    def _is_up(self) -> bool:
        if controller.has_engine():
            found = glance(compose.project(self.paths))
            for service, image in self._services.items():
                seen = found.get(service)
                if seen is None or (seen.status, seen.image) != ("running", image):
                    return False
        try:
            return metadata.is_current(self.postgres, self.images.engine.schema_revision)
        except EnvironmentFault:  # it was killed a moment ago, or has just been started
            return False

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with lock.hold(self.paths.root / "postgres.lock", "start or stop of containers", timeout=_START_TIMEOUT):
            yield

    def _start(self, services: Sequence[str] = ()) -> bool:
        if not self.paths.compose.exists():
            raise UsageError(f"stack {self.paths.name!r} is not complete", "run: dqctl install")
        name = compose.project(self.paths)
        before = glance(name)
        for service, each in containers(name).items():
            if each.status == "paused":
                self._progress(f"the container of {service} was paused: it goes on")
                with explained():
                    each.unpause()
        watching = self.images.monitoring and not services
        compose.up(self.paths, *(self._services if watching else services))
        stand_by(self)  # its imports while PostgreSQL starts
        self._end_controller()
        self._wait()
        if watching:
            self._start_monitoring()
        changed = before != glance(name)
        if changed:
            self._progress("the containers are up")
        return changed

    def _end_controller(self) -> None:
        """Take away a controller that is not to run any more: Compose leaves alone what is in a profile now."""
        found = None if self.record.controller else containers(compose.project(self.paths)).get("controller")
        if found is not None:
            with explained():
                found.stop(timeout=_CONTROLLER_STOP)
                found.remove(v=True)

    def _start_monitoring(self) -> None:
        """Start what watches the stack, if it can be: a port that somebody took must not keep work from it."""
        try:
            compose.up(self.paths, *self.images.monitoring)
        except EnvironmentFault as fault:
            self._progress(f"monitoring does not start: {fault.message}")

    def _wait(self) -> None:
        """Wait until PostgreSQL answers; one that hangs is restarted, once."""
        self._wait_for_port()
        try:
            self._greet()
        except EnvironmentFault:
            # Two witnesses: it does not answer us, and its own health check has failed three times in a row.
            container = containers(compose.project(self.paths)).get("postgres")
            if container is None or container.attrs["State"].get("Health", {}).get("Status") != "unhealthy":
                raise
            if self.record.throw_away:  # what is in memory would not survive it
                raise
            self._progress("PostgreSQL runs and does not answer: it is restarted, what was stored is safe")
            with explained():
                container.restart(timeout=_STOP)
            self._wait_for_port()
            self._greet()

    def _greet(self) -> None:
        recover(self, self._progress)
        CurrentServer(self, self._progress).connect("postgres").close()

    def _wait_for_port(self) -> None:
        deadline = Deadline(_READY)
        name = compose.project(self.paths)
        own = self._container(read_secret(self.paths, "postgres_password"))
        while True:
            try:
                with socket.create_connection((own.address(), _PORT), timeout=1.0):
                    break
            except (OSError, EnvironmentFault):
                container = containers(name).get("postgres")
                restarted = container.attrs["RestartCount"] if container else 0
                if deadline.passed or restarted > 2:
                    raise self._failed_to_start(container) from None
            SYSTEM_CLOCK.sleep(_POLL)

    def _failed_to_start(self, container: Container | None) -> EnvironmentFault:
        with explained():
            said = container.logs(tail=3).decode(errors="replace").strip() if container else "it is gone"
        if says_no_space(said):
            return EnvironmentFault(
                f"PostgreSQL does not start, the disk is full: {said}",
                "free some space where the engine keeps its volumes, then run the same command again",
            )
        return EnvironmentFault(
            f"PostgreSQL does not start: {' | '.join(said.splitlines())}",
            "dqctl logs postgres shows more; data is not touched",
        )

    def _ensure_metadata(self) -> bool:
        thrown_away = self.record.throw_away and self.record.installed
        if thrown_away and not metadata.database_exists(self.postgres):
            # A new one would say that there are no systems, and not that they were lost.
            raise EnvironmentFault(
                f"the database of {self.paths.name} is gone: it was in memory, and its container has ended",
                "take the stack down, and make another; 1.5 GB are all that its PostgreSQL may have",
            )

        def set_up(variables: Mapping[str, str]) -> Completed:
            self._progress("setting up TestGen's metadata database")
            return self.run(["setup-system-db", "--yes"], deadline=Deadline(_SETUP_TIMEOUT), environment=variables)

        wanted = metadata.Wanted(self.version, self.images.engine.schema_revision, self.paths)
        return metadata.ensure_metadata(CurrentServer(self, self._progress), wanted, set_up, self._template())

    def _template(self) -> Template | None:
        images = self.images
        if images.postgres is None or not capabilities(self.version).known:
            return None
        return Template(self, f"{images.engine.id}\nPostgreSQL {images.postgres.version}", self._progress)

    def variables(self, on_top: Mapping[str, str]) -> dict[str, str]:
        """The environment of a call inside; ``on_top`` is for this machine and is translated."""
        own = dict(ENVIRONMENT)
        if (self.paths.mounted / "engine" / compose.CA_BUNDLE).exists():
            own |= dict.fromkeys(_CA_VARIABLES, f"{compose.INSIDE}/{compose.CA_BUNDLE}")
        return own | {name: self._inside(name, value) for name, value in on_top.items()}

    def _inside(self, name: str, value: str) -> str:
        """What a variable of this machine has to be in the container: its files, its own loopback."""
        if name in _CA_VARIABLES and value:
            text = Path(value).read_text(encoding="utf-8")
            copy = f"ca-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"
            if not (self.paths.mounted / "engine" / copy).exists():
                write_atomically(self.paths.mounted / "engine" / copy, text, 0o444)
            return f"{compose.INSIDE}/{copy}"
        parts = urlsplit(value) if name.lower().endswith("_proxy") else None
        if parts and parts.hostname in compose.LOOPBACK:
            self.require_reachable(parts.port or 80)
            return value.replace(parts.hostname, compose.HOST, 1)
        return value

    def require_reachable(self, port: int) -> None:
        """``EnvironmentFault`` when a server of this machine does not listen where containers can reach it."""
        address = host_address()
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5.0):
            return
        raise EnvironmentFault(
            f"the local workspace cannot be reached from a container: it does not listen on {address}",
            "dqctl workspace stop, then dqctl workspace start "
            f"--proxy-address {address}; both with its --data-dir, and its data stays",
        )


def _container_name(project: str, service: str) -> str:
    return f"{project}-{service}-1"


def host_address() -> str:
    """This machine's address as the containers know it: what ``host-gateway`` stands for."""
    with explained():
        networks = client().networks.list(names=["bridge"])
    for network in networks:
        for each in network.attrs["IPAM"]["Config"] or []:
            if "Gateway" in each:
                return str(each["Gateway"])
    return "127.0.0.1" if sys.platform != "linux" else "172.17.0.1"
