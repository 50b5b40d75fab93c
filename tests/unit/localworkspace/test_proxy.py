import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from dqctl.localworkspace.proxy import ConnectProxy

HOST = "workspace.invalid"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def through_the_proxy(talk: Talk) -> bytes:
    """What ``talk`` makes of a connection to a proxy before a server that answers in capitals."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    async def run() -> bytes:
        async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
            target = server.sockets[0].getsockname()
            proxy = ConnectProxy(HOST, (target[0], target[1]))
            handled = asyncio.Event()

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await proxy.handle(reader, writer)
                handled.set()

            async with await asyncio.start_server(handle, "127.0.0.1", 0) as listening:
                reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
                try:
                    return await asyncio.wait_for(talk(reader, writer), 20)
                finally:
                    writer.close()
                    await asyncio.wait_for(handled.wait(), 20)

    return asyncio.run(run())


@pytest.mark.parametrize("target", [f"{HOST}:443", f"{HOST.upper()}:443"])
def test_the_workspaces_host_is_reached(target: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        sent = b"x" * 3_000_000
        receiving = asyncio.create_task(reader.readexactly(len(sent)))
        writer.write(sent)
        await writer.drain()
        return await receiving

    assert through_the_proxy(talk) == b"X" * 3_000_000


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT example.com:443 HTTP/1.1",
        f"CONNECT {HOST}:80 HTTP/1.1",
        f"CONNECT {HOST}.example.com:443 HTTP/1.1",
        "CONNECT 127.0.0.1:443 HTTP/1.1",
        f"GET http://{HOST}/ HTTP/1.1",
    ],
)
def test_everything_else_is_refused_at_once(request_line: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"{request_line}\r\n\r\n".encode())
        return await reader.read()

    began = time.monotonic()
    assert through_the_proxy(talk).startswith(b"HTTP/1.1 403 ")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("rubbish", [b"\r\n\r\n", b"CONNECT\r\n\r\n", b"\xff\xfe x y\r\n\r\n", b"x" * 100_000])
def test_rubbish_ends_the_connection(rubbish: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(rubbish)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""

    assert through_the_proxy(talk) == b""
