"""How long the demo takes: in a clean clone on a machine that has no package cached, and again."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.conftest import Record

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1500)]

FIRST_CEILING = 360.0
AGAIN_CEILING = 60.0
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def clone() -> Iterator[Path]:
    """The project as it was committed, with room beside it for a home and a package cache of its own."""
    room = Path(tempfile.mkdtemp(prefix="dq-"))
    room.chmod(0o711)
    command = ["git", "clone", "--quiet", str(PROJECT), str(room / "clone")]
    subprocess.run(command, check=True, timeout=120)
    yield room / "clone"
    dqctl = room / "clone/.venv/bin/dqctl"
    workspace = room / "home/workspaces/demo"
    for end in (["workspace", "stop", "--data-dir", str(workspace)], ["uninstall", "--purge", "--stack", "demo"]):
        subprocess.run([str(dqctl), *end, "--home", str(room / "home")], timeout=120)
    shutil.rmtree(room)


def seconds(clone: Path) -> float:
    room = clone.parent
    fresh = {"DQCTL_HOME": str(room / "home"), "UV_CACHE_DIR": str(room / "cache"), "PIP_NO_CACHE_DIR": "1"}
    started = time.monotonic()
    done = subprocess.run(
        ["scripts/demo", "--output", "json"],  # noqa: S607 - relative to the clone
        cwd=clone,
        env={**os.environ, **fresh},
        capture_output=True,
        text=True,
        timeout=1400,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 0
    return time.monotonic() - started


def test_the_demo_is_quick(clone: Path, record: Record) -> None:
    first, again = seconds(clone), seconds(clone)
    record("scripts/demo in a clean clone", first, "s", ceiling=FIRST_CEILING)
    record("scripts/demo again", again, "s", ceiling=AGAIN_CEILING)
    assert first < FIRST_CEILING
    assert again < AGAIN_CEILING
