"""The demo, as a new user runs it: real data, real TestGen, and what it says is true."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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


def published(workspace: dict[str, Any], table: str) -> int:
    """Rows that any Delta reader finds, past all of our code."""
    (location,) = (Path(workspace["data_dir"]) / "tables/main/data_quality").glob(f"{table}-*")
    rows: int = DeltaTable(location).to_pyarrow_table().num_rows
    return rows


@dataclass(frozen=True)
class Demo:
    """The first one in a home: what it said, and the rows of each table then."""

    home: Path
    said: dict[str, Any]
    rows: dict[str, int]


@pytest.fixture(scope="module")
def demo(module_home: Path) -> Iterator[Demo]:
    first = run_demo(module_home, "--output", "json")
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    yield Demo(module_home, said, {table: published(said["workspace"], table) for table in said["published"]})
    control.stop(module_home / "workspaces" / "demo")


def test_the_demo_catches_every_defect(demo: Demo) -> None:
    said = demo.said
    assert [run["kind"] for run in said["runs"]] == ["profile", "generate", "test", "test"]
    assert {run["status"] for run in said["runs"]} == {"completed"}
    clean, broken = said["results"]
    assert clean["error"] == broken["error"] == 0
    assert broken["failed"] > clean["failed"]
    assert all(caught["tests"] for caught in said["caught"])
    assert len(said["caught"]) == 3
    assert demo.rows == said["published"]
    assert broken["run_id"] in Path(said["report"]).read_text()


@pytest.mark.thorough
def test_the_demo_can_be_repeated(demo: Demo) -> None:
    second = run_demo(demo.home)
    assert second.returncode == 0, second.stderr
    assert "JetBlue's flights of March" in second.stdout
    assert published(demo.said["workspace"], "dq_runs") == 2 * demo.rows["dq_runs"]
