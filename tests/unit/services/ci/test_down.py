"""Taking down what somebody still makes or uses; a program of a line stands in for him."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.services.ci import record
from dqctl.services.ci.down import down
from dqctl.services.ci.owner import Owner
from dqctl.services.ci.record import CiPaths, Record
from dqctl.services.ci.remains import end_owner
from dqctl.settings import load


def stack(home: Path, owner: Owner) -> CiPaths:
    paths, now = CiPaths(home, "owned"), datetime.now(UTC)
    made = Record(name="owned", runtime="local", owner=owner, created=now, expires=now + timedelta(hours=1))
    record.create(paths, made)
    return paths


def started(tmp_path: Path, on_sigterm: str) -> tuple["subprocess.Popen[bytes]", Owner]:
    ready = tmp_path / "ready"
    source = f"import signal, sys, time; signal.signal(signal.SIGTERM, {on_sigterm}); open({str(ready)!r}, 'w')"
    process = subprocess.Popen([sys.executable, "-c", f"{source}; time.sleep(1000)"])
    deadline = Deadline(60)
    while not ready.exists():
        assert not deadline.passed
        time.sleep(0.01)
    owner = Owner.of(process.pid)
    assert owner
    return process, owner


def test_its_owner_is_ended_before(tmp_path: Path) -> None:
    process, owner = started(tmp_path, "lambda *_: sys.exit(7)")
    paths = stack(tmp_path, owner)
    down(load({"home": tmp_path}, {}), "owned")
    assert process.wait() == 7
    assert not paths.root.exists()


def test_an_owner_that_does_not_end_is_killed(tmp_path: Path) -> None:
    process, owner = started(tmp_path, "signal.SIG_IGN")
    end_owner(owner, patience=0.1)
    assert process.wait() == -signal.SIGKILL


def test_its_own_command_may_take_it_down(tmp_path: Path) -> None:
    for pid in (os.getpid(), os.getppid()):
        owner = Owner.of(pid)
        assert owner
        paths = stack(tmp_path, owner)
        down(load({"home": tmp_path}, {}), "owned")
        assert not paths.root.exists()


def test_whoever_has_the_number_of_its_owner_now_is_left_alone(tmp_path: Path) -> None:
    process, owner = started(tmp_path, "signal.SIG_DFL")
    stack(tmp_path, owner.model_copy(update={"started": 1}))
    down(load({"home": tmp_path}, {}), "owned")
    assert process.poll() is None
    process.kill()
    process.wait()


def test_what_was_taken_down_while_it_was_made_cannot_be_finished_and_is_found_again(tmp_path: Path) -> None:
    paths = stack(tmp_path, Owner.here())
    made = record.read(paths)
    assert made
    down(load({"home": tmp_path}, {}), "owned")
    (paths.root / "workspace").mkdir(parents=True)  # which comes about a moment later
    with pytest.raises(EnvironmentFault, match="somebody has taken owned down"):
        record.write(paths, made)
    record.put_back(paths, made)
    assert record.names(tmp_path) == ("owned",)
    down(load({"home": tmp_path}, {}), "owned")
    assert not paths.root.exists()
    record.put_back(paths, made)
    assert record.names(tmp_path) == ("owned",)
