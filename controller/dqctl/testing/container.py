"""A workspace as a container, by testcontainers."""

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Deadline
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.localworkspace import client
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.layout import HOST
from dqctl.services.ci.owner import Owner
from dqctl.stack.labels import EXPIRES, OWNER, STACK
from dqctl.testing.databricks import Databricks

IMAGE = f"dqctl/workspace:{dqctl.__version__}"

_DATA_DIR = "/var/lib/dqctl/workspaces/default"
_HTTP_PATH = "/sql/1.0/warehouses/local"
_PORT, _PROXY_PORT = 443, 3128
# The proxy listens where a port of this machine is led to: at the container's own address.
_SERVE = (
    "set -- $(hostname -i); exec /opt/dqctl/bin/python -P -m dqctl.localworkspace "
    f"--data-dir={_DATA_DIR} --everywhere --port={_PORT} --proxy-address=$1 --proxy-port={_PROXY_PORT}"
)
_LOOPBACK = "127.0.0.1"
_POLL = 0.05
_LOG_LINES = 15

_reaper = threading.Lock()


class DatabricksContainer(Databricks):
    """A local workspace in a container: nothing of it is installed or left on this machine.

    Ports are any that are free on 127.0.0.1, so several may run at once. In its own ``network`` (testcontainers')
    it is ``local.dqctl.invalid:443`` to other containers. No reaper container runs beside it: it goes with the
    ``with`` block, and what a killed test run leaves is labelled with its owner and with ``ttl``, its longest
    life, for ``dqctl ci gc``; one that is not ``is_owned`` has its ``ttl`` alone. ``timeout`` is seconds until it
    has to have answered a statement.

    Everything else that testcontainers can do with a container is at ``container``, until it is started.
    """

    def __init__(
        self,
        image: str | None = None,
        *,
        network: Network | None = None,
        memory: str = "2g",
        ttl: timedelta = timedelta(hours=2),
        timeout: float = 120,
        is_owned: bool = True,
    ) -> None:
        # How what is left of it is found.
        self.label = f"testing-{secrets.token_hex(4)}"
        self._image = image or os.environ.get("DQCTL_WORKSPACE_IMAGE") or IMAGE
        self._timeout = timeout
        self._directory: Path | None = None
        try:
            self.container = DockerContainer(self._image)
        except DockerException as error:
            raise EnvironmentFault(
                f"no Docker engine answers: {error}", "start it; or LocalDatabricks, which needs none"
            ) from error
        self.container.with_command(["-c", _SERVE]).with_tmpfs_mount("/tmp", "mode=1777")  # noqa: S108 - its own
        if network is not None:
            self.container.with_network(network).with_network_aliases(HOST)
        for port in (_PORT, _PROXY_PORT):
            # As the engine's SDK takes it; testcontainers has a word for ports in every network only.
            self.container.ports[f"{port}/tcp"] = (_LOOPBACK, None)  # type: ignore[assignment]
        self.container.with_kwargs(
            entrypoint=["/bin/sh"],
            labels={
                STACK: self.label,
                EXPIRES: (SYSTEM_CLOCK.now() + ttl).isoformat(),
                **({OWNER: Owner.here().label} if is_owned else {}),
            },
            sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},  # its user is none that may have low ports
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            pids_limit=512,
            mem_limit=memory,
        )

    def start(self) -> Self:
        """Start it, unless it runs; see ``Databricks.start``."""
        if self._endpoint is None:
            self._directory = Path(tempfile.mkdtemp(prefix="dqctl-testing-"))
            self._endpoint = self.start_in(self._directory)
        return self

    def start_in(self, directory: Path) -> Endpoint:
        """Start it; ``directory`` gets the files that clients need."""
        deadline = Deadline(self._timeout)
        try:
            # Whoever has that name in a registry could put anything into it: it is not pulled.
            self.container.get_docker_client().client.images.get(self._image)
            with _no_reaper():
                self.container.start()
            return self._reached(directory, deadline)
        except ImageNotFound as error:
            self.stop()
            raise EnvironmentFault(
                f"there is no image {self._image}",
                "scripts/images builds it; or name another that is here (docker pull)",
            ) from error
        except DockerException as error:
            self.stop()
            raise EnvironmentFault(
                f"the workspace's container does not start: {getattr(error, 'explanation', None) or error}",
                "see docker ps",
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the container with its data."""
        self._endpoint = None
        with contextlib.suppress(NotFound):  # somebody else was quicker
            self.container.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _reached(self, directory: Path, deadline: Deadline) -> Endpoint:
        """How it is reached, once it answers."""
        while not (credentials := self._credentials()):
            self._wait(deadline)
        for name, content in credentials.items():
            write_atomically(directory / name, content, PRIVATE_FILE)
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        bound: Any = wrapped.ports
        ports = {port: int(bound[f"{port}/tcp"][0]["HostPort"]) for port in (_PORT, _PROXY_PORT)}
        endpoint = Endpoint(
            host=HOST,
            address=_LOOPBACK,
            port=ports[_PORT],
            proxy_url=f"http://{_LOOPBACK}:{ports[_PROXY_PORT]}",
            http_path=_HTTP_PATH,
            ca_file=directory / "ca.pem",
            token_file=directory / "token",
            data_dir=directory,
            pid=0,
            engine="sail",
        )
        while not client.answers(endpoint, max(1.0, deadline.left)):
            self._wait(deadline)
        return endpoint

    def _wait(self, deadline: Deadline) -> None:
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status in ("exited", "dead") or deadline.passed:
            ended = "ended" if wrapped.status in ("exited", "dead") else f"did not answer in {self._timeout:g} s"
            said = wrapped.logs(tail=_LOG_LINES).decode(errors="replace")
            raise EnvironmentFault(
                f"the workspace's container {ended} while it started", f"the last lines of its log:\n{said}"
            )
        SYSTEM_CLOCK.sleep(_POLL)

    def _credentials(self) -> dict[str, str]:
        """Token and certificate authority; none as long as the server has not made both."""
        found = {}
        for name in ("token", "ca.pem"):
            said: Any
            try:
                code, said = self.container.get_wrapped_container().exec_run(["cat", f"{_DATA_DIR}/server/{name}"])
            except APIError:  # it has ended, or has not begun
                return {}
            if code:
                return {}
            found[name] = said.decode("ascii")
        return found


@contextlib.contextmanager
def _no_reaper() -> Iterator[None]:
    """testcontainers starts its reaper with the first container; one setting of the process says whether."""
    with _reaper:
        before = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = True
        try:
            yield
        finally:
            testcontainers_config.ryuk_disabled = before
