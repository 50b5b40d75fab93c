"""The oldest packages that pyproject.toml allows: who has these already has a dqctl that works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dqctl.localworkspace import control
from tiers import unavailable

pytestmark = [pytest.mark.local, pytest.mark.thorough, pytest.mark.timeout(900)]

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def dqctl(tmp_path: Path) -> Path:
    """The command in an environment of its own."""
    venv = tmp_path / "venv"
    for command in (
        ["venv", "--python", sys.executable, venv],
        ["pip", "install", "--python", venv, "--resolution=lowest-direct", f"{PROJECT}[demo]"],
    ):
        uv = [sys.executable, "-m", "uv", "--quiet", *command]
        done = subprocess.run(uv, capture_output=True, text=True, timeout=280)
        if done.returncode:
            unavailable("local", f"the oldest packages cannot be installed: {done.stderr.strip()[-500:]}")
    return venv / "bin" / "dqctl"


def test_the_main_job_is_done_with_them(dqctl: Path, home: Path) -> None:
    try:
        done = subprocess.run(
            [dqctl, "--home", home, "demo", "--output", "json"], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
    finally:
        control.stop(home / "workspaces" / "demo")
    assert {run["status"] for run in said["runs"]} == {"completed"}
    clean, broken = said["results"]
    assert clean["error"] == broken["error"] == 0
    assert len([caught for caught in said["caught"] if caught["tests"]]) == 3
    assert broken["failed"] > clean["failed"]
