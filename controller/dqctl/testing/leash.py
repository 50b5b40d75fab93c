"""Taking away what a test run has started, however it ends: small processes that wait for a lock to be let go.

The kernel lets a lock (flock) go whatever its holder dies of, so a watcher needs no signal, no poll and no clock;
and where pytest-xdist has workers the lock is their controller's: a worker may die alone. Nothing runs that is not
watched: a watcher is there before what it watches.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

from dqctl.localworkspace import control
from dqctl.testing.holding import WATCHER, has_watchers, lock, wait_until_let_go

_SECONDS = 120.0

# Kept, so that nobody is warned about processes that go on for a moment longer than this one.
_watchers: list[tuple[Path, "subprocess.Popen[bytes]"]] = []


class Kind(StrEnum):
    """What is taken away: a local workspace by its data directory, a container or a stack by its name."""

    WORKSPACE = "workspace"
    CONTAINER = "container"
    STACK = "stack"


def watch(directory: Path, kind: Kind, subject: str) -> None:
    """Have something taken away when nobody holds ``directory`` any more (``holding.Held``)."""
    name = f"{kind}-{subject.replace('/', '-')}{WATCHER}"
    # The watcher's own lock comes to it locked, and ends with it: it is never not there yet.
    descriptor = lock(directory / name)
    try:
        # Where we are: DQCTL_HOME and its like may be relative.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(directory), kind, subject],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C is for the tests
        )
    finally:
        os.close(descriptor)
    _watchers.append((directory, process))


def join(directory: Path) -> None:
    """Wait for the watchers that this process started there; call it when ``directory`` was let go."""
    for each in [each for each in _watchers if each[0] == directory]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each[1].wait(_SECONDS)
        _watchers.remove(each)


def main() -> None:
    """Wait, take away; the last one removes the directory."""
    directory, kind, subject = Path(sys.argv[1]), Kind(sys.argv[2]), sys.argv[3]
    wait_until_let_go(directory)
    _TAKEN_AWAY[kind](subject)
    if not has_watchers(directory, but=1):
        shutil.rmtree(directory, ignore_errors=True)


def _workspace(data_dir: str) -> None:
    with contextlib.suppress(control.WorkspaceError):
        control.stop(Path(data_dir))


def _container(name: str) -> None:
    from dqctl.runtime import belongings  # not where there are no containers
    from dqctl.stack.labels import STACK

    belongings.remove(f"{STACK}={name}")


def _stack(name: str) -> None:
    argv = [sys.executable, "-P", "-m", "dqctl", "--quiet", "ci", "down", name]
    subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False)


_TAKEN_AWAY = {Kind.WORKSPACE: _workspace, Kind.CONTAINER: _container, Kind.STACK: _stack}


if __name__ == "__main__":
    os.umask(0o077)
    main()
