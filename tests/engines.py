"""A Docker engine of the tests' own, which they may stop and kill: the machine's engine belongs to everybody.

It lives in a network namespace of its own, so that it makes its bridge and its rules there; whoever talks to its
containers has to be there, too. Its images are kept between test runs: bringing them over takes half a minute.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from filelock import FileLock

import docker

# ruff: noqa: S607 - whichever programs this machine has

_PROGRAMS = ("dockerd", "unshare", "nsenter", "setpriv")


class OwnEngine:
    """A ``dockerd`` with its data in ``data`` and everything else in ``place``, which has to be a short path."""

    def __init__(self, data: Path, place: Path) -> None:
        self._place, self._data = place, data
        self.address = f"unix://{place}/sock"
        self._log = place / "log"
        (place / "daemon.json").write_text("{}")  # none of the machine's own settings
        # Ends with the process of the tests, however that ends; dockerd does, too.
        self._namespace = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        )
        self._wait_for_namespace()
        self._argv = [
            *("setpriv", "--pdeathsig", "TERM", *self.inside()),
            *("dockerd", "--config-file", str(place / "daemon.json"), "--data-root", str(data)),
            *("--exec-root", str(place / "exec"), "--pidfile", str(place / "pid"), "--host", self.address),
        ]
        self._daemon: subprocess.Popen[bytes] | None = None
        self._client: docker.DockerClient | None = None

    def _wait_for_namespace(self) -> None:
        """A daemon that came too early would be in the machine's own, beside the machine's engine."""
        own = Path("/proc/self/ns/net").stat().st_ino
        end = time.monotonic() + 30
        while Path(f"/proc/{self._namespace.pid}/ns/net").stat().st_ino == own:
            assert self._namespace.poll() is None, "there is no network namespace to be had"
            assert time.monotonic() < end, "the network namespace did not come"
            time.sleep(0.01)

    def inside(self) -> tuple[str, ...]:
        """What to put in front of a command that has to reach the containers."""
        return ("nsenter", f"--net=/proc/{self._namespace.pid}/ns/net")

    def start(self) -> None:
        """Start the daemon; it answers afterwards, and the containers that ran are being started."""
        for left in (self._place / "pid", self._place / "exec" / "containerd" / "containerd.pid"):
            left.unlink(missing_ok=True)  # of one that was killed; the numbers may be somebody else's by now
        with self._log.open("ab") as log:
            self._daemon = subprocess.Popen(self._argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        ask = ["docker", "--host", self.address, "version"]
        while subprocess.run(ask, capture_output=True, timeout=60).returncode:
            assert self._daemon.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < end, self._log.read_text()[-2000:]
            time.sleep(0.1)
        if self._client is None:
            self._client = docker.DockerClient(base_url=self.address, version="auto", timeout=60)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon, by SIGTERM in good order; its containers end with it, or when it is started again."""
        if self._daemon is None:
            return
        self._daemon.send_signal(number)
        self._daemon.wait(60)
        self._daemon = None

    @property
    def client(self) -> docker.DockerClient:
        assert self._client, "it was never started"
        return self._client

    def bring(self, *images: str) -> None:
        """Have the images of the machine's engine here, too."""
        missing = []
        for image in images:
            with contextlib.closing(docker.from_env(version="auto")) as shared:
                wanted = shared.images.get(image).id
            try:
                here = self.client.images.get(image).id
            except ImageNotFound:
                here = None
            if here != wanted:
                missing.append(image)
        if missing:
            with subprocess.Popen(["docker", "save", *missing], stdout=subprocess.PIPE) as saving:
                load = ["docker", "--host", self.address, "load", "--quiet"]
                subprocess.run(load, stdin=saving.stdout, check=True, capture_output=True, timeout=240)
            self.client.images.prune(filters={"dangling": True})

    def clear(self) -> None:
        """Remove everything but the images."""
        for container in self.client.containers.list(all=True):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list():
            volume.remove(force=True)
        self.client.networks.prune()

    def containers(self) -> dict[str, Container]:
        """All containers, by Compose's service."""
        return {each.labels["com.docker.compose.service"]: each for each in self.client.containers.list(all=True)}

    def end(self) -> None:
        if self._client:
            with contextlib.suppress(DockerException, requests.RequestException):
                self.clear()
            self._client.close()
        self.stop()
        self._namespace.kill()
        self._namespace.wait()
        # dockerd mounts its data onto itself, and leaves that.
        subprocess.run(["umount", "--lazy", str(self._data)], capture_output=True)


@contextlib.contextmanager
def own_engine(cache: Path, *images: str) -> Iterator[OwnEngine]:
    """An engine that runs and has ``images``; one at a time on this machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can start an engine")
    if missing := [each for each in _PROGRAMS if shutil.which(each) is None]:
        pytest.skip(f"an engine of its own needs {', '.join(missing)}")
    cache.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="dq-"))
    with FileLock(cache / "lock", timeout=1200):  # another file may have it, for minutes on a loaded machine
        engine = OwnEngine(cache / "data", place)
        try:
            engine.start()
            engine.clear()  # what tests left that were killed
            engine.bring(*images)
            yield engine
        finally:
            engine.end()
            shutil.rmtree(place, ignore_errors=True)
