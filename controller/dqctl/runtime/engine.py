"""The Docker engine: what dqctl asks of it, and running a program inside a container.

The SDK talks to the daemon's socket; ``docker compose`` is a program of its own, started for what only it does.
"""

import contextlib
import io
import os
import queue
import socket
import struct
import tarfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import docker.errors
import requests
import requests.exceptions
from docker.models.containers import Container

import docker
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.processes import GRACE, Completed, Feed, Line, not_in_time, private_file
from dqctl.runtime import controller
from dqctl.runtime.feeding import feeding
from dqctl.stack import labels

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ROOT_LABEL = labels.ROOT  # on the volume, and on all of a throw-away stack (compose/stack.yaml.j2)

_API_SECONDS = 20
_UNIX = "unix://"
_HOMES = "/tmp/dqctl"  # noqa: S108 - inside a container of ours, where it is a tmpfs of its own
_POLL = 0.02
_FRAMES = 256  # of 32 KB at most
_LAST_WORDS = 2.0  # seconds for the stream to end after the leash has killed everything


@cache
def client() -> "docker.DockerClient":
    """The engine that DOCKER_HOST (or the default socket) leads to; ``EnvironmentFault`` when there is none."""
    if not controller.has_engine():
        raise EnvironmentFault(
            "this needs the Docker engine, whose socket the controller does not have",
            "run the command on the host; or give the controller the socket, which docs/operations.md warns of: "
            "dqctl install --controller --controller-socket",
        )
    with explained():
        _knock()
        return docker.from_env(version="auto", timeout=_API_SECONDS)


def _knock() -> None:
    """Raise ``OSError`` where nobody listens at the engine's socket: the SDK would leave one of its own open."""
    address = _address()
    if not address.startswith(_UNIX):
        return
    path = address.removeprefix(_UNIX)
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(_API_SECONDS)
        try:
            knocking.connect(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error


def _address() -> str:
    return os.environ.get("DOCKER_HOST") or f"{_UNIX}{controller.SOCKET}"


def is_there() -> bool:
    """Whether an engine answers."""
    try:
        with explained():
            return bool(client().ping())
    except EnvironmentFault:
        return False


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Errors of the engine inside the block become ``EnvironmentFault``."""
    try:
        yield
    except docker.errors.APIError as error:
        raise EnvironmentFault(
            f"the Docker engine refused: {error.explanation or error}", "dqctl doctor looks for the reason"
        ) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        hint = "start it (systemctl start docker), or point DOCKER_HOST at it; or use --runtime local"
        if "Permission denied" in str(error):
            hint = "let this account use it (group docker), or run dqctl as root"
        raise EnvironmentFault(f"the Docker engine does not answer: {error}", hint) from error


def socket_path() -> Path:
    """The engine's socket on this machine; ``EnvironmentFault`` when it is reached in another way."""
    address = _address()
    path = Path(address.removeprefix(_UNIX))
    if not (address.startswith(_UNIX) and path.is_socket()):
        raise EnvironmentFault(
            f"the Docker engine has no socket on this machine that could be mounted: {address}",
            "leave --controller-socket away, and run jobs from the host",
        )
    return path


@dataclass(frozen=True)
class Seen:
    """What one glance at all containers tells of one. ``address`` is None while it does not run."""

    id: str
    image: str
    status: str
    address: str | None


def glance(project: str) -> dict[str, Seen]:
    """The containers of a Compose project by service, running or not, by one question; no one-off ones."""
    with explained():
        found = client().api.containers(all=True, filters=_of_services(project))
    return {
        each["Labels"][SERVICE_LABEL]: Seen(
            each["Id"],
            each["ImageID"],
            each["State"],
            next((net["IPAddress"] for net in _networks(each) if net["IPAddress"]), None),
        )
        for each in found
    }


def containers(project: str) -> dict[str, Container]:
    """``glance`` with all that the engine knows: a question more for each container."""
    with explained():
        found = client().containers.list(all=True, filters=_of_services(project), ignore_removed=True)
    return {container.labels[SERVICE_LABEL]: container for container in found}


def _of_services(project: str) -> dict[str, Any]:
    return {"label": [f"{PROJECT_LABEL}={project}", "com.docker.compose.oneoff=False"]}


def _networks(container: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()


def published(project: str) -> dict[str, str]:
    """Where services of a Compose project are reached from this machine: an address and a port each."""
    with explained():
        found = client().api.containers(filters=_of_services(project))
    return {
        each["Labels"][SERVICE_LABEL]: f"{port['IP']}:{port['PublicPort']}"
        for each in found
        for port in each["Ports"]
        if "PublicPort" in port
    }


def owners(project: str) -> set[str]:
    """The directories of the stacks that have a volume called as one of ``project``: one, or none."""
    with explained():
        found = client().volumes.list(filters={"label": [f"{PROJECT_LABEL}={project}", ROOT_LABEL]})
    return {str(volume.attrs["Labels"][ROOT_LABEL]) for volume in found}


def remove_volumes(project: str, root: Path) -> None:
    """Remove the volumes of the stack in ``root``, whatever they hold."""
    labels = [f"{PROJECT_LABEL}={project}", f"{ROOT_LABEL}={root}"]
    with explained():
        for volume in client().volumes.list(filters={"label": labels}):
            volume.remove()


def run_inside(
    container: Container,
    argv: Sequence[str],
    *,
    deadline: Deadline,
    environment: Mapping[str, str],
    stdin: str | Path | Feed = "",
    stdout: Path | None = None,
    on_line: Line | None = None,
    on_error_line: Line | None = None,
    fetch: str | None = None,
) -> Completed:
    """``processes.run`` for a program in ``container``; the same promises, but for accounts and directories.

    It runs in a HOME of its own, removed afterwards; ``fetch`` is a directory below it whose files come back. When
    dqctl is killed the program gets SIGTERM at once and SIGKILL after ``processes.GRACE``.
    """
    home = f"{_HOMES}/{uuid.uuid4().hex}"
    payload = stdin.encode() if isinstance(stdin, str) else b""
    variables = {
        **environment,
        "HOME": home,
        "DQCTL_STDIN_BYTES": _how_much(stdin, payload),
        "DQCTL_GRACE": f"{GRACE:.0f}",
        "DQCTL_KEEP_HOME": "yes" if fetch else "",
    }
    started = time.monotonic()
    script = (files(__package__) / "inside.sh").read_text(encoding="utf-8")
    with contextlib.ExitStack() as opened:
        sink = opened.enter_context(private_file(stdout)) if stdout else None
        with explained():
            call = _Call(container, ["sh", "-c", script, "dqctl", *argv], variables, sink)
        try:
            if isinstance(stdin, Path):
                with explained():
                    feed = feeding(client().api, str(container.id), f"{home}/.stdin", stdin, deadline.left)
                    opened.enter_context(feed)
            elif isinstance(stdin, Feed):
                threading.Thread(target=call.pass_on, args=(stdin,), name="exec-feed", daemon=True).start()
            else:
                call.send(payload)
            ended = call.converse(deadline, on_line, on_error_line)
        except BaseException:
            call.stop()
            raise
    if not ended:
        call.stop()
        raise not_in_time(argv, deadline)
    found = _fetch(container, home, fetch) if fetch else {}
    code = call.exit_code()
    code = 128 - code if 128 < code <= 128 + 64 else code  # a shell's way to say a signal; ours is -N
    said = call.said()
    return Completed(code, *said, time.monotonic() - started, found)


def _how_much(stdin: str | Path | Feed, payload: bytes) -> str:
    """What ``inside.sh`` is told of the program's stdin."""
    if isinstance(stdin, Feed):
        return "all"
    return "" if isinstance(stdin, Path) else str(len(payload))


class _Call:
    """One exec: its stream, read by a thread of its own."""

    def __init__(
        self, container: Container, command: list[str], environment: Mapping[str, str], sink: IO[bytes] | None
    ) -> None:
        self._api = client().api
        self._id: str = self._api.exec_create(
            container.id, command, stdin=True, stdout=True, stderr=True, environment=dict(environment)
        )["Id"]
        stream: Any = self._api.exec_start(self._id, socket=True)
        # Over TCP the SDK hands out the socket itself, over a unix socket a file around it.
        self._socket: socket.socket = getattr(stream, "_sock", stream)
        # Blocking, with the kernel's own limit for sending: a timeout of Python's would hold for the reader too.
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _API_SECONDS, 0))
        # Read where the answer's head was read: the first frames may have come with it.
        self._answer: requests.Response = stream._response
        self._stream: IO[bytes] = self._answer.raw._fp.fp
        self._sink = sink
        # A disk that is slower than the program makes the program wait, not our memory grow.
        self._heard: queue.Queue[tuple[int, bytes] | None] = queue.Queue(_FRAMES)
        self._said: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self._reader = threading.Thread(target=self._read, name="exec-stream", daemon=True)
        self._reader.start()

    def send(self, payload: bytes) -> None:
        """Give the program its stdin; the stream stays open, it is the leash."""
        with explained():
            self._socket.sendall(payload)

    def pass_on(self, feed: Feed) -> None:
        """Give the program what it is fed. It is not told of the feed's end: the stream's end is the leash's."""
        with contextlib.suppress(EnvironmentFault):  # the stream is gone, which ends the program
            for piece in feed:
                self.send(piece.encode())

    def converse(self, deadline: Deadline, on_line: Line | None, on_error_line: Line | None) -> bool:
        """Pass on what is said until the program ends; False when the deadline passed first."""
        lines = {1: _Lines(on_line), 2: _Lines(on_error_line)}
        while not deadline.passed:
            try:
                frame = self._heard.get(timeout=_POLL)
            except queue.Empty:
                continue
            if frame is None:
                for each in lines.values():
                    each.end()
                return True
            number, data = frame
            if self._sink and number == 1:
                self._sink.write(data)
                continue
            self._said[number] += data
            lines[number].hear(data)
        return False

    def stop(self) -> None:
        """Let the leash go and wait until nothing of the program is left."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        patience = Deadline(GRACE + _LAST_WORDS)
        while not patience.passed:
            with contextlib.suppress(queue.Empty):
                if self._heard.get(timeout=_POLL) is None:
                    break
        self.close()

    def exit_code(self) -> int:
        """The exit code; the engine knows it a moment after the stream's end."""
        patience = Deadline(_API_SECONDS)
        while True:
            with explained():
                found = self._api.exec_inspect(self._id)
            if not found["Running"] and found["ExitCode"] is not None:
                self.close()
                return int(found["ExitCode"])
            if patience.passed:
                raise EnvironmentFault("the Docker engine does not say how a program ended", "try again")
            time.sleep(_POLL)

    def said(self) -> tuple[str, str]:
        """All of stdout and stderr."""
        out, err = (self._said[number].decode(errors="replace") for number in (1, 2))
        return out, err

    def close(self) -> None:
        """Give the connection back."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(_LAST_WORDS)
        for each in (self._stream, self._answer, self._socket):
            with contextlib.suppress(OSError, ValueError):  # they close each other
                each.close()

    def _read(self) -> None:
        """Frames of the stream: one byte says which one, four bytes at the end of eight how long."""
        try:
            while len(head := self._stream.read(8)) == 8:
                number, length = struct.unpack(">BxxxL", head)
                self._heard.put((2 if number == 2 else 1, self._stream.read(length)))
        except (OSError, ValueError):
            pass  # closed by us, or the engine went away: the exit code tells
        finally:
            self._heard.put(None)


class _Lines:
    """Cuts a stream into lines for a listener."""

    def __init__(self, listener: Line | None) -> None:
        self._listener = listener
        self._rest = b""

    def hear(self, data: bytes) -> None:
        """Take the next piece."""
        if self._listener is None:
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._listener(line.decode(errors="replace").rstrip("\r"))

    def end(self) -> None:
        """The last line may have no end."""
        if self._listener and self._rest:
            self._listener(self._rest.decode(errors="replace"))


def _fetch(container: Container, home: str, directory: str) -> dict[str, bytes]:
    """The files in ``directory`` below ``home``, then the home goes. The engine's archive API sees no tmpfs."""
    script = 'cd "$1/$2" 2>/dev/null && tar -cf - .; rm -rf "$1"'
    with explained():
        answer: Any = container.exec_run(["sh", "-c", script, "sh", home, directory], demux=True)
    packed = answer.output[0] or b""
    if not packed:
        return {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {
            entry.name.removeprefix("./"): content.read()
            for entry in archive
            if entry.isfile() and (content := archive.extractfile(entry)) is not None
        }
