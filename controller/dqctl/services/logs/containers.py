"""Logs of containers, by the engine."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime

import docker.errors
import requests.exceptions

from dqctl.errors import EnvironmentFault
from dqctl.runtime import compose
from dqctl.runtime.engine import containers, explained
from dqctl.services.logs.sources import Hear, LogLine
from dqctl.services.logs.stamps import stamp
from dqctl.stack.paths import StackPaths

_AGAIN = 1.0  # seconds until a container that is gone is looked for again
# The container, or the engine itself, is away for now.
_GONE = (EnvironmentFault, docker.errors.DockerException, requests.exceptions.RequestException, OSError)


class ContainerSource:
    """The log of the container of one service; when it is replaced, that of the new one."""

    def __init__(self, name: str, paths: StackPaths) -> None:
        self.name = name
        self._project = compose.project(paths)
        self._last = ""  # the engine's own stamp of the last line: all of one length, so that they compare as text

    def lines(self, since: datetime | None) -> Iterator[LogLine]:
        """See ``Source``; ``EnvironmentFault`` when the engine does not answer."""
        container = containers(self._project).get(self.name)
        if container is None:
            return
        with explained():
            raw = container.logs(timestamps=True, since=since.timestamp() if since else None)
        for line in raw.splitlines():
            yield self._line(line)

    def follow(self, hear: Hear, over: threading.Event) -> None:
        """See ``Source``."""
        while not over.is_set():
            with contextlib.suppress(*_GONE):
                self._stream(hear, over)
            over.wait(_AGAIN)

    def _stream(self, hear: Hear, over: threading.Event) -> None:
        container = containers(self._project).get(self.name)
        if container is None:
            return
        since = stamp(self._last)
        pieces = container.logs(
            timestamps=True, stream=True, follow=True, since=since.timestamp() if since else None
        )
        begun = b""
        for piece in pieces:
            *whole, begun = (begun + piece).split(b"\n")
            for raw in whole:
                if raw.partition(b" ")[0].decode("ascii", "replace") > self._last:
                    hear(self._line(raw))
            if over.is_set():
                return

    def _line(self, raw: bytes) -> LogLine:
        at, _, text = raw.decode("utf-8", "replace").partition(" ")
        self._last = at
        return LogLine(self.name, stamp(at), text.rstrip("\r"))
