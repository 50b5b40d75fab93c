"""What clients of a project connect to: TLS and nothing else, awake when somebody comes, cut off on request."""

import asyncio
import contextlib
import logging
import ssl
import struct
from collections.abc import Callable, Sequence

from dqctl.localworkspace.lakebase.cluster import ADMIN, Cluster, ClusterError
from dqctl.localworkspace.lakebase.passwords import checked

logger = logging.getLogger(__name__)

# First words of a connection, in place of the protocol's version.
_CANCEL, _TLS, _GSS = 80877102, 80877103, 80877104
_HELLO_SECONDS = 30.0
_LONGEST_HELLO = 10_000  # bytes, PostgreSQL's own limit
_CHUNK = 256 * 1024


class Refused(Exception):  # noqa: N818 - named for what it is
    """A connection that is not let in: SQLSTATE and message."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class Front:
    """Listens for the clients of ``cluster``; ``may_try`` says who may sign in at all."""

    def __init__(self, cluster: Cluster, context: ssl.SSLContext, may_try: Callable[[str], bool]) -> None:
        self._cluster = cluster
        self._context = context
        self._may_try = may_try
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, addresses: Sequence[str], port: int) -> int:
        """Listen; the port, which is another one than wished for when that is taken."""
        found = port
        try:
            for address in addresses:
                server = await asyncio.start_server(self._handle, address, found, limit=_CHUNK)
                self._servers.append(server)
                found = server.sockets[0].getsockname()[1]
        except OSError:
            self.close()
            if port == 0:
                raise
            return await self.listen(addresses, 0)
        return found

    def cut(self) -> None:
        """Cut all connections off, in the middle of what they do."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        """Listen no more, and cut off who is there."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.cut()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except Refused as refused:
            with contextlib.suppress(OSError):
                writer.write(_error(refused.state, str(refused)))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, struct.error, ValueError):
            logger.debug("a connection to PostgreSQL ended early", exc_info=True)
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello, code = await asyncio.wait_for(self._greet(reader, writer), _HELLO_SECONDS)
        if code != _CANCEL:
            user = _parameters(hello).get("user", "")
            if user == ADMIN or not self._may_try(user):
                raise Refused("28000", f'role "{user}" is not permitted to log in with a password')
        try:
            await asyncio.to_thread(self._cluster.ensure_running)
        except ClusterError as error:
            raise Refused("57P03", f"the compute cannot be started: {error}") from error
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(self._cluster.socket), limit=_CHUNK)
        try:
            inner_writer.write(hello)
            if code == _CANCEL:
                await inner_writer.drain()
                return
            await asyncio.gather(_requests(reader, inner_writer), _answers(inner_reader, writer))
        finally:
            inner_writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, int]:
        """The first message that counts, and its code: TLS has begun, unless it asks to cancel a statement."""
        encrypted = False
        while True:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if not 8 <= length <= _LONGEST_HELLO:
                raise ValueError("no client of PostgreSQL")
            hello = head + await reader.readexactly(length - 8)
            if code == _TLS and not encrypted:
                writer.write(b"S")
                await writer.start_tls(self._context)
                encrypted = True
            elif code == _GSS and not encrypted:
                writer.write(b"N")
            # libpq sends these in the clear (16 and before), and nobody minds: they tell nothing.
            elif encrypted or code == _CANCEL:
                return hello, code
            else:
                raise Refused("28000", "connection is insecure (try using `sslmode=require`)")


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what the client says, with an eye on passwords."""
    try:
        while head := await reader.read(1):
            size = await reader.readexactly(4)
            (length,) = struct.unpack("!i", size)
            body = await reader.readexactly(length - 4)
            if head in (b"Q", b"P"):
                body = _judged(head, body)
                size = struct.pack("!i", len(body) + 4)
            writer.write(head + size + body)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def _judged(kind: bytes, body: bytes) -> bytes:
    """A message with a statement: Query has it alone, Parse between a name and the types of parameters."""
    name, rest = (b"", body) if kind == b"Q" else _cut(body)
    statement, rest = _cut(rest)
    found = statement.decode("utf-8", "surrogateescape")
    text = checked(found)
    if text == found:
        return body
    return (name + b"\0" if kind == b"P" else b"") + text.encode() + b"\0" + (rest if kind == b"Q" else b"\0\0")


def _cut(body: bytes) -> tuple[bytes, bytes]:
    text, _, rest = body.partition(b"\0")
    return text, rest


def _parameters(hello: bytes) -> dict[str, str]:
    words = [word.decode("utf-8", "replace") for word in hello[8:].split(b"\0")]
    return dict(zip(words[::2], words[1::2], strict=False))


def _error(state: str, message: str) -> bytes:
    fields = b"".join(
        key + value.encode() + b"\0"
        for key, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", state), (b"M", message))
    )
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"
