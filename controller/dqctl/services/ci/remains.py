"""The processes of an ephemeral stack, found by what is theirs alone: its directory, or its command's cookie.

Whoever was killed has told nobody which processes he had started, so they are looked for. A name alone proves
nothing, nor does a directory: somebody may read a log there.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.services.ci.owner import Owner, started_at
from dqctl.services.ci.record import CiPaths, Record

COOKIE = "DQCTL_CI_RUN"  # the variable that all processes of a command have

_POLL = 0.01
_LOOK = 0.2  # seconds between two looks at all processes of the machine, while those that were found end
_POLITE = 5.0  # seconds for PostgreSQL to end by itself, which takes a tenth of one
_SECONDS = 30.0
_OWNER = 60.0  # seconds for an owner: a command of his has 10 to end, then he takes down
# A process that was killed between two of its steps leaves the next one to be found: a shell becomes PostgreSQL.
_SETTLED = 0.3

# What a stack's processes run, beside the local workspace; each names the stack's directory in an argument.
_PROGRAMS = ("postgres", "pg_ctl", "initdb", "docker", "docker-compose", "sh", "dash", "bash")
_WORKSPACE = b"dqctl.localworkspace"


@dataclass(frozen=True)
class Found:
    """A process: its number, when it began, and whether it is to end by itself (PostgreSQL's first one)."""

    pid: int
    started: int
    polite: bool


def end_owner(owner: Owner, patience: float = _OWNER) -> None:
    """Have whoever makes a stack, or runs something in it, end: what he has under way only he can call off.

    Nobody that cannot be seen from here, and not who this process was started by: a command may take its own stack
    down. Killed after ``patience`` seconds; ``EnvironmentFault`` when even that does not end it.
    """
    if Owner.of(owner.pid) != owner or owner.pid in _lineage():
        return
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, _POLITE)):
        _signal(Found(owner.pid, owner.started, polite=True), number)
        deadline = Deadline(seconds)
        while not deadline.passed:
            if owner.is_dead:
                return
            time.sleep(_POLL)
    raise EnvironmentFault(f"process {owner.pid}, which uses the stack, does not end", "end it (kill)")


def end_processes(paths: CiPaths, record: Record, *, settle: bool) -> int:
    """End all processes of the stack, and tell how many there were.

    With ``settle`` whoever made the stack was killed: what he had under way is waited for. Raises
    ``EnvironmentFault`` when some do not end.
    """
    ended: set[Found] = set()
    asked: set[Found] = set()
    deadline, polite = Deadline(_SECONDS), Deadline(_POLITE)
    quiet: Deadline | None = None
    while True:
        found = list(find(paths, record))
        ended.update(found)
        for each in found:
            if not each.polite or polite.passed:
                _signal(each, signal.SIGKILL)
            elif each not in asked:
                asked.add(each)
                # Immediate shutdown: its shared memory goes with it, as it does not by SIGKILL.
                _signal(each, signal.SIGQUIT)
        if found:
            quiet = None
            if deadline.passed:
                raise EnvironmentFault(
                    f"processes of {paths.name} do not end: {', '.join(str(each.pid) for each in found)}",
                    f"end them (kill), then: dqctl ci down {paths.name}",
                )
            _wait(found)
        else:
            quiet = quiet or Deadline(_SETTLED if settle else 0.0)
            if quiet.passed:
                return len(ended)
            time.sleep(_POLL)


def find(paths: CiPaths, record: Record) -> Iterator[Found]:
    """The stack's processes, but for this one and those that it was started by."""
    own = _lineage()
    root = str(paths.root)
    cookie = f"{COOKIE}={record.command.cookie}".encode() if record.command else None
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208 - numbers, of many processes
        if pid in own:
            continue
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            if not line:  # of the kernel, or ended
                continue
            ours, polite = _is_of_stack(pid, line, root, str(paths.stack.postgres))
            if not ours and cookie:
                ours = cookie in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            started = started_at(pid) if ours else None
            if started is not None:
                yield Found(pid, started, polite)


def _is_of_stack(pid: int, line: bytes, root: str, data: str) -> tuple[bool, bool]:
    """Whether it is of the stack, by its command line, and whether it is to end by itself."""
    named = root.encode() in line
    if not named and not line.startswith(b"postgres:"):  # what a backend calls itself
        return False, False
    arguments = line.split(b"\0")
    if named and _WORKSPACE in arguments:
        return True, False
    program = processes.link_of(pid, "exe").name.removesuffix(" (deleted)")
    if named:
        first = program == "postgres" and arguments[1:2] == [b"-D"]
        return program in _PROGRAMS and _names(arguments, root), first
    return program == "postgres" and str(processes.link_of(pid, "cwd")) == data, True


def _names(arguments: list[bytes], root: str) -> bool:
    """Whether an argument is a path at or below ``root``, by itself or behind ``=``, or a shell's text has one."""
    inside = f"{root}/".encode()
    texts = [each.rpartition(b"=")[2] for each in arguments]
    if any(each == root.encode() or each.startswith(inside) for each in texts):
        return arguments[0].rpartition(b"/")[2] not in (b"sh", b"dash", b"bash")
    # pg_ctl starts the server by a shell.
    return arguments[1:2] == [b"-c"] and b"postgres" in arguments[2] and inside in arguments[2]


def _lineage() -> set[int]:
    """This process and those above it: a command may take its own stack down."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2]
        except OSError:
            break
        pid = int(fields.split()[1])
    return found


def _wait(found: Iterable[Found]) -> None:
    """Wait until they have ended, or not so long: to look for others costs more."""
    deadline = Deadline(_LOOK)
    while not deadline.passed and any(started_at(each.pid) == each.started for each in found):
        time.sleep(_POLL)


def _signal(found: Found, number: signal.Signals) -> None:
    """Signal that very process, and nobody who has its number now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(found.pid)
        try:
            if started_at(found.pid) == found.started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
