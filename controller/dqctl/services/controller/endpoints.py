"""What monitoring asks the sidecar, by HTTP: ``/metrics``, ``/healthz``, ``/readyz``.

One that waits for another to end is ready: it would lead within seconds, and whoever exchanges sidecars one by one
waits for the new one to be ready before the old one goes. Its metrics are its own alone, or each number of the
stack would be there twice.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST

import dqctl
from dqctl.clock import Clock
from dqctl.errors import DqctlError, EnvironmentFault, UsageError
from dqctl.report import controller as own
from dqctl.report.metrics import Measures, exposition
from dqctl.services.controller.standing import Standing

log = logging.getLogger(__name__)

# Several that ask at once are told the same.
_FRESH_SECONDS = 5.0
_CLIENT_SECONDS = 10.0


class Endpoints:
    """Listens from the beginning; answers in threads of its own, which end with the process.

    ``measure`` has the stack's numbers; what it raises leaves them out. Raises ``EnvironmentFault`` where the
    address is taken, ``UsageError`` for one that is none.
    """

    def __init__(self, listen: str, standing: Standing, measure: Callable[[], Measures], clock: Clock) -> None:
        self._standing = standing
        self._measure = measure
        self._clock = clock
        self._measuring = threading.Lock()
        self._measured: tuple[float, str] | None = None
        host, port = address(listen)
        try:
            self._server = _Server((host, port), _handler(self))
        except (OSError, OverflowError) as error:
            raise EnvironmentFault(
                f"{listen} cannot be listened at: {getattr(error, 'strerror', None) or error}",
                "name another address: --listen HOST:PORT, or DQCTL_CONTROLLER_LISTEN; one process a port",
            ) from error
        threading.Thread(target=self._server.serve_forever, args=(3600.0,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens; the system's choice for port 0."""
        return int(self._server.server_address[1])

    def answer(self, path: str) -> tuple[HTTPStatus, str, str]:
        """Status, type and text of an answer."""
        match path.partition("?")[0]:
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, self._metrics()
            case "/healthz":
                return self._told(self._standing.is_healthy, {})
            case "/readyz":
                return self._told(
                    self._standing.is_healthy and not self._standing.troubles, self._standing.troubles
                )
            case _:
                return HTTPStatus.NOT_FOUND, "text/plain", "there are /metrics, /healthz and /readyz\n"

    def _told(self, good: bool, troubles: Any) -> tuple[HTTPStatus, str, str]:
        found = {
            "ok": good,
            "stack": self._standing.stack,
            "role": "leader" if self._standing.is_leading else "standby",
            "leader": self._standing.leader,
            "turns": self._standing.is_healthy,
            "troubles": dict(troubles),
            "dqctl_version": dqctl.__version__,
        }
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json", json.dumps(found) + "\n"

    def _metrics(self) -> str:
        return (self._stack_metrics() if self._standing.is_leading else "") + own.exposition(
            self._standing.turning()
        )

    def _stack_metrics(self) -> str:
        with self._measuring:
            now = self._clock.monotonic()
            if self._measured is None or now - self._measured[0] >= _FRESH_SECONDS:
                try:
                    text = exposition(self._measure())
                except (DqctlError, psycopg.Error) as error:
                    log.info("the stack's numbers cannot be read: %s", error)
                    text = ""  # no series rather than old ones
                self._measured = (self._clock.monotonic(), text)
            return self._measured[1]


def address(listen: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; a host of IPv6 stands in brackets. ``UsageError`` for anything else."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{listen!r} is no address to listen at", "write HOST:PORT, such as 127.0.0.1:19187")
    return host.strip("[]"), int(port)


class _Server(ThreadingHTTPServer):
    def __init__(self, where: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in where[0]:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__(where, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's names
        """A client that went away is nobody's concern, a defect of ours is."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.error("a request could not be answered", exc_info=True)


def _handler(endpoints: Endpoints) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS
        server_version = "dqctl"
        sys_version = ""

        def do_GET(self) -> None:
            status, kind, text = endpoints.answer(self.path)
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - the library's word

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's word
            """Nobody reads who asked."""

    return Handler
