"""TLS for PostgreSQL's programs that were built without it, as those of the wheel are (0.6.0).

A port on the loopback takes what they say in clear and passes it on under TLS, the certificate checked. The
password goes through as SCRAM's proof, which tells a listener nothing; what connects to the port without
it gets no further than at the server itself.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

HOST = "127.0.0.1"
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_CONNECT = 60.0  # seconds for each step of a greeting; a compute that sleeps is woken
_END = 2.0  # seconds for a connection to close in good order
_TURNS = 5  # of the loop, for what asyncio does at the end of a connection by itself
_PIECE = 1 << 16
_SASL = 10
# Binds the password to the TLS of whoever proves it. That is us here, and libpq takes the offer for an attack
# when it has no TLS of its own.
_BOUND = b"SCRAM-SHA-256-PLUS"


@contextlib.contextmanager
def relay(host: str, port: int, ca_file: Path) -> Iterator[int]:
    """The port on ``HOST`` that leads to the server ``host``, ``port`` while the block runs."""
    context = ssl.create_default_context(cafile=str(ca_file))
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    with socket.create_server((HOST, 0)) as listener:

        async def serve() -> None:
            async def connected(reader: StreamReader, writer: StreamWriter) -> None:
                # What goes wrong, the program sees as a connection that is closed.
                with contextlib.suppress(OSError, EOFError, TimeoutError):
                    async with _closing(writer):
                        await _pass_on(reader, writer, await _dial(host, port, context))

            server = await asyncio.start_server(connected, sock=listener)
            await over.wait()
            server.close()
            if working := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in working:
                    task.cancel()
                await asyncio.wait(working, timeout=2 * _END)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="tls-relay", daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(3 * _END)
            loop.close()


@contextlib.asynccontextmanager
async def _closing(writer: StreamWriter) -> AsyncIterator[None]:
    """The connection ends with the block: in good order, or at once where the other side takes no part in it."""
    try:
        yield
    finally:
        writer.close()
        try:
            async with asyncio.timeout(_END):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()


async def _dial(host: str, port: int, context: ssl.SSLContext) -> tuple[StreamReader, StreamWriter]:
    """A connection under TLS, which PostgreSQL begins after it was asked in clear."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_CONNECT):
        plain = await asyncio.to_thread(socket.create_connection, (host, port), _CONNECT)
        try:
            plain.setblocking(False)
            await loop.sock_sendall(plain, _SSL_REQUEST)
            # One byte and no more: what somebody put behind it in clear must not count as said under TLS.
            if await loop.sock_recv(plain, 1) != b"S":
                raise ConnectionError("the server has no TLS")
        except BaseException:
            plain.close()
            raise
        return await asyncio.open_connection(sock=plain, ssl=context, server_hostname=host)


async def _pass_on(reader: StreamReader, writer: StreamWriter, server: tuple[StreamReader, StreamWriter]) -> None:
    answers, requests = server
    async with _closing(requests):
        async with asyncio.timeout(_CONNECT):
            requests.write(await _message(reader, kinds=0))
            writer.write(_without_binding(await _message(answers, kinds=1)))
        both = {asyncio.ensure_future(_pump(reader, requests)), asyncio.ensure_future(_pump(answers, writer))}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)


async def _message(source: StreamReader, *, kinds: int) -> bytes:
    """One whole message; only the start-up one has no byte for its kind."""
    head = await source.readexactly(kinds + 4)
    return head + await source.readexactly(struct.unpack("!i", head[kinds:])[0] - 4)


def _without_binding(answer: bytes) -> bytes:
    """The server's first answer; the ways to prove the password are left out that a program cannot take here."""
    if answer[:1] != b"R" or struct.unpack("!i", answer[5:9])[0] != _SASL:
        return answer
    offered = [name for name in answer[9:].split(b"\0") if name and name != _BOUND]
    body = answer[5:9] + b"".join(name + b"\0" for name in offered) + b"\0"
    return b"R" + struct.pack("!i", len(body) + 4) + body


async def _pump(source: StreamReader, target: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(_PIECE):
            target.write(piece)
            await target.drain()
