"""Databases beside the metadata's own, for as long as something is tried or prepared in them.

What a killed command leaves of them, the next command that opens the stack takes away: their names are in a file
of the stack from before they are made until after they are dropped.
"""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from dqctl.errors import Busy, EnvironmentFault
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.progress import Progress, silent
from dqctl.runtime import metadata
from dqctl.runtime.ports import Runtime
from dqctl.stack import lock
from dqctl.stack.paths import StackPaths

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def throw_away(
    runtime: Runtime, *databases: str, doing: str, timeout: float = 0.0, progress: Progress = silent
) -> Iterator[None]:
    """None of ``databases`` is there after the block, nor before it; one command at a time has such ones.

    Inside they may be made, and renamed to what they are to stay as. ``doing`` is the command, for others who
    wait up to ``timeout`` seconds; then ``Busy``.
    """
    paths = runtime.paths
    with lock.hold(_lock(paths), doing, timeout=timeout, progress=progress):
        _drop(runtime)
        write_atomically(_list(paths), json.dumps(databases) + "\n", PRIVATE_FILE)
        try:
            _drop(runtime, keep_list=True)
            yield
        finally:
            try:
                _drop(runtime)
            except EnvironmentFault as fault:  # the server is gone: what ends the block says more
                _log.warning("left to the next command: %s", fault.message)


def clear(runtime: Runtime) -> None:
    """Take away what a killed command left; quick when there is nothing, or its command still works."""
    if not _list(runtime.paths).exists():
        return
    with contextlib.suppress(Busy), lock.hold(_lock(runtime.paths), "removal of left-over databases"):
        _drop(runtime)


def _drop(runtime: Runtime, *, keep_list: bool = False) -> None:
    path = _list(runtime.paths)
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    for name in names:
        metadata.drop_database(runtime.postgres, name)
    if not keep_list:
        path.unlink(missing_ok=True)


def _list(paths: StackPaths) -> Path:
    return paths.root / "aside.json"


def _lock(paths: StackPaths) -> Path:
    return paths.root / "aside.lock"
