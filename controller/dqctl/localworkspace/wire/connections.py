"""Connections of clients, bounded: one that asks for nothing, or ever so slowly, is let go of.

uvicorn 0.54 has a deadline for the time between two requests only, and none for the head of one.
"""

import asyncio
import logging
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

logger = logging.getLogger(__name__)

_OPEN_FILES = 4096  # a connection through the proxy takes three


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP, with a deadline for the head of a request and a bound to the number of connections.

    When there are too many, the one that has been idle longest goes; clients of this workspace open another when
    they need it. When all are busy, the new one goes.
    """

    most_connections = 512
    head_seconds = 20.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle_since: float = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            others = [each for each in self.connections if each is not self and not getattr(each, "is_busy", True)]
            least: Any = min(others, key=lambda each: getattr(each, "idle_since", 0.0), default=self)
            logger.warning("more than %s connections: one is let go of", self.most_connections)
            least.transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """A request is over."""
        super().on_response_complete()
        self.idle_since = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Have a deadline as long as a head is awaited: the first one, or one of which a part has come."""
        cycle: RequestResponseCycle | None = self.cycle
        awaited = not self.is_busy and (cycle is None or bool(self.conn.trailing_data[0]))
        if not awaited:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._too_late)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        logger.info("a client did not say in %s s what it wants", self.head_seconds)
        self.transport.abort()


def allow_open_files() -> None:
    """Have the process open as many files as its connections take, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
