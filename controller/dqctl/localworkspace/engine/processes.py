"""The embedded engine's processes: one that takes statements, and older ones that still end theirs.

Sail 0.7.2 keeps some 60 KB of every statement for ever: each builds a parser whose parts refer to each other
(chumsky's ``Recursive::declare``, zesterer/chumsky issue 486), and no setting changes that. So the process that
has grown is replaced: another one starts beside it and takes what comes, the old one ends with its last statement.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dqctl.localworkspace import errors

_PROGRAM = Path(__file__).with_name("sail_process.py")
_ENVIRONMENT = {
    "RUST_LOG": "error",  # its own default is a line for every session
    # Sail walks a statement by recursion, and its stack's end is the process's end: its 8 MiB end at 400 terms.
    # Room for ``sql.depth.MAX_DEPTH``; memory that no statement needs is never touched.
    "SAIL_RUNTIME__STACK_SIZE": str(256 * 1024 * 1024),
}
_START_SECONDS = 180.0
_END_SECONDS = 60.0
# A process is replaced when it has grown by so much, but not before it has been used so often: what a large result
# leaves behind is used again by the next one.
GROWTH_BYTES = 64 * 1024 * 1024
LEAST_USES = 200
_LOOK_EVERY = 20  # uses
_BYTES_A_USE = 60 * 1024  # where the system does not tell

_CONTAINERS_LIMIT = Path("/sys/fs/cgroup/memory.max")

logger = logging.getLogger(__name__)


def half_of_memory() -> int:
    """Bytes: what an engine may have of the machine, or of the container, before it ends itself."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # no cgroups of version 2, or "max"
        memory = min(memory, int(_CONTAINERS_LIMIT.read_text(encoding="ascii")))
    return memory // 2


class EngineProcess:
    """One Sail, for pyspark of ``version``. ``OSError`` when it does not start."""

    def __init__(self, version: str, memory_bytes: int) -> None:
        self.users = 0
        self.uses = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), version, str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_ENVIRONMENT, **os.environ},
        )
        late = threading.Timer(_START_SECONDS, self._process.kill)
        late.daemon = True
        late.start()
        try:
            port = self._process.stdout.readline().strip() if self._process.stdout else b""
        finally:
            late.cancel()
        if not port:
            self.end()
            raise OSError(f"the engine does not start: python -P {_PROGRAM} {version} ended, or took too long")
        self.pid = self._process.pid
        self.url = f"sc://127.0.0.1:{int(port)}"
        self._size_at_first: int | None = None

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether the process is no more, or is within some seconds."""
        if self._process.poll() is not None:
            return True
        if not within:
            return False
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def settle(self) -> None:
        """What it takes now is what it is compared with."""
        self._size_at_first = self._size()

    def has_grown(self, by: int) -> bool:
        """Whether it is time for another one; ``by`` is in bytes."""
        if self.uses < LEAST_USES or self.uses % _LOOK_EVERY:
            return False
        size, first = self._size(), self._size_at_first
        grown = self.uses * _BYTES_A_USE if size is None or first is None else size - first
        return grown > by

    def _size(self) -> int | None:
        """Bytes of its own memory; None where the system does not tell, or the process is no more."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
            return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return None

    def end(self) -> None:
        """Kill it; nothing that it holds is worth an orderly end."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(_END_SECONDS)


class Processes:
    """Hands out the process that statements go to. ``warm`` makes a first use of a new one, given its URL."""

    def __init__(
        self,
        version: str,
        warm: Callable[[str], None],
        growth_bytes: int = GROWTH_BYTES,
        memory_bytes: int | None = None,
    ) -> None:
        self._version = version
        self._memory_bytes = memory_bytes or half_of_memory()
        self._growth_bytes = growth_bytes
        self._warm = warm
        # Reentrant: a generator that nobody reads to its end gives back when it is collected, anywhere.
        self._lock = threading.RLock()
        self._current = self._start()
        self._retired: list[EngineProcess] = []
        self._renewal: threading.Thread | None = None
        self._closed = False

    def take(self) -> EngineProcess:
        """The process for what is to be run now; it lives until it is given back."""
        with self._lock:
            if self._closed:
                raise errors.engine_lost()
            if self._current.has_ended():
                logger.warning("the engine, process %s, has ended: another one is started", self._current.pid)
                new = self._start()
                self._retire()
                self._current = new
            process = self._current
            process.users += 1
            process.uses += 1
            if process.uses == 1:
                process.settle()
            elif process.has_grown(self._growth_bytes):
                self.renew()
        return process

    def renew(self) -> None:
        """Replace the process; what comes meanwhile still goes to the one of before."""
        with self._lock:
            if self._renewal is None and not self._closed:
                self._renewal = threading.Thread(target=self._renew, name="engine renewal", daemon=True)
                self._renewal.start()

    @property
    def pid(self) -> int:
        """The process that takes statements now."""
        return self._current.pid

    def give_back(self, process: EngineProcess) -> None:
        """It is not needed any more; one that was replaced ends with its last user."""
        with self._lock:
            process.users -= 1
            over = process in self._retired and not process.users
            if over:
                self._retired.remove(process)
        if over:
            process.end()

    def close(self) -> None:
        """End all of them, whatever they do."""
        with self._lock:
            self._closed = True
            renewal = self._renewal
        if renewal is not None:
            renewal.join(_START_SECONDS)
        with self._lock:
            every = [*self._retired, self._current]
            self._retired.clear()
        for process in every:
            process.end()

    def _start(self) -> EngineProcess:
        return EngineProcess(self._version, self._memory_bytes)

    def _renew(self) -> None:
        new = None
        try:
            new = self._start()
            self._warm(new.url)
        except Exception:  # whatever it is, the one that runs is good for more
            logger.exception("the engine cannot be replaced by a new one")
        with self._lock:
            self._renewal = None
            old = self._current
            if new is not None and not new.has_ended() and not self._closed:
                self._retire()
                self._current, new = new, None
                logger.info("the engine, process %s, is replaced by process %s", old.pid, self._current.pid)
            else:
                old.uses = 1  # to try again later
        if new is not None:
            new.end()

    def _retire(self) -> None:
        if self._current.users:
            self._retired.append(self._current)
        else:
            self._current.end()
