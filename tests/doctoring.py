"""What tests of ``doctor`` need: who failed, and workspaces that misbehave."""

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

from dqctl.localworkspace.certificates import Certificates
from dqctl.localworkspace.endpoint import FILE_NAME, Endpoint
from dqctl.services.doctor import Diagnosis, Finding, Verdict, examine
from dqctl.settings import Settings

HOST = "fake.dqctl.invalid"


def failures(diagnosis: Diagnosis) -> dict[str, Finding]:
    """What failed, by id."""
    return {each.id: each for each in diagnosis.findings if each.verdict is Verdict.FAILED}


def the_failure(settings: Settings, check: str) -> Finding:
    """Exactly ``check`` fails."""
    found = failures(examine(settings))
    assert list(found) == [check], found
    return found[check]


def verdicts(settings: Settings) -> dict[str, Finding]:
    """All findings by id."""
    return {each.id: each for each in examine(settings).findings}


def mend(fix: str) -> None:
    """Type what the fix says."""
    program = [sys.executable, "-m", "dqctl"] if fix.startswith("dqctl ") else ["sh", "-c", fix]
    if fix.startswith("dqctl "):
        program += fix.split()[1:]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (fix, done)


class FakeWorkspace(http.server.BaseHTTPRequestHandler):
    """Answers what it is told to, and lives ``skew`` seconds ahead."""

    answers: dict[str, tuple[int, Any]] = {}  # noqa: RUF012 - each fixture makes a class of its own
    skew = 0.0
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(self.path)
        status, document = self.answers.get(path, (501, {"error_code": "NOT_IMPLEMENTED"}))
        body = json.dumps(document).encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((time.time() if timestamp is None else timestamp) + self.skew, usegmt=True)

    def log_message(self, *_: object) -> None:
        """Quiet."""


ME = {"userName": "me@example.com", "displayName": "Me", "groups": [{"display": "engineers"}]}
GOOD = {
    "/api/2.0/preview/scim/v2/Me": (200, ME),
    "/api/2.0/sql/warehouses/local": (200, {"name": "w", "state": "STOPPED", "auto_stop_mins": 10}),
}


@contextlib.contextmanager
def fake_workspace(directory: Path, answers: dict[str, tuple[int, Any]], skew: float = 0.0) -> Iterator[Path]:
    """The data directory of what looks like a local workspace, with certificates of its own."""
    handler = type("Handler", (FakeWorkspace,), {"answers": answers, "skew": skew, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    certificates = Certificates(directory / "tls", HOST)
    (directory / "tls").mkdir(parents=True)
    certificates.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_file, certificates.server_key_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        write_endpoint(directory, server.server_address[1], certificates.ca_file)
        yield directory
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def write_endpoint(directory: Path, port: int, ca_file: Path) -> None:
    """Say that a local workspace is at ``port``."""
    token = directory / "token"
    token.write_text("dapi-of-a-test-0123456789abcdef\n")
    endpoint = Endpoint(
        HOST,
        "127.0.0.1",
        port,
        "http://127.0.0.1:1",
        "/sql/1.0/warehouses/local",
        ca_file,
        token,
        directory,
        1,
        "-",
    )
    (directory / FILE_NAME).write_text(endpoint.as_json())


def elsewhere(endpoint: Endpoint, directory: Path, **changes: Any) -> Path:
    """The data directory of a workspace like ``endpoint``, but for ``changes``."""
    directory.mkdir()
    shutil.copy(endpoint.token_file, directory / "token")
    changed = replace(endpoint, data_dir=directory, token_file=directory / "token", **changes)
    (directory / FILE_NAME).write_text(changed.as_json())
    return directory


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def mute() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]
