"""A directory for each call of a program on this machine, gone when the call is over."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dqctl.files import PRIVATE_DIR


@contextlib.contextmanager
def call_home(work: Path) -> Iterator[Path]:
    """A new directory below ``work`` that only we may enter. TestGen writes to fixed names below its HOME."""
    work.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=work, prefix=f"{os.getpid()}-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def remove_left_overs(work: Path) -> None:
    """Remove the homes of calls whose dqctl was killed."""
    if sys.platform != "linux" or not work.is_dir():
        return
    for home in work.iterdir():
        if not Path(f"/proc/{home.name.partition('-')[0]}").exists():
            shutil.rmtree(home, ignore_errors=True)
