"""Real sockets on this machine; names that never resolve (RFC 6761)."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from dqctl.clock import Clock
from dqctl.databricks.probe import is_out_of_reach, what_is_wrong
from dqctl.databricks.target import PersonalToken, Target

NOBODY = Target("nobody.invalid", "/p", "c", "s", PersonalToken(SecretStr("t")))


@contextmanager
def proxy(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers each request that way and closes; the port, and what was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65_536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_name_that_does_not_resolve_and_a_closed_port_are_told_apart() -> None:
    assert what_is_wrong(NOBODY).startswith("nobody.invalid:443: [Errno -")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = Target("127.0.0.1", "/p", "c", "s", NOBODY.auth, port=unused.getsockname()[1])
        assert "Connection refused" in what_is_wrong(closed)


def test_a_proxy_that_does_not_get_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(b"HTTP/1.1 502 no such host\r\n\r\n") as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:pa%3Ass@127.0.0.1:{port}")
        assert "502 no such host" in what_is_wrong(NOBODY)
    (request,) = asked
    assert request.startswith(b"CONNECT nobody.invalid:443 ")
    assert b"Basic " + base64.b64encode(b"us@er:pa:ss") in request


def test_a_proxy_is_not_asked_for_hosts_that_it_is_not_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(b"HTTP/1.1 502 no\r\n\r\n") as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "nobody.invalid")
        assert "502" not in what_is_wrong(NOBODY)
        monkeypatch.delenv("NO_PROXY")
        assert "502" in what_is_wrong(NOBODY)
    assert len(asked) == 1


def test_a_kind_of_proxy_that_is_not_known_is_left_to_the_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    assert what_is_wrong(NOBODY) == ""


def test_a_host_that_never_answered_is_looked_at_twice() -> None:
    slept: list[float] = []
    assert "nobody.invalid" in is_out_of_reach(NOBODY, Clock(sleep=slept.append))
    assert slept == [1.0]
