import subprocess
import sys
import time
from pathlib import Path

import pytest

from dqctl.errors import Busy, ExitCode
from dqctl.stack.lock import hold

_HOLDER = """
import sys, time, pathlib
from dqctl.stack.lock import hold
with hold(pathlib.Path(sys.argv[1]), "run-tests nightly"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start_holder(path: Path, seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_busy_names_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start_holder(path, 60) as process:
        try:
            with (
                pytest.raises(Busy, match=f"run-tests nightly.*process {process.pid}") as raised,
                hold(path, "mine"),
            ):
                pytest.fail("two hold one lock")
        finally:
            process.kill()
    assert raised.value.exit_code == ExitCode.BUSY
    assert "DQCTL_LOCK_TIMEOUT" in raised.value.hint


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start_holder(path, 60) as process:
        process.kill()
        process.wait()
    with hold(path, "mine"):
        assert "mine" in (tmp_path / "lock.holder").read_text()
    assert not (tmp_path / "lock.holder").exists()


def test_waiting_says_for_whom_and_then_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    said: list[str] = []
    with start_holder(path, 1), hold(path, "mine", timeout=20, progress=said.append):
        pass
    assert len(said) == 1
    assert "run-tests nightly" in said[0]


def test_waiting_ends_with_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start_holder(path, 60) as process:
        started = time.monotonic()
        with pytest.raises(Busy), hold(path, "mine", timeout=0.4):
            pytest.fail("two hold one lock")
        assert 0.3 < time.monotonic() - started < 10
        process.kill()


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(LookupError), hold(tmp_path / "lock", "mine"):
        raise LookupError
    with hold(tmp_path / "lock", "again"):
        pass
