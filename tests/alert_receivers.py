"""Real receivers of alerts: Debian's Alertmanager, an SMTP server and a web server, on ports of their own."""

import contextlib
import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tiers import unavailable

PATIENCE = 90.0
PATIENCE_OF_OTHERS = 4.0  # Apprise's: it has given up on what is answered later
_CONFIG = """\
route:
  receiver: hook
  group_by: [stack]
  group_wait: 2s
  group_interval: 200ms
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


def free_port() -> int:
    """A port that nobody listens at, and that no connection is given while its owner is away for a moment."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # below the kernel's own range
        with contextlib.suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What ``condition`` returns as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {PATIENCE:.0f} s")


@dataclass
class Alertmanager:
    """The real one; its data stay when it is stopped and started again."""

    directory: Path
    port: int
    notify: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("prometheus-alertmanager")
        if program is None:
            unavailable("local", "apt-get install prometheus-alertmanager")
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "alertmanager.yml"
        config.write_text(_CONFIG.format(url=self.notify))
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(program),
                    f"--config.file={config}",
                    f"--storage.path={self.directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(self._is_ready, f"Alertmanager ({(self.directory / 'log').read_text()})")

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            self._get("/-/ready")
            return True
        return False

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:  # noqa: S310 - http
            return bytes(answer.read())

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
            self.process = None

    def alerts(self) -> list[dict[str, Any]]:
        """Those that it knows and that have not ended."""
        found = json.loads(self._get("/api/v2/alerts"))
        assert isinstance(found, list)
        return found


@contextlib.contextmanager
def alertmanager(directory: Path, notify: str = "http://127.0.0.1:9/") -> Iterator[Alertmanager]:
    found = Alertmanager(directory, free_port(), notify)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@dataclass
class Web:
    """A web server that keeps what is posted; ``answer`` is its status, ``delay`` seconds before it."""

    port: int = 0
    answer: int = 200
    location: str = ""
    delay: float = 0.0
    posted: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def web(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    found = Web()
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            delay = found.delay
            released.wait(delay)
            if found.answer == 200 and delay < PATIENCE_OF_OTHERS:
                found.posted.append(json.loads(body))
                found.headers.append(dict(self.headers))
            with contextlib.suppress(OSError):  # who asked has given up
                self.send_response(found.answer)
                self.send_header("Content-Length", "0")
                if found.location:
                    self.send_header("Location", found.location)
                self.end_headers()

        do_GET = do_POST  # noqa: N815 - what a redirect would make of it

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


@dataclass
class Mailbox:
    """An SMTP server that keeps what it gets."""

    port: int
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        self.mails.append(message_from_bytes(envelope.content))
        return "250 kept"

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=dqctl@example.com&to=team@example.com&format=text"


@contextlib.contextmanager
def mailbox(port: int | None = None) -> Iterator[Mailbox]:
    found = Mailbox(port or free_port())
    controller = Controller(found, hostname="127.0.0.1", port=found.port)
    controller.start()
    try:
        yield found
    finally:
        controller.stop()


def text_of(mail: Message) -> str:
    """Its text, whatever it is wrapped in."""
    return "\n".join(
        bytes(part.get_payload(decode=True) or b"").decode()
        for part in mail.walk()
        if part.get_content_type() == "text/plain"
    )
