"""The pytest plugin as its users have it: pytest as a process, docs/pytest.md as it stands, a real stack."""

import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.testing.local import Attached
from pytest_projects import Project, add_systems, block, project_in, written
from remains import processes_of, wait_until_nothing_is_left
from workspaces import running_workspace

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]

_BROKEN = "UPDATE main.shop.orders SET amount = NULL WHERE order_id % 4 = 0"


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
    project = project_in(tmp_path_factory.mktemp("project"), module_home)
    (project.root / "test_stack.py").write_text(block("A stack", "python"), encoding="utf-8")
    add_systems(project)
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


@pytest.mark.thorough
def test_the_examples_of_the_documentation_pass_beside_data_tests_on_one_stack(kept: Kept) -> None:
    assert "4 passed" not in kept.said, "there are data tests, too"
    assert "PASSED systems.yaml::orders::Required[orders.amount]" in kept.said
    assert "PASSED test_stack.py::test_the_pipeline_lets_no_name_get_lost" in kept.said
    for test in ("a_merge_updates_and_inserts", "the_sdk_sees_the_schema", "a_program_that_knows_databricks_only"):
        assert f"PASSED test_workspace.py::test_{test}" in kept.said
    assert f"dqctl ci down {kept.name}" in kept.said
    assert list(kept.project.temporary.iterdir()) == [], "nothing else is kept"
    assert _throw_away(_endpoint(kept)) == set(), "tests drop theirs"


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


@pytest.mark.thorough
def test_what_goes_wrong_while_the_stack_comes_up_is_one_error(kept: Kept, tmp_path: Path) -> None:
    project = project_in(tmp_path, kept.project.home)
    (tmp_path / "systems.yaml").write_text(block("Data tests as items", "yaml"), encoding="utf-8")
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "orders.avro").write_text("no seed")
    with project.start("-n", "2", "--dq-system", "systems.yaml", "--dq-seed", "seeds") as process:
        said, _ = process.communicate(timeout=800)
    assert process.returncode in (1, 2), said
    assert said.count("ERROR systems.yaml") == 1
    assert "orders.avro" in said
    assert "Traceback" not in said
    wait_until_nothing_is_left(project.temporary)


@pytest.mark.thorough
def test_what_would_be_no_items_or_a_job_that_fails_is_one_error(module_home: Path, tmp_path: Path) -> None:
    project = project_in(tmp_path, module_home, PROBE_PASSWORD="probe")
    for name, connection in {
        "empty": "{name: c, catalog: main, schema: nowhere, table_groups: [{name: g, suites: [{name: s}]}]}",
        "away": "{name: c, flavor: postgresql, host: 127.0.0.1, port: 1, database: d, user: u, "
        "password: {env: PROBE_PASSWORD}, schema: x, table_groups: [{name: g, suites: [{name: s}]}]}",
    }.items():
        text = f"version: 1\nsystems:\n  - name: {name}\n    connections:\n      - {connection}\n"
        (tmp_path / f"dq_{name}.yaml").write_text(text)
    said = project.pytest("-n", "2", "dq_empty.yaml", "dq_away.yaml", code=1)
    assert "2 errors" in said
    assert "suite empty/s has no tests: its tables are not there" in said
    assert "the profile run of away/g ended as error: " in said
    assert "Connection refused" in said
    assert "Traceback" not in said
    wait_until_nothing_is_left(project.temporary)


_APPLYING = """
def test_that_applies(dq_system):
    group = {"name": "g", "suites": [{"name": "s"}]}
    connection = {"name": "c", "catalog": "main", "schema": "shop", "table_groups": [group]}
    dq_system({"version": 1, "systems": [{"name": "refused", "connections": [connection]}]})
"""
_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no more suites here'; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON test_suites EXECUTE FUNCTION refuse();
"""


def test_an_apply_that_testgen_refuses_is_told_in_its_words_and_changes_nothing(
    kept: Kept, tmp_path: Path
) -> None:
    project = Project(tmp_path, kept.run.home, kept.project.temporary)
    (tmp_path / "test_applying.py").write_text(_APPLYING)
    with open_runtime(kept.run.settings, silent).metadata() as connection:
        connection.execute(_REFUSING)
    try:
        said = project.pytest("--dq-stack", kept.name, code=1)
    finally:
        with open_runtime(kept.run.settings, silent).metadata() as connection:
            connection.execute("DROP FUNCTION refuse CASCADE")
    assert "CommandFailed: " in said
    assert "no more suites here" in said
    assert [each["name"] for each in kept.run.document("systems", "list")["systems"]] == ["shop"]


@pytest.mark.thorough
def test_in_a_databricks_workspace_all_is_in_schemas_that_are_gone_afterwards(kept: Kept, tmp_path: Path) -> None:
    """A local workspace stands in for a real one: it is somebody else's, and stays."""
    with running_workspace() as endpoint:
        project = project_in(tmp_path, kept.project.home, DQCTL_WORKSPACE=str(endpoint.data_dir))
        add_systems(project)
        (tmp_path / "test_stack.py").write_text(block("A stack", "python"), encoding="utf-8")
        (tmp_path / "test_schemas.py").write_text(_SCHEMAS)
        said = project.pytest("-v", "--dq-databricks", "--dq-system", "systems.yaml", "--dq-seed", "seeds")
        assert "systems.yaml::orders::Required[orders.amount] PASSED" in said
        # pytest.md: the tests that need no stack need nothing but the workspace.
        project.pytest("--dq-databricks", "test_workspace.py")
        wait_until_nothing_is_left(project.temporary)
        seen = set((tmp_path / "schemas").read_text().split())
        assert {name.partition("__")[2] for name in seen} >= {"", "shop"}
        assert _throw_away(endpoint) == set()


_SCHEMAS = """
from pathlib import Path

def test_which_schemas_there_are(dq_workspace, dq_stack):
    with dq_workspace.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SCHEMAS")
        Path("schemas").write_text(" ".join(row[0] for row in cursor.fetchall() if row[0].startswith("dqctl_ci_")))
"""


def _throw_away(endpoint: Endpoint) -> set[str]:
    with Attached(endpoint).connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SCHEMAS")
        return {row[0] for row in cursor.fetchall() if row[0].startswith("dqctl_ci_")}


_HANGING = """
import os, signal, time

def test_that_hangs(dq_schema):
    open("hangs", "w").write(str(os.getpid()))
    time.sleep(600)
"""


@pytest.mark.thorough(but="9")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_interrupted_or_killed_leaves_nothing(
    number: signal.Signals, module_home: Path, tmp_path: Path
) -> None:
    project = project_in(tmp_path, module_home)
    (tmp_path / "test_hangs.py").write_text(_HANGING)
    with project.start("test_hangs.py") as process:
        written(tmp_path / "hangs", process)
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
    one, other = project_in(tmp_path / "one", module_home), project_in(tmp_path / "other", module_home)
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
