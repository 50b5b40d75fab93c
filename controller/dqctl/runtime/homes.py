"""A directory for each call of a program on this machine, gone when the call is over."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dqctl.files import PRIVATE_DIR


@contextlib.contextmanager
def call_home(work: Path) -> Iterator[Path]:
    """A new directory below ``work`` that only we may enter. TestGen writes to fixed names below its HOME.

    It is locked for as long as the block runs. A process number would not do to tell whose it is: a controller's
    container shares the directory with the host, and counts its processes by itself.
    """
    work.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with _locked(work, fcntl.LOCK_SH):  # who removes left-overs waits until it is made and locked
            home = Path(tempfile.mkdtemp(dir=work, prefix="call-"))
            held.enter_context(_locked(home, fcntl.LOCK_SH))
            held.callback(shutil.rmtree, home, ignore_errors=True)
        yield home


def remove_left_overs(work: Path) -> None:
    """Remove the homes of calls whose dqctl was killed; the kernel has let go of their locks."""
    with contextlib.suppress(OSError), _locked(work, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for home in work.iterdir():
            with contextlib.suppress(OSError), _locked(home, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    """Hold a lock of the directory itself, which no child process inherits."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Some network file systems lock no directories: then nobody removes any.
        with contextlib.suppress(OSError) if how == fcntl.LOCK_SH else contextlib.nullcontext():
            fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
