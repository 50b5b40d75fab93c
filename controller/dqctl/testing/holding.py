"""A directory that is somebody's for as long as he lives: what is watched in it (``leash``) goes when he does.

Imports nothing heavy: with pytest-xdist every run holds one, whether anything is asked for or not.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

WATCHER = ".watcher"

_HELD = "alive"
_POLL = 0.02
_SECONDS = 120.0


class Held:
    """A new temporary directory, its owner's alone, until ``end``."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dqctl-testing-"))
        self._descriptor = lock(self.directory / _HELD)

    def end(self) -> None:
        """Let go, wait until what was watched is gone, remove the directory."""
        os.close(self._descriptor)
        end = time.monotonic() + _SECONDS
        while has_watchers(self.directory) and time.monotonic() < end:
            time.sleep(_POLL)
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_until_let_go(directory: Path) -> None:
    """Return when nobody holds ``directory`` any more: the kernel lets go for whoever dies."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(directory / _HELD, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.close(descriptor)


def lock(file: Path) -> int:
    """Lock ``file``, which is made; the descriptor that holds the lock."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def has_watchers(directory: Path, but: int = 0) -> bool:
    """Whether more than ``but`` watchers are at work there."""
    count = 0
    for file in directory.glob(f"*{WATCHER}"):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(file, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                count += 1
            finally:
                os.close(descriptor)
    return count > but
