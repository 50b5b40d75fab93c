"""``dqctl`` as tests run it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from dqctl.clock import Deadline
from remains import processes_of

RUN = """
import sys
from dqctl.testing import commands
sys.executable = {program!r}
commands.dqctl({{}}, "runs", timeout=600)
"""


def test_a_command_of_tests_that_are_killed_is_told_to_end(tmp_path: Path) -> None:
    program, began, told = tmp_path / "dqctl", tmp_path / "began", tmp_path / "told"
    program.write_text(
        f"#!/bin/sh\ntrap 'echo TERM > {told}; kill $!; exit' TERM\nsleep 1000 & : > {began}\nwait\n"
    )
    program.chmod(0o700)
    tests = subprocess.Popen([sys.executable, "-c", RUN.format(program=str(program))])
    deadline = Deadline(60)
    while not began.exists():
        assert not deadline.passed
        time.sleep(0.01)
    tests.kill()
    assert tests.wait() == -signal.SIGKILL
    while processes_of(tmp_path):
        assert not deadline.passed, processes_of(tmp_path)
        time.sleep(0.01)
    assert told.read_text() == "TERM\n"
