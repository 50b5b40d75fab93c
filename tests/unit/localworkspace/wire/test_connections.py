"""Connections are bounded in number, and in the time that they may take to say what they want."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from dqctl.localworkspace.wire.connections import BoundedProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


class Small(BoundedProtocol):
    most_connections = 3
    head_seconds = 1.0


class Gate:
    """Holds the requests for /slow until the test says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.held = 0

    def close(self) -> None:
        self.go_on.clear()

    def wait_for(self, held: int) -> None:
        deadline = time.monotonic() + 60
        while self.held != held:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def address(gate: Gate) -> Iterator[tuple[str, int]]:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        slow = scope["path"] == "/slow"
        gate.held += slow
        while slow and not gate.go_on.is_set():
            await asyncio.sleep(0.01)
        gate.held -= slow
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(application, http=Small, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(60)
    listener.close()


@contextlib.contextmanager
def client(address: tuple[str, int], sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(sent)
        yield connection


def is_let_go(connection: socket.socket) -> bool:
    """Whether the server ends it, within a minute."""
    try:
        return connection.recv(100_000) == b""
    except ConnectionError:
        return True


def answered(connection: socket.socket) -> bool:
    """Whether a whole answer comes; not when the connection ends before."""
    content = b""
    while not content.endswith(b"ok"):
        part = connection.recv(100_000)
        if not part:
            return False
        content += part
    return content.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_client_that_does_not_say_what_it_wants_is_let_go_of(address: tuple[str, int], sent: bytes) -> None:
    with client(address, sent) as connection:
        assert is_let_go(connection)


def test_the_head_of_a_later_request_has_a_deadline_and_idling_has_none(address: tuple[str, int]) -> None:
    with client(address, REQUEST) as idle, client(address, REQUEST) as slow:
        assert answered(idle)
        assert answered(slow)
        slow.sendall(b"GET /")
        assert is_let_go(slow)  # which took as long as the other one idled
        idle.sendall(REQUEST)
        assert answered(idle)


def test_a_request_that_takes_long_is_not_cut_off(address: tuple[str, int], gate: Gate) -> None:
    gate.close()
    with client(address, SLOW) as busy, client(address) as silent:
        assert is_let_go(silent)
        gate.go_on.set()
        assert answered(busy)


def test_of_too_many_connections_the_one_that_idled_longest_goes(address: tuple[str, int], gate: Gate) -> None:
    gate.close()
    with client(address, SLOW) as busy, client(address, REQUEST) as first:
        assert answered(first)
        gate.wait_for(1)
        time.sleep(0.01)  # of the two, it is the older one by the clock, too
        with client(address, REQUEST) as second:
            assert answered(second)
            with client(address, REQUEST) as third:
                assert answered(third)
                assert is_let_go(first)
                second.sendall(REQUEST)
                assert answered(second)
        gate.go_on.set()
        assert answered(busy)


def is_refused(address: tuple[str, int]) -> bool:
    """Whether a new connection is let go of at once."""
    try:
        with client(address, REQUEST) as new:
            return not answered(new)
    except ConnectionError:
        return True


def test_when_all_are_busy_the_new_one_goes(address: tuple[str, int], gate: Gate) -> None:
    gate.close()
    with client(address, SLOW) as one, client(address, SLOW) as two, client(address, SLOW) as three:
        gate.wait_for(3)
        assert is_refused(address)
        gate.go_on.set()
        assert [answered(each) for each in (one, two, three)] == [True, True, True]
