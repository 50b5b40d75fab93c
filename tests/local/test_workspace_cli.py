"""``dqctl workspace`` as people and scripts use it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dqctl.localworkspace import control

pytestmark = pytest.mark.local


def dqctl(*arguments: str, home: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dqctl", "--home", str(home), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"DQCTL_OUTPUT": "table"},
    )


def as_json(*arguments: str, home: Path) -> Any:
    return json.loads(dqctl("--output", "json", *arguments, home=home).stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("home")
    yield path
    control.stop(path / "workspaces" / "default")


@pytest.fixture(scope="module")
def started(home: Path) -> Any:
    return as_json(
        "workspace", "start", "--set", "ANSI_MODE=false", "--catalog", "main", "--catalog", "dev", home=home
    )


def test_start_says_how_to_get_there(started: Any, home: Path) -> None:
    assert started["outcome"] == "done"
    assert started["data_dir"] == str(home / "workspaces" / "default")
    assert started["environment"]["DATABRICKS_HOST"] == f"https://{started['host']}"
    assert Path(started["environment"]["DATABRICKS_TOKEN_FILE"]).is_file()
    token = Path(started["token_file"]).read_text().strip()
    again = dqctl("workspace", "start", home=home)
    assert f"export DQCTL_WORKSPACE={started['data_dir']}" in again.stdout
    assert token not in again.stdout + again.stderr + json.dumps(started)


@pytest.mark.usefixtures("started")
def test_status_shows_that_it_answers(home: Path) -> None:
    found = as_json("workspace", "status", home=home)
    assert (found["running"], found["answers"], found["engine"]) == (True, True, "sail")


@pytest.mark.usefixtures("started")
def test_sql_prints_rows_even_when_two_columns_share_a_name(home: Path) -> None:
    done = dqctl("workspace", "sql", home=home, stdin="SELECT 1 AS a, 'x' AS a, 1 / 0 AS b;\n")
    assert (done.returncode, done.stderr.strip()) == (0, "1 row")
    assert [line.split() for line in done.stdout.splitlines()] == [["a", "a", "b"], ["1", "x"]]
    found = as_json("workspace", "sql", "SELECT DATE'2024-02-29' AS d, 1.5 AS n", home=home)
    assert (found["columns"], found["rows"]) == (["d", "n"], [["2024-02-29", "1.5"]])


@pytest.mark.usefixtures("started")
def test_a_statement_that_fails_ends_with_its_reason(home: Path) -> None:
    done = dqctl("workspace", "sql", "SELECT * FROM dev.default.nowhere", home=home)
    assert done.returncode == 2
    assert "[TABLE_OR_VIEW_NOT_FOUND]" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [("sql", ""), ("start", "--set", "ANSI_MODE")])
def test_what_makes_no_sense_is_a_usage_error(home: Path, arguments: tuple[str, ...]) -> None:
    assert dqctl("workspace", *arguments, home=home).returncode == 2


def test_what_does_not_run_is_said_with_the_way_to_start_it(tmp_path: Path) -> None:
    for command in (("status",), ("sql", "SELECT 1")):
        done = dqctl("workspace", *command, home=tmp_path)
        assert done.returncode == 3
        assert "dqctl workspace start --data-dir" in done.stderr
    assert dqctl("workspace", "stop", home=tmp_path).returncode == 0
