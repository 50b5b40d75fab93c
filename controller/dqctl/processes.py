"""The one place that starts processes.

A process gets a list of arguments (never a shell), a process group of its own and a deadline. Whatever ends the
wait (the deadline, Ctrl-C, SIGTERM, an error in ``on_line``), nothing of the group is left: SIGTERM, ten seconds
to clean up, SIGKILL. If dqctl itself is killed, the kernel kills the process at once (Linux): a stack's lock goes
with dqctl, so nothing may go on working behind it.
"""

import contextlib
import ctypes
import logging
import os
import pwd
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from dqctl import signals
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE
from dqctl.redaction import holds_secret

logger = logging.getLogger(__name__)

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_POLL = 0.02  # seconds between two looks at a process that says nothing
_LINK = 10.0  # seconds to read a link, which takes a thousandth of one
_LINGER = 1.0  # seconds to wait for the last output of a process that has ended

Line = Callable[[str], None]


class Feed:
    """What a program reads on stdin, told piece by piece while it runs; once at most, by one program.

    Whoever starts the program has to ``end`` it: somebody waits for the next piece until then.
    """

    def __init__(self) -> None:
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def tell(self, piece: str) -> None:
        """Let the program read ``piece``."""
        self._pieces.put(piece)

    def end(self) -> None:
        """There is nothing more to read."""
        self._pieces.put(None)

    def __iter__(self) -> Iterator[str]:
        """The pieces, as they come."""
        while (piece := self._pieces.get()) is not None:
            yield piece


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Completed:
    """A finished process. Output is text, decoded as UTF-8 with replacement. A signal N gives exit code -N.

    ``files`` is what it wrote and was asked for, by name: only runtimes ask (``Runtime.run``).
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    files: Mapping[str, bytes] = field(default_factory=dict)


def run(
    argv: Sequence[str],
    *,
    deadline: Deadline,
    environment: Mapping[str, str],
    stdin: str | Path | Feed = "",
    stdout: Path | None = None,
    cwd: Path | None = None,
    on_line: Line | None = None,
    on_error_line: Line | None = None,
    account: str | None = None,
    grace: float = GRACE,
) -> Completed:
    """Run ``argv`` to its end and return what it said; any exit code is returned, not raised.

    ``environment`` is all that the process gets. ``stdin`` is text, a file or a feed; ``stdout`` is a file that
    takes what it says, as bytes, and belongs to nobody else (0600): neither file passes through our memory, and
    there are no lines then. ``on_line`` (``on_error_line``) gets each line of stdout (stderr) as it comes, without
    its end, in the caller's thread. ``account`` is the OS account to become (root only), ``grace`` the seconds
    that SIGTERM leaves it. Raises ``EnvironmentFault`` when the program cannot be started or the deadline passes,
    ``ValueError`` when an argument holds a secret.
    """
    _refuse_secrets(argv)
    started = time.monotonic()
    with contextlib.ExitStack() as opened, signals.unwinding():
        source = opened.enter_context(stdin.open("rb")) if isinstance(stdin, Path) else subprocess.PIPE
        sink = opened.enter_context(private_file(stdout)) if stdout else subprocess.PIPE
        process = _start(argv, environment, cwd, account, (source, sink, subprocess.PIPE))
        try:
            told = () if isinstance(stdin, Path) else (stdin,) if isinstance(stdin, str) else stdin
            output = _converse(process, told, deadline, (on_line, on_error_line))
        except BaseException:
            stop_group(process, grace)
            raise
        if output is None:
            stop_group(process, grace)
            raise not_in_time(argv, deadline)
    seconds = time.monotonic() - started
    logger.debug("exit code %s after %.1f s: %s", process.returncode, seconds, shlex.join(argv))
    return Completed(process.returncode, output[0], output[1], seconds)


def not_in_time(argv: Sequence[str], deadline: Deadline) -> EnvironmentFault:
    """The error of a program that was stopped because its deadline passed."""
    return EnvironmentFault(
        f"{Path(argv[0]).name} did not finish within {deadline.seconds:.0f} s and was stopped",
        "run the command again when this machine has less to do, or with a longer --timeout where it takes one; "
        "dqctl logs may say what it waited for",
    )


def start(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdout: IO[bytes] | None = None,
    told: bool = False,
) -> "subprocess.Popen[bytes]":
    """Start ``argv`` and do not wait for it: whoever starts it looks after it, and ends it with ``stop_groups``.

    It says what it says where we do, or writes it to the file ``stdout``. With ``told`` its stdin is a pipe, by
    which it is told something, else there is nothing to read. It dies with the thread that starts it. Raises
    ``EnvironmentFault`` when it cannot be started, ``ValueError`` when an argument holds a secret.
    """
    _refuse_secrets(argv)
    source = subprocess.PIPE if told else subprocess.DEVNULL
    return _start(argv, environment, None, None, (source, stdout, None))


def hand_over(
    argv: Sequence[str], *, environment: Mapping[str, str], own_group: bool, stdout: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program of the user's, with our own streams (``stdout``: another one than ours), and do not wait.

    Its arguments are the user's affair. It dies with the thread that starts it; its children do not. Raises
    ``EnvironmentFault`` when it cannot be started.
    """
    return _start(argv, environment, None, None, (None, stdout, None), own_group=own_group)


def leave_behind(argv: Sequence[str], *, environment: Mapping[str, str], told: bool) -> "subprocess.Popen[bytes]":
    """Start ``argv`` in a session of its own, in which it outlives us; it says nothing to anybody.

    With ``told`` its stdin is a pipe, which ends with us at the latest. It is where we are: paths in variables may
    be relative.
    """
    _refuse_secrets(argv)
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE if told else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
        start_new_session=True,
    )


def stop_groups(processes: "Sequence[subprocess.Popen[bytes]]", grace: float) -> None:
    """End all of ``processes`` and their groups together: SIGTERM, ``grace`` seconds for all of them, SIGKILL."""
    for process in processes:
        _signal_group(process.pid, signal.SIGTERM)
    deadline = Deadline(grace)
    for process in processes:
        stop_group(process, deadline.left)


def link_of(pid: int, name: str) -> Path:
    """Where ``/proc/<pid>/<name>`` leads: ``cwd`` or ``exe``; ``OSError`` when nobody can say.

    Root of a container has no CAP_SYS_PTRACE, as a rule, and may not see it of a process that is another
    account's: then it is asked as that account.
    """
    link = Path(f"/proc/{pid}/{name}")
    try:
        return link.readlink()
    except PermissionError:
        owner = link.parent.stat()
        if os.geteuid() or not owner.st_uid:
            raise
        done = subprocess.run(
            ["/usr/bin/readlink", "--no-newline", str(link)],
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
            env={"LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LINK,
            check=False,
        )
        if done.returncode:
            raise
        return Path(os.fsdecode(done.stdout))


def private_file(path: Path) -> IO[bytes]:
    """``path``, new or emptied, for a program's output: nobody else may read it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE), "wb")


def stop_group(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End ``process`` and everything in its group: SIGTERM, ``grace`` seconds, SIGKILL."""
    _signal_group(process.pid, signal.SIGTERM)
    deadline = Deadline(grace)
    while not deadline.passed and not _has_exited(process):
        time.sleep(0.02)
    # The leader is not reaped yet, so its number, which is the group's, cannot belong to anybody else.
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _refuse_secrets(argv: Sequence[str]) -> None:
    for position, argument in enumerate(argv):
        if holds_secret(argument):
            # Every account of the machine can read arguments. A defect of ours: no advice for the user.
            raise ValueError(f"argument {position} of {Path(argv[0]).name} holds a secret")


def _start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path | None,
    account: str | None,
    streams: tuple[IO[bytes] | int | None, IO[bytes] | int | None, int | None],
    *,
    own_group: bool = True,
) -> "subprocess.Popen[bytes]":
    entry = pwd.getpwnam(account) if account else None
    process = None
    try:
        with signals.held():
            process = subprocess.Popen(
                list(argv),
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=dict(environment),
                cwd=cwd,
                process_group=0 if own_group else None,
                preexec_fn=dies_with(os.getpid(), signal.SIGKILL),  # noqa: PLW1509 - two system calls and no more
                user=entry.pw_uid if entry else None,
                group=entry.pw_gid if entry else None,
                extra_groups=os.getgrouplist(entry.pw_name, entry.pw_gid) if entry else None,
            )
    except OSError as error:
        raise EnvironmentFault(
            f"{argv[0]} cannot be started: {error.strerror or error}", "check that it exists and may be executed"
        ) from error
    except BaseException:  # a signal came meanwhile: nobody else knows of the process
        if process is not None:
            _signal_group(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        raise
    return process


def dies_with(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """What has the new process get a signal when ``parent`` dies; runs in the child between fork and exec.

    SIGKILL in this module: a process that took its time over SIGTERM would go on writing when the lock is free.
    """
    if _libc is None:
        return None
    prctl, getppid, leave = _libc.prctl, os.getppid, os._exit

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if getppid() != parent:  # it died before the kernel knew
            leave(1)

    return arrange


def _converse(
    process: "subprocess.Popen[bytes]",
    stdin: Iterable[str],
    deadline: Deadline,
    listeners: tuple[Line | None, Line | None],
) -> tuple[str, str] | None:
    """Feed and read the process until it ends; None when the deadline passed first."""
    lines = _attach(process, stdin)
    read: tuple[list[str], list[str]] = ([], [])
    open_streams = 2 if process.stdout else 1
    ended: Deadline | None = None
    while open_streams or not ended:
        if ended is None and _has_exited(process):
            # What it left behind in its group must not hold the pipes, and us; a daemon that left the group may.
            _signal_group(process.pid, signal.SIGKILL)
            ended = Deadline(_LINGER)
        if ended is None and deadline.passed:
            return None
        try:
            stream, line = lines.get(timeout=_POLL)
        except queue.Empty:
            if ended and ended.passed:
                break
            continue
        if line is None:
            open_streams -= 1
            continue
        read[stream].append(line)
        if listener := listeners[stream]:
            listener(line.rstrip("\r\n"))
    process.wait()
    return "".join(read[0]), "".join(read[1])


def _attach(
    process: "subprocess.Popen[bytes]", stdin: Iterable[str]
) -> "queue.SimpleQueue[tuple[int, str | None]]":
    """Feed and read in threads, so that no full pipe stops the process; the queue gets (stream, line or end)."""
    lines: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
    if process.stdin:
        threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True).start()
    for stream, pipe in enumerate((process.stdout, process.stderr)):
        if pipe:
            threading.Thread(target=_read, args=(pipe, stream, lines), daemon=True).start()
    return lines


def _feed(pipe: IO[bytes], pieces: Iterable[str]) -> None:
    # A process need not read what it is given.
    with contextlib.suppress(BrokenPipeError), pipe:
        for piece in pieces:
            pipe.write(piece.encode())
            pipe.flush()


def _read(pipe: IO[bytes], stream: int, lines: "queue.SimpleQueue[tuple[int, str | None]]") -> None:
    try:
        with pipe:
            for line in pipe:
                lines.put((stream, line.decode("utf-8", "replace")))
    finally:
        lines.put((stream, None))


def _has_exited(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the process has ended, without reaping it (see ``stop_group``)."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
