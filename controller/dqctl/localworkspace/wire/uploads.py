"""Multipart uploads of the Files API: parts that come in any order, and become a file at once or not at all."""

import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dqctl.localworkspace.wire.failures import ApiError, invalid

MOST_PARTS = 10_000  # as with Amazon S3
IDLE = 60 * 60.0  # seconds after which nobody comes back for an upload
_COPY_BYTES = 1024 * 1024


@dataclass
class Upload:
    """One of them: which file it will be, and its parts so far (number to checksum)."""

    token: str
    volume_path: str
    overwrite: bool
    folder: Path
    last_used: float
    parts: dict[int, str] = field(default_factory=dict)


class Uploads:
    """All that are under way, with their parts in ``folder``; safe to use from many threads.

    What an earlier server left there is removed: its clients cannot come back, the tokens are in memory alone.
    """

    def __init__(self, folder: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._all: dict[str, Upload] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def begin(self, volume_path: str, *, overwrite: bool) -> Upload:
        """Begin one."""
        self._expire()
        token = secrets.token_hex(16)
        folder = self.folder / token
        folder.mkdir(mode=0o700)
        upload = Upload(token, volume_path, overwrite, folder, self._monotonic())
        with self._lock:
            self._all[token] = upload
        return upload

    def find(self, token: str, volume_path: str) -> Upload:
        """The one of that token and file; ``ApiError`` when there is none."""
        with self._lock:
            upload = self._all.get(token)
            if upload is None or upload.volume_path != volume_path:
                raise ApiError(404, "NOT_FOUND", "No such upload: it was completed or aborted, or is too old.")
            upload.last_used = self._monotonic()
            return upload

    def put(self, upload: Upload, number: int, content: Path, checksum: str) -> None:
        """Take a part, whose bytes are in the file ``content``; an earlier one of that number is replaced."""
        with self._lock:
            content.replace(upload.folder / str(number))
            upload.parts[number] = checksum

    def complete(self, upload: Upload, named: Sequence[tuple[int, str]], file: BinaryIO) -> None:
        """Write the parts that the client ``named`` (number and checksum) to ``file``; ``ApiError`` for others."""
        numbers = [number for number, _ in named]
        if not named or numbers != sorted(set(numbers)):
            raise invalid("parts are named once each, in the order of their numbers")
        for number, checksum in named:
            if upload.parts.get(number) != checksum.strip('"'):
                raise invalid(f"part {number} was not uploaded, or is not the one with the etag {checksum}")
        for number in numbers:
            with (upload.folder / str(number)).open("rb") as part:
                shutil.copyfileobj(part, file, _COPY_BYTES)

    def end(self, upload: Upload) -> None:
        """Forget one, with its parts."""
        with self._lock:
            self._all.pop(upload.token, None)
        shutil.rmtree(upload.folder, ignore_errors=True)

    def _expire(self) -> None:
        with self._lock:
            old = [each for each in self._all.values() if self._monotonic() - each.last_used > IDLE]
        for upload in old:
            self.end(upload)


def checksum() -> "hashlib._Hash":
    """What makes an ETag of the bytes of a part."""
    return hashlib.md5(usedforsecurity=False)
