"""The command that ``ci run`` runs inside the stack."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault, UsageError

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDIN, _STDERR = 0, 2
_LOOK = 0.5  # seconds between two looks at what may have changed without a word


def require(argv: Sequence[str]) -> None:
    """``UsageError`` when there is no such program: better now than when a stack was made for it."""
    if not shutil.which(argv[0]):
        raise UsageError(f"there is no program {argv[0]!r}", "check its name and the PATH")


def attend(argv: Sequence[str], environment: Mapping[str, str], deadline: Deadline, *, quiet_stdout: bool) -> int:
    """Run the user's program to its end and return its exit code, 128 + N when signal N ended it, or us.

    Ctrl-C and SIGTERM are passed on; what goes on after ``processes.GRACE`` is killed. With ``quiet_stdout`` what
    it says goes to stderr. Raises ``EnvironmentFault`` when ``deadline`` passes.
    """
    # With a terminal it stays in our group, so that it may read from it; Ctrl-C reaches it by itself then.
    at_terminal = os.isatty(_STDIN)
    # Signals are ours from before the program's start: it may say that it is there before we know it.
    with _passing_on(at_terminal) as signals:
        process = processes.hand_over(
            argv, environment=environment, own_group=not at_terminal, stdout=_STDERR if quiet_stdout else None
        )
        signals.pass_to(process)
        over: Deadline | None = None
        while not _ended(process):
            if signals.came and over is None:
                over = Deadline(processes.GRACE)
            if deadline.passed or (over and over.passed):
                _end(process, at_terminal)
                if not signals.came:
                    raise EnvironmentFault(
                        f"{argv[0]} did not end within the stack's time and was stopped", "give it a longer --ttl"
                    )
        process.wait()
        if signals.came:
            return 128 + signals.came[0]
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Nothing that anybody signals interrupts the block: it takes down what was to be taken down anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Signals:
    """Signals that came, and the program that they are passed on to as soon as it is there."""

    def __init__(self, at_terminal: bool) -> None:
        self.came: list[int] = []
        self._early: list[int] = []
        self._at_terminal = at_terminal
        self._process: subprocess.Popen[bytes] | None = None

    def pass_to(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        for number in self._early:
            self._pass_on(process, number)

    def take(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        del frame
        self.came.append(number)
        if self._process is None:
            self._early.append(number)
        else:
            self._pass_on(self._process, number)

    def _pass_on(self, process: "subprocess.Popen[bytes]", number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not self._at_terminal:
                os.killpg(process.pid, number)
            elif number != signal.SIGINT:
                process.send_signal(number)


@contextlib.contextmanager
def _passing_on(at_terminal: bool) -> Iterator[_Signals]:
    """Signals that come in the block go to the program that it starts."""
    signals = _Signals(at_terminal)
    before = {number: signal.signal(number, signals.take) for number in _PASSED_ON}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has ended, which is waited for some time; it is not reaped, so that its number stays its own."""
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], _LOOK)[0])
    finally:
        os.close(descriptor)


def _end(process: "subprocess.Popen[bytes]", at_terminal: bool) -> None:
    if at_terminal:
        process.kill()
    else:
        processes.stop_group(process, 0.0)
