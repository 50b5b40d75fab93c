"""What something that ended has left on this machine."""

import os
import time
from pathlib import Path

from dqctl.clock import Deadline


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that have to do with a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


def wait_until_nothing_is_left(directory: Path) -> None:
    """Neither files nor processes."""
    deadline = Deadline(240)
    while left := [*directory.iterdir(), *processes_of(directory)]:
        assert not deadline.passed, left
        time.sleep(0.1)
