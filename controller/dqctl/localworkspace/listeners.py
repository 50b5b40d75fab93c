"""The sockets of the server: which addresses and ports, and the same ones the next time."""

import contextlib
import errno
import ipaddress
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
# A port that is free at one address may be taken at another; not ten times in a row.
_ATTEMPTS = 10


@dataclass(frozen=True)
class Ports:
    """What the server listens on, as ``ports.json`` has it. Port 0: not known, any will do.

    The proxy is at ``proxy_port`` of loopback and, as long as they exist, of each of ``proxy_addresses``.
    """

    port: int = 0
    proxy_port: int = 0
    proxy_addresses: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "Ports":
        """Those of the last time; none when they are not known."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            addresses = tuple(str(address) for address in found.get("proxy_addresses", ()))
            return cls(int(found["port"]), int(found["proxy_port"]), addresses)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return cls()


def check_address(address: str) -> None:
    """Raise ``OSError`` that says why nobody can listen at ``address``, when nobody can."""
    with _bound(address, 0):
        pass


def further(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """What of ``addresses`` is not loopback's own, which the proxy always has."""
    return tuple(address for address in addresses if address != ADDRESS)


@contextlib.contextmanager
def listening(wanted: int, last: int, *, everywhere: bool = False) -> Iterator[socket.socket]:
    """A socket on the port that is wanted, else on that of the last time if it is free, else on any.

    On loopback, or ``everywhere``.
    """
    try:
        listener = _bound(ADDRESS, wanted or last, everywhere=everywhere)
    except OSError:
        if wanted:
            raise
        listener = _bound(ADDRESS, 0, everywhere=everywhere)
    with listener:
        listener.listen(128)
        yield listener


@contextlib.contextmanager
def listening_everywhere(wanted: int, last: int, addresses: tuple[str, ...]) -> Iterator[list[socket.socket]]:
    """``listening`` for the proxy: the same port at loopback and at each of ``addresses``, loopback first."""
    for attempt in range(_ATTEMPTS):
        with contextlib.ExitStack() as held:
            try:
                first = held.enter_context(listening(wanted, 0 if attempt else last))
                found = [held.enter_context(_bound(each, first.getsockname()[1])) for each in addresses]
            except OSError as error:
                if wanted or error.errno != errno.EADDRINUSE or attempt == _ATTEMPTS - 1:
                    raise
                continue
            for listener in found:
                listener.listen(128)
            yield [first, *found]
            return


def existing(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``addresses`` that this machine has now: a bridge of containers comes and goes."""
    return tuple(filter(_exists, addresses))


def _exists(address: str) -> bool:
    try:
        check_address(address)
    except OSError as error:
        logger.warning("the proxy does not listen where it did the last time: %s", error)
        return False
    return True


def _bound(address: str, port: int, *, everywhere: bool = False) -> socket.socket:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise OSError(f"{address!r} is no IP address") from None
    if parsed.is_unspecified:
        raise OSError(f"{address} is every network of this machine: name one of its addresses")
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    # IPPROTO_TCP said aloud: asyncio sets TCP_NODELAY on such sockets only, and without it an answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("" if everywhere else address, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise OSError(f"{address} is no address of this machine") from None
        raise
    return listener
