"""The demo, as a new user runs it: real data, real TestGen, and what it says is true."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from dqctl.localworkspace import control

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]


def run_demo(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "dqctl", "demo", *options],
        env={name: value for name, value in os.environ.items() if name != "DQCTL_STATE"}
        | {"DQCTL_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=800,
    )


@pytest.fixture
def demo_home(home: Path) -> Iterator[Path]:
    yield home
    control.stop(home / "workspaces" / "demo")


def published(workspace: dict[str, Any], table: str) -> int:
    """Rows that any Delta reader finds, past all of our code."""
    (location,) = (Path(workspace["data_dir"]) / "tables/main/data_quality").glob(f"{table}-*")
    rows: int = DeltaTable(location).to_pyarrow_table().num_rows
    return rows


def test_the_demo_catches_every_defect_and_can_be_repeated(demo_home: Path) -> None:
    first = run_demo(demo_home, "--output", "json")
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert [run["kind"] for run in said["runs"]] == ["profile", "generate", "test", "test"]
    assert {run["status"] for run in said["runs"]} == {"completed"}
    clean, broken = said["results"]
    assert clean["error"] == broken["error"] == 0
    assert broken["failed"] > clean["failed"]
    assert all(caught["tests"] for caught in said["caught"])
    assert len(said["caught"]) == 3
    for table, rows in said["published"].items():
        assert published(said["workspace"], table) == rows, table
    page = Path(said["report"]).read_text()
    assert broken["run_id"] in page

    second = run_demo(demo_home)
    assert second.returncode == 0, second.stderr
    assert "JetBlue's flights of March" in second.stdout
    assert published(said["workspace"], "dq_runs") == 2 * said["published"]["dq_runs"]
