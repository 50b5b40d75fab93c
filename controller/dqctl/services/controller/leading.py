"""Which of several sidecars leads: the one that holds a file lock in the stack's directory.

All that can be sidecars of one stack see this directory, in the container at the same path. The kernel frees the
lock when its holder dies, however it does, and unlike a lock in the metadata database it lasts while that is down,
asleep, or exchanged by an upgrade: who leads does not change with it. A stack that is not installed needs nobody
who leads: its directory may be about to be removed, and nothing is to come back into it.
"""

import contextlib
import json
from pathlib import Path

from dqctl.clock import Clock
from dqctl.errors import Busy, EnvironmentFault
from dqctl.stack import lock
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record

_FILE = "controller.lock"


class Leadership:
    """Held until ``leave``, or until the stack is uninstalled."""

    def __init__(self, paths: StackPaths, clock: Clock) -> None:
        self._paths = paths
        self._clock = clock
        self._held = contextlib.ExitStack()
        self._file: tuple[int, int] | None = None
        self.leader: str | None = None
        """Who leads in our place, as the lock tells."""
        self.is_installed = True
        """Whether there is a stack to lead, as of the last ``hold``."""

    def hold(self) -> bool:
        """Whether we lead now; tried anew each time."""
        self.is_installed = self._look()
        if not self.is_installed:
            self.leave()
            self.leader = None
            return False
        if self._file and self._file == self._identity():
            return True
        self.leave()  # the directory was removed, with the lock in it: another one may be there by now
        try:
            self._held.enter_context(lock.hold(self._path, "controller run", clock=self._clock))
        except Busy:
            self.leader = self._holder()
            return False
        self._file, self.leader = self._identity(), None
        return True

    def leave(self) -> None:
        """Lead no more."""
        self._file = None
        self._held.close()

    @property
    def _path(self) -> Path:
        return self._paths.root / _FILE

    def _look(self) -> bool:
        try:
            record = read_record(self._paths)
        except EnvironmentFault:  # a damaged one: whoever leads says so
            return True
        return record is not None and record.installed

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _holder(self) -> str | None:
        try:
            about = json.loads(self._path.with_name(f"{_FILE}.holder").read_text(encoding="utf-8"))
            return f"process {about['pid']}, since {about['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return None
