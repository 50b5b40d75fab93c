"""A CONNECT proxy that knows one host.

``databricks-sqlalchemy`` ignores every port and connects to 443, and the connector asks for its feature flags
on 443 whatever its port. Through this proxy the workspace's host is on 443, unchanged clients and all, without
root. Every other target is refused at once: nothing that is meant for the local workspace leaves the machine,
and clients that look for new versions of themselves do not wait for a dead network.
"""

import asyncio
import contextlib
import logging

logger = logging.getLogger(__name__)

_HEAD_SECONDS = 10.0
_CHUNK = 256 * 1024


class ConnectProxy:
    """Maps ``host``:443 to ``target``, an address and port on this machine."""

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self._host = host
        self._target = target

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection, for ``asyncio.start_server``."""
        try:
            wanted = await asyncio.wait_for(_requested(reader), _HEAD_SECONDS)
            if wanted.lower() == f"{self._host}:443":
                await self._tunnel(reader, writer)
            else:
                logger.debug("refused %s", wanted)
                body = f"this proxy leads to {self._host}:443 only\n".encode()
                head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            logger.debug("a proxy connection ended early", exc_info=True)
        finally:
            await _close(writer)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target, limit=_CHUNK)
        try:
            writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
        finally:
            await _close(upstream_writer)


async def _requested(reader: asyncio.StreamReader) -> str:
    """The target of the request: ``host:port`` of CONNECT, or what a plain request names."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
    return target if method == "CONNECT" else f"{method} {target}"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        # Not write_eof(): a TLS peer that has stopped sending has stopped listening, too, in every client here.
        with contextlib.suppress(OSError):
            writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
