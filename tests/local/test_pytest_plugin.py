"""The pytest plugin as its users have it: pytest as a process, docs/pytest.md as it stands, a real stack."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.clock import Deadline
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.testing.local import Attached
from remains import processes_of, wait_until_nothing_is_left

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]

_PAGE = Path(__file__).parents[2] / "docs" / "pytest.md"
_BROKEN = "UPDATE main.shop.orders SET amount = NULL WHERE order_id % 4 = 0"


def _block(heading: str, language: str) -> str:
    section = _PAGE.read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    return section.split(f"```{language}\n", 1)[1].split("```", 1)[0]


@dataclass(frozen=True)
class Project:
    """Somebody's project with tests, whose pytest is run with a home and a directory for temporary files."""

    root: Path
    home: Path
    temporary: Path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "DQCTL_HOME": str(self.home),
            "DQCTL_STATE": "off",
            "TMPDIR": str(self.temporary),
        }
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(self.root / "temp")]
        return subprocess.Popen(
            [*argv, *arguments],
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def pytest(self, *arguments: str, code: int = 0) -> str:
        with self.start(*arguments) as process:
            said, _ = process.communicate(timeout=800)
        assert process.returncode == code, said
        return said


def _project(root: Path, home: Path) -> Project:
    (root / "tmp").mkdir()
    (root / "test_workspace.py").write_text(_block("A workspace", "python"), encoding="utf-8")
    return Project(root, home, root / "tmp")


@dataclass(frozen=True)
class Kept:
    """A project whose stack was kept, and what its first run said."""

    project: Project
    said: str
    name: str
    run: CommandLine

    def properties(self, file: Path) -> dict[str, dict[str, str]]:
        """Of the data tests in a JUnit file, by name."""
        return {
            case.attrib["name"]: {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
            for case in ET.parse(file).iter("testcase")  # noqa: S314 - pytest has written it
            if case.attrib["classname"].startswith("systems")
        }


@pytest.fixture(scope="module")
def kept(module_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """The documentation's example, run once by two workers."""
    project = _project(tmp_path_factory.mktemp("project"), module_home)
    (project.root / "test_stack.py").write_text(_block("A stack", "python"), encoding="utf-8")
    (project.root / "systems.yaml").write_text(_block("Data tests as items", "yaml"), encoding="utf-8")
    seeds = project.root / "seeds" / "shop"
    seeds.mkdir(parents=True)
    orders = [f"{number},{5 + number * 37 % 100},{number % 3}" for number in range(1, 201)]
    (seeds / "orders.csv").write_text("\n".join(["order_id,amount,kind", *orders]), encoding="utf-8")
    at_home = CommandLine(module_home, {"DQCTL_STATE": "off"})
    try:
        said = project.pytest(
            "-n", "2", "--dist", "loadfile", "-v", "--dq-system", "systems.yaml", "--dq-seed", "seeds", "--dq-keep"
        )
        (directory,) = (module_home / "ci").glob("pytest-*")
        environment = {"DQCTL_STACK": directory.name, "DQCTL_WORKSPACE": str(directory / "workspace")}
        yield Kept(project, said, directory.name, CommandLine(directory, environment))
    finally:
        at_home("ci", "down", "--all-mine")


def test_the_examples_of_the_documentation_pass_beside_data_tests_on_one_stack(kept: Kept) -> None:
    assert "4 passed" not in kept.said, "there are data tests, too"
    assert "PASSED systems.yaml::orders::Required[orders.amount]" in kept.said
    assert "PASSED test_stack.py::test_the_pipeline_lets_no_name_get_lost" in kept.said
    for test in ("a_merge_updates_and_inserts", "the_sdk_sees_the_schema", "a_program_that_knows_databricks_only"):
        assert f"PASSED test_workspace.py::test_{test}" in kept.said
    assert f"dqctl ci down {kept.name}" in kept.said
    assert list(kept.project.temporary.iterdir()) == [], "nothing else is kept"
    with Attached(_endpoint(kept)).connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SCHEMAS")
        schemas = {row[0] for row in cursor.fetchall()}
    assert not [name for name in schemas if name.startswith("dqctl_ci_")], "tests drop theirs"


def _endpoint(kept: Kept) -> Endpoint:
    found = Endpoint.read(kept.run.home / "workspace")
    assert found
    return found


def test_what_is_wrong_with_the_data_is_told_by_the_tests_that_found_it_after_one_run(kept: Kept) -> None:
    project = Project(kept.project.root, kept.run.home, kept.project.temporary)
    definitions = kept.run.document("definitions", "orders")["definitions"]
    before = len(kept.run.document("runs", "--kind", "test", "--limit", "100")["runs"])
    with Attached(_endpoint(kept)).connect() as connection, connection.cursor() as cursor:
        cursor.execute(_BROKEN)
    said = project.pytest(
        "systems.yaml", "-n", "2", "--dist", "load", "--dq-stack", kept.name, "--junitxml", "junit.xml", code=1
    )
    tests = kept.properties(project.root / "junit.xml")
    assert len(tests) == len(definitions)
    assert tests["Required[orders.amount]"]["dq_status"] == "Failed"
    assert tests["Required[orders.amount]"]["dq_measure"] == "50"
    assert tests["Required[orders.amount]"]["dq_threshold"] == "0"
    assert tests["Required[orders.amount]"]["dq_dimension"] == "Completeness"
    assert {each["dq_column"] for each in tests.values() if each["dq_status"] == "Failed"} == {"amount"}
    for part in ("Failed: Missing values: 50, Threshold: 0", "measure    50 (Missing values)", "threshold  0"):
        assert part in said
    assert "Traceback" not in said
    after = kept.run.document("runs", "--kind", "test", "--limit", "100")["runs"]
    assert len(after) == before + 1, "the suite was run once for all workers and items"

    # The same broken data, where it is not to fail anything, by the definitions of a file.
    (project.root / "orders.json").write_text(
        json.dumps(kept.run.document("definitions", "orders")), encoding="utf-8"
    )
    chosen = ("--dq-definitions", "orders.json", "-m", "dq(test_type='required', column='amount')")
    said = project.pytest("systems.yaml", "--dq-stack", kept.name, "--dq-fail-on", "never", *chosen)
    assert "DataQualityWarning: systems.yaml::orders::Required[orders.amount]: Failed: Missing values: 50" in said
    assert "1 passed" in said
    assert "deselected" in said


def test_what_goes_wrong_while_the_stack_comes_up_is_one_error(kept: Kept, tmp_path: Path) -> None:
    project = _project(tmp_path, kept.project.home)
    (tmp_path / "systems.yaml").write_text(_block("Data tests as items", "yaml"), encoding="utf-8")
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "orders.avro").write_text("no seed")
    with project.start("-n", "2", "--dq-system", "systems.yaml", "--dq-seed", "seeds") as process:
        said, _ = process.communicate(timeout=800)
    assert process.returncode in (1, 2), said
    assert said.count("ERROR systems.yaml") == 1
    assert "orders.avro" in said
    assert "Traceback" not in said
    wait_until_nothing_is_left(project.temporary)


_HANGING = """
import os, signal, time

def test_that_hangs(dq_schema):
    open("hangs", "w").write(str(os.getpid()))
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_interrupted_or_killed_leaves_nothing(
    number: signal.Signals, module_home: Path, tmp_path: Path
) -> None:
    project = _project(tmp_path, module_home)
    (tmp_path / "test_hangs.py").write_text(_HANGING)
    with project.start("test_hangs.py") as process:
        _wait_for(tmp_path / "hangs", process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=400)
    assert process.returncode == (2 if number is signal.SIGINT else -number), said
    wait_until_nothing_is_left(project.temporary)


_KILLED = """
import os, signal

def test_that_dies(dq_workspace):
    with dq_workspace.connect():
        os.kill(os.getpid(), signal.SIGKILL)

def test_that_goes_on(dq_workspace, dq_schema):
    dq_schema.cursor.execute("CREATE TABLE t AS SELECT 1 AS a")
    print("port", dq_workspace.port)
"""


def test_two_runs_at_once_and_a_worker_that_dies_disturb_nobody(module_home: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = _project(tmp_path / "one", module_home), _project(tmp_path / "other", module_home)
    (one.root / "test_killed.py").write_text(_KILLED)
    with one.start("-n", "2", "--dist", "load", "test_killed.py") as dying:
        other.pytest("test_workspace.py", "-k", "not program")
        said, _ = dying.communicate(timeout=800)
    assert dying.returncode == 1, said
    assert "1 failed, 1 passed" in said
    assert "crashed while running" in said
    for project in (one, other):
        wait_until_nothing_is_left(project.temporary)
        assert processes_of(project.temporary) == []


def _wait_for(file: Path, process: "subprocess.Popen[str]") -> None:
    deadline = Deadline(400)
    while not file.exists() or not file.read_text():
        assert process.poll() is None, process.communicate()
        assert not deadline.passed
        time.sleep(0.05)
