"""One command at a time changes a stack; who waits is told for whom.

The lock is the kernel's (flock): it ends with the process that holds it, however that ends. Who holds it is
written beside it, for people only.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import Busy
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.progress import Progress, silent

_POLL = 0.1  # seconds


@contextlib.contextmanager
def hold(
    path: Path, command: str, *, timeout: float = 0.0, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> Iterator[None]:
    """Hold the lock ``path`` while the block runs; ``command`` is what others are told that goes on.

    Waits up to ``timeout`` seconds, then raises ``Busy``, which names the holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=PRIVATE_FILE)
    holder = path.with_name(f"{path.name}.holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if timeout > 0:
            progress(f"waiting up to {timeout:.0f} s for {_describe(holder)}")
        try:
            lock.acquire(timeout=timeout, poll_interval=_POLL)
        except Timeout:
            raise Busy(
                f"busy: {_describe(holder)} holds {path}",
                "wait until it is done, or let this command wait for it: DQCTL_LOCK_TIMEOUT=600",
            ) from None
    try:
        about = {"pid": os.getpid(), "command": command, "since": clock.now().isoformat(timespec="seconds")}
        write_atomically(holder, json.dumps(about) + "\n", PRIVATE_FILE)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    try:
        about = json.loads(holder.read_text(encoding="utf-8"))
        return f"dqctl {about['command']} (process {about['pid']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another command"
