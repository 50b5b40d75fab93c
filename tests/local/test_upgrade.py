"""Upgrades of real stacks, and the way back: what is stored stays, what is published keeps its identity."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime import Runtime, databases, open_runtime
from dqctl.settings import Settings
from dqctl.stack import upgrading
from dqctl.stack.record import read_record
from dqctl.testgen.contents import contents
from publishing import published
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.local, pytest.mark.timeout(1200)]

SUITE = "sales-suite"


@pytest.fixture
def sales(copied_stack: Callable[[str], Settings], tmp_path: Path) -> Iterator[CommandLine]:
    """A stack of 5.33.3 with a profile, generated tests and a test run, all published."""
    settings = copied_stack("5.33.3")
    run = CommandLine(settings.home, {"PROBE_PASSWORD": PASSWORD})
    workspace = settings.home / "workspaces" / "default"
    try:
        run("workspace", "start")
        run("install", "--workspace", workspace)
        target = Target.make(open_runtime(run.settings, silent))
        run("apply", "-f", target.write_systems(tmp_path, "sales"))
        run("profile", "sales")
        run("generate", "sales")
        run("run-tests", "--all", code=None)
        yield run
    finally:
        control.stop(workspace)


@pytest.fixture
def small(copied_stack: Callable[[str], Settings]) -> CommandLine:
    """A stack of 5.33.3, fresh as after install."""
    settings = copied_stack("5.33.3")
    return CommandLine(settings.home)


def rows(runtime: Runtime, query: str) -> list[tuple[Any, ...]]:
    with runtime.metadata() as connection:
        return connection.execute(query.encode()).fetchall()


def stored(runtime: Runtime) -> dict[str, tuple[int, int]]:
    """Rows and checksum of each of TestGen's tables."""
    with runtime.metadata() as connection:
        found = contents(connection).tables
    return {name: of for name, of in found.items() if name.startswith("testgen.")}


def job_ids(runtime: Runtime) -> set[str]:
    return {row[0] for row in rows(runtime, "SELECT id::text FROM job_executions")}


def queue_tests(runtime: Runtime) -> str:
    """A job that waits in the queue: tests of the only suite; its id."""
    ((job,),) = rows(
        runtime,
        "INSERT INTO job_executions (job_key, kwargs, source, project_code)"
        " SELECT 'run-tests', jsonb_build_object('test_suite_id', id), 'scheduler', project_code FROM test_suites"
        " RETURNING id::text",
    )
    return str(job)


def status_of(runtime: Runtime, job: str) -> str:
    ((status,),) = rows(runtime, f"SELECT status FROM job_executions WHERE id = '{job}'")
    return str(status)


def run_ids(run: CommandLine) -> list[str]:
    """Of what is published, each as often as it stands there."""
    return sorted(row["run_id"] for row in published(run.settings, "dq_runs"))


def assert_nothing_left(run: CommandLine, kept: bool) -> None:
    """No trial, no journal; the database of before only where there is a way back."""
    runtime = open_runtime(run.settings, silent)
    assert databases.existing(runtime.postgres) == ({databases.BEFORE} if kept else set())
    assert upgrading.pending(runtime.paths) is None
    assert (upgrading.kept(runtime.paths) is not None) is kept
    record = read_record(runtime.paths)
    assert record
    assert runtime.health().is_good
    assert record.testgen_version == runtime.version


class Reader:
    """Somebody who reads again and again while the stack changes; ``codes`` are the exit codes."""

    def __init__(self, run: CommandLine, *arguments: str) -> None:
        self.said: list[Any] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(run, arguments))
        self._thread.start()

    def _read(self, run: CommandLine, arguments: tuple[str, ...]) -> None:
        while not self._over.is_set():
            self.said.append(run(*arguments, code=None))
            self._over.wait(0.5)

    def end(self) -> list[Any]:
        self._over.set()
        self._thread.join(120)
        return self.said


@pytest.mark.thorough
def test_published_runs_keep_their_identity_on_every_way_from_5_33_3_to_5_134_0(sales: CommandLine) -> None:
    runtime = open_runtime(sales.settings, silent)
    known = job_ids(runtime)
    runs_before = run_ids(sales)
    assert len(runs_before) == 3  # a profile, a generation and a test run
    own = {
        row[0] for row in rows(runtime, "SELECT id::text FROM test_runs UNION SELECT id::text FROM profiling_runs")
    }
    assert not own & known

    assert "upgrade --to 5.92.2" in sales("install", "--version", "5.92.2", code=2).err
    story = sales.document("upgrade", "--to", "5.92.2")
    assert (story["result"], story["version"], story["kept"]) == ("upgraded", "5.92.2", "datakitchen_before")
    assert story["changes"]["runs_renamed"] == {"profiling_runs": 1, "test_runs": 1}
    assert story["changes"]["runs_kept"]
    runtime = open_runtime(sales.settings, silent)
    assert job_ids(runtime) == known
    now = {
        row[0] for row in rows(runtime, "SELECT id::text FROM test_runs UNION SELECT id::text FROM profiling_runs")
    }
    assert now < known
    assert sales.document("publish", "--pending")["runs"] == []
    assert len(sales.document("publish", "--again", "all")["runs"]) == 3
    assert run_ids(sales) == runs_before
    sales("run-tests", "--all", code=None)  # with the secret that 5.33.3 stored
    assert sales.document("runs")["runs"][0]["status"] == "completed"
    runs_before = run_ids(sales)
    assert len(runs_before) == 4

    upgrading = sales.start("--output", "json", "upgrade")
    assert upgrading.hear("migrates the copy")
    job = queue_tests(runtime)  # as a scheduler does when a schedule comes due
    assert upgrading.hear("trial: passed")
    readers = [Reader(sales, "results", "latest"), Reader(sales, "status")]
    story = upgrading.end().document
    said = [each for reader in readers for each in reader.end()]
    assert story["version"] == "5.134.0"
    assert status_of(open_runtime(sales.settings, silent), job) == "pending"
    # Between two reads of the files the version may change: then they say so, and never show half of it.
    assert {each.code for each in said} <= {0, 6}, [each for each in said if each.code not in (0, 6)]
    # Without a scheduler nobody comes for what is queued: the next command cancels it.
    assert [run["run_id"] for run in sales.document("publish", "--pending")["runs"]] == [job]
    assert len(sales.document("publish", "--again", "all")["runs"]) == 5
    assert run_ids(sales) == sorted([*runs_before, job])
    assert_nothing_left(sales, kept=True)

    sales("run-tests", "--all", code=None)
    refused = sales("rollback", code=2)
    assert "2 runs would be forgotten" in refused.err
    assert "--discard-runs" in refused.err
    back = sales.document("rollback", "--discard-runs")
    assert (back["result"], back["version"]) == ("rolled back", "5.92.2")
    assert_nothing_left(sales, kept=False)
    assert len(run_ids(sales)) == 6  # what was published stays
    assert sales.document("publish", "--pending")["runs"] == []
    assert job not in job_ids(runtime)  # it was queued there, too, and would be run once more
    assert "not upgraded" in sales("rollback", code=2).err


@pytest.mark.thorough
def test_after_a_rotation_of_keys_a_rollback_has_the_secrets_of_now(
    copied_stack: Callable[[str], Settings], tmp_path: Path
) -> None:
    run = CommandLine(copied_stack("5.92.2").home, {"PROBE_PASSWORD": PASSWORD})
    runtime = open_runtime(run.settings, silent)
    target = Target.make(runtime)
    systems = target.write_systems(tmp_path, "sales")
    run("apply", "-f", systems)
    before = {name: of for name, of in stored(runtime).items() if name != "testgen.connections"}
    made = run.document("backup", "create")["backup"]["id"]
    run("credentials", "rotate", "decrypt_salt", "decrypt_password")

    with runtime.metadata() as connection:
        ((secret,),) = connection.execute("SELECT project_pw_encrypted FROM connections").fetchall()
        connection.execute("UPDATE connections SET project_pw_encrypted = NULL")
    refused = run("rollback", "--to-backup", made, code=3)
    assert "connections.project_pw_encrypted" in refused.err
    assert "--other-keys" in refused.err
    assert_nothing_left(run, kept=False)

    with runtime.metadata() as connection:
        connection.execute("UPDATE connections SET project_pw_encrypted = %s", [secret])
    assert run.document("rollback", "--to-backup", made)["result"] == "rolled back"
    assert {name: of for name, of in stored(runtime).items() if name != "testgen.connections"} == before
    run("profile", "sales", code=5)  # with the password; there is nowhere to publish it to
    assert run.document("status")["last_jobs"][0]["status"] == "completed"

    with runtime.metadata() as connection:
        connection.execute("UPDATE connections SET project_pw_encrypted = NULL")
    assert (
        run.document("rollback", "--to-backup", made, "--other-keys", "--discard-runs")["result"] == "rolled back"
    )
    assert "did not finish" in run("profile", "sales", code=4).out
    run("apply", "-f", systems)
    run("profile", "sales", code=5)
    assert run.document("status")["last_jobs"][0]["status"] == "completed"


@pytest.mark.thorough
def test_a_migration_that_fails_half_way_leaves_the_stack_as_it_was(small: CommandLine) -> None:
    runtime = open_runtime(small.settings, silent)
    with runtime.metadata() as connection:
        # Script 0217 wants to make it, when those before it have been carried out and committed.
        connection.execute("CREATE TABLE suite_versions (id uuid PRIMARY KEY)")
    before = stored(runtime)
    story = small.document("upgrade", code=4)
    assert (story["result"], story["version"]) == ("undone", "5.33.3")
    assert "script 0217" in story["error"]["message"]
    assert "nothing of it was touched" in story["error"]["hint"]
    assert [each["failed"] is None for each in story["steps"]] == [True, True, True, False]
    assert_nothing_left(small, kept=False)
    assert stored(runtime) == before

    with runtime.metadata() as connection:
        connection.execute("DROP TABLE suite_versions")
    # Killed in the middle of the trial: the next command cleans up.
    killed = small.start("upgrade")
    assert killed.hear("migrates the copy")
    killed.signal(signal.SIGKILL)
    killed.end()
    small("systems", "list")
    assert_nothing_left(small, kept=False)

    tried = small.document("upgrade", "--dry-run")
    assert (tried["result"], tried["version"], tried["backup"]) == ("tried", "5.33.3", None)
    assert "test_suites.is_monitor" in tried["changes"]["columns_dropped"]
    assert tried["changes"]["moved"]["test_suites.is_monitor"] == "test_suites.suite_type"
    assert tried["changes"]["test_types_added"]
    assert_nothing_left(small, kept=False)
    assert stored(runtime) == {name: of for name, of in before.items() if name != "testgen.suite_versions"}

    done = small.document("upgrade")
    assert (done["result"], done["version"], done["changes"]["revision_after"]) == ("upgraded", "5.134.0", 235)
    assert small.document("upgrade")["result"] == "unchanged"
    assert " rollback" in small("upgrade", "--to", "5.92.2", code=2).err
    assert_nothing_left(small, kept=True)
    assert small.document("upgrade", "--forget")["forgotten"] == "the metadata of TestGen 5.33.3"
    assert_nothing_left(small, kept=False)
    back = small.document("rollback", "--to-backup", done["backup"])
    assert (back["result"], back["version"]) == ("rolled back", "5.33.3")
    assert_nothing_left(small, kept=False)
    assert stored(runtime) == {name: of for name, of in before.items() if name != "testgen.suite_versions"}
