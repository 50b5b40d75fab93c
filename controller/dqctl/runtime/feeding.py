"""Giving a file to a program that runs in a container, through an exec of its own.

The program's own exec cannot: its stdin is the leash (``inside.sh``), and a leash that waits behind data which the
program does not read would not be felt.
"""

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_PIECE = 1 << 18
_PATIENCE = 20  # seconds that one call of send waits for room, before it looks whether it is still wanted
_LAST_WORDS = 2.0  # seconds for the thread to end


@contextlib.contextmanager
def feeding(api: Any, container: str, pipe: str, path: Path, seconds: float) -> Iterator[None]:
    """Write the file ``path`` to the named pipe ``pipe`` in ``container`` while the block runs.

    ``api`` is the engine's. What the block does not read is not sent. The exec ends with its stdin, with its
    reader, or after ``seconds``, whoever was killed.
    """
    script = (files(__package__) / "feed.sh").read_text(encoding="utf-8")
    with path.open("rb") as file:
        command = ["timeout", f"{max(1.0, seconds):.0f}", "sh", "-c", script, "dqctl", pipe]
        made = api.exec_create(container, command, stdin=True, stdout=True, stderr=True)["Id"]
        stream = api.exec_start(made, socket=True)
        connection: socket.socket = getattr(stream, "_sock", stream)
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))
        done = threading.Event()

        def send() -> None:
            try:
                while not done.is_set() and (piece := file.read(_PIECE)):
                    _send(connection, piece, done)
            except OSError as error:  # the program may end before it has read everything
                _log.debug("not all of %s was sent: %s", path, error)
            finally:  # else the program would wait for the rest of a file that cannot be read
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, name="exec-feed", daemon=True)
        sender.start()
        try:
            yield
        finally:
            done.set()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            sender.join(_LAST_WORDS)
            for each in (stream, stream._response):
                with contextlib.suppress(OSError, ValueError):
                    each.close()
            connection.close()


def _send(connection: socket.socket, piece: bytes, done: threading.Event) -> None:
    rest = memoryview(piece)
    while rest and not done.is_set():
        with contextlib.suppress(BlockingIOError):  # no room for _PATIENCE seconds: it builds an index, say
            rest = rest[connection.send(rest) :]
