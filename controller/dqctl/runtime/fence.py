"""TestGen's programs of one version must never meet the database of another: the newer ones would migrate it.

Whoever starts a program holds the fence with others; an upgrade takes it for itself before it gives the stack
another database, and whoever comes then finds what it knew of the stack to be outdated.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import Busy
from dqctl.files import PRIVATE_FILE
from dqctl.stack import upgrading
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record
from dqctl.stack.upgrading import Phase

_POLL = 0.1


@contextlib.contextmanager
def shared(paths: StackPaths, record: StackRecord) -> Iterator[None]:
    """The stack keeps its version while the block runs; ``Busy`` when it is not that of ``record`` any more."""
    with _opened(paths) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        require_current(paths, record)
        yield


def require_current(paths: StackPaths, record: StackRecord) -> None:
    """``Busy`` when the stack got another version of TestGen since ``record`` was read, or is just getting it."""
    found = upgrading.pending(paths)
    if found and found.phase not in (Phase.TRIAL, Phase.DONE):
        raise Busy(
            f"the stack is changing from TestGen {found.before.record.testgen_version} to "
            f"{found.after.record.testgen_version}",
            "run the same command again: it waits for the end of it, or ends it if it was interrupted",
        )
    now = read_record(paths)
    if now and now.testgen_version != record.testgen_version:
        raise Busy(
            f"the stack changed from TestGen {record.testgen_version} to {now.testgen_version} meanwhile",
            "run the same command again",
        )


def close(paths: StackPaths, deadline: Deadline, clock: Clock = SYSTEM_CLOCK) -> None:
    """Wait for the end of programs that were started before the journal said that the version changes.

    Raises ``Busy`` when one does not end in time.
    """
    with _opened(paths) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if deadline.passed:
                    raise Busy(
                        f"a call of TestGen still runs in the stack {paths.name!r} after {deadline.seconds:.0f} s",
                        "wait for its end (dqctl testgen ...), then try again",
                    ) from None
                clock.sleep(_POLL)
            else:
                return


@contextlib.contextmanager
def _opened(paths: StackPaths) -> Iterator[int]:
    file = os.open(_path(paths), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        yield file
    finally:
        os.close(file)


def _path(paths: StackPaths) -> Path:
    return paths.root / "programs.lock"
