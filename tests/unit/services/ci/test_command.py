"""The program that ``ci run`` runs inside: signals reach it, whenever they come."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.services.ci import command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_program_is_known_reaches_it(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program runs, and waits, before its start has come back to us; that is when somebody signals."""
    waits, told = tmp_path / "waits", tmp_path / "told"
    start: Callable[..., subprocess.Popen[bytes]] = processes.hand_over

    def start_and_signal(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        process = start(*arguments, **options)
        deadline = Deadline(60)
        while not waits.exists():
            assert not deadline.passed
            time.sleep(0.01)
        os.kill(os.getpid(), number)
        return process

    monkeypatch.setattr(processes, "hand_over", start_and_signal)
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo told >> {told}; kill $!; exit 0' {name}\nsleep 1000 &\n: > {waits}\nwait"
    before = signal.getsignal(number)
    code = command.attend(["sh", "-c", script], dict(os.environ), Deadline(60), quiet_stdout=False)
    assert code == 128 + number
    assert told.read_text() == "told\n"
    assert signal.getsignal(number) == before
