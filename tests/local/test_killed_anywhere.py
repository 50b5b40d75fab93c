"""Everything that can be killed is killed while ``dqctl`` works; after the next command all is whole."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_line import SUITE, SYSTEM, CommandLine, load_shop, stored_tables, write_systems
from corpora import assert_rows
from dqctl import records
from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import work
from dqctl.settings import Settings
from publishing import STORED, published
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

# Changes where processes are killed; printed, so that a failure can be repeated.
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))

_OVER = {"completed", "error", "canceled"}
_RUNS = {"run-profile", "run-test-generation", "run-tests"}


@pytest.fixture(scope="module")
def run(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A stack with two systems that have tests: the shop in the workspace, and sales in PostgreSQL."""
    run = CommandLine(installed_stack.home, {"PROBE_PASSWORD": PASSWORD})
    workspace = installed_stack.home / "workspaces" / "default"
    directory = tmp_path_factory.mktemp("systems")
    try:
        run("workspace", "start", "--set", "ANSI_MODE=false")
        run("install", "--workspace", workspace)
        load_shop(run.settings)
        target = Target.make(open_runtime(run.settings, silent))
        for file in (write_systems(directory), target.write_systems(directory, "sales")):
            run("apply", "-f", file)
        for system in (SYSTEM, "sales"):
            done = work.assess(run.settings, system, progress=silent)
            assert [report.run.status for report in done.reports] == ["completed"] * 3, done.errors
        yield run
    finally:
        control.stop(workspace)


def runtime_of(run: CommandLine) -> LocalRuntime:
    return open_runtime(run.settings, silent)


@pytest.fixture
def target(run: CommandLine) -> Target:
    return Target(runtime_of(run))


@contextmanager
def slow_orders(target: Target) -> Iterator[None]:
    """The target's orders take most of a minute to read."""
    with target.runtime.postgres.connect("target") as connection:
        connection.execute("ALTER TABLE sales.orders RENAME TO kept")
        connection.execute(
            "CREATE VIEW sales.orders AS SELECT kept.* FROM sales.kept WHERE pg_sleep(0.05) IS NOT NULL"
        )
        connection.execute("GRANT SELECT ON sales.orders TO probe")
    try:
        yield
    finally:
        with open_runtime_again(target).postgres.connect("target") as connection:
            connection.execute("DROP VIEW sales.orders")
            connection.execute("ALTER TABLE sales.kept RENAME TO orders")


def open_runtime_again(target: Target) -> LocalRuntime:
    target.runtime.up()
    return target.runtime


def processes_of(home: Path) -> set[int]:
    """TestGen's processes that work for a stack of ``home``: their environment names it."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"TG_TESTGEN_HOME={home}".encode() in environment and state != "Z":
            found.add(int(process.name))
    return found


def assert_nobody_is_left(run: CommandLine, seconds: float = 12) -> None:
    end = time.monotonic() + seconds
    while left := processes_of(run.home):
        assert time.monotonic() < end, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.1)


def assert_whole(run: CommandLine) -> None:
    """No job is on its way; every run that is over is published once, each of its rows as TestGen has it."""
    testgen = stored_tables(runtime_of(run))
    jobs = {job["id"]: job for job in testgen.rows["job_executions"] if job["job_key"] in _RUNS}
    assert {job["status"] for job in jobs.values()} <= _OVER
    runs = published(run.settings, "dq_runs")
    assert Counter(each["run_id"] for each in runs) == Counter(list(jobs))
    assert {each["run_id"]: each["status"] for each in runs} == {key: job["status"] for key, job in jobs.items()}
    for table in records.RUN_CONTENT:
        rows = published(run.settings, table.name)
        assert len({tuple(row[key] for key in table.key) for row in rows}) == len(rows)
        of_run = Counter(row["run_id"] for row in rows)
        for each in runs:
            assert of_run[each["run_id"]] == json.loads(each["row_counts"]).get(table.name, 0)
        if table.name in STORED:
            stored, _, _ = STORED[table.name]
            assert_rows(testgen, rows, table, stored, {})


def jobs_since(run: CommandLine, before: set[str]) -> list[tuple[str, str, str]]:
    """Key, status and reason of the jobs that came to be since."""
    with runtime_of(run).metadata() as connection:
        rows = connection.execute(
            "SELECT id::text, job_key, status, error_message FROM job_executions ORDER BY created_at"
        ).fetchall()
    return [tuple(row[1:]) for row in rows if row[0] not in before and row[1] in _RUNS]


def job_ids(run: CommandLine) -> set[str]:
    with runtime_of(run).metadata() as connection:
        return {row[0] for row in connection.execute("SELECT id::text FROM job_executions").fetchall()}


@pytest.mark.thorough(but="0.0")
@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_the_workspace_dies_while_results_are_published(run: CommandLine, seconds: float) -> None:
    workspace = run.settings.workspace
    assert workspace
    endpoint = Endpoint.read(workspace)
    assert endpoint
    working = run.start("--output", "json", "run-tests", "sales/sales-suite")
    assert working.hear("publishing 1 finished run")
    time.sleep(seconds)
    os.kill(endpoint.pid, signal.SIGKILL)
    said = working.end()
    (report,) = said.document["runs"]
    assert report["counts"]["total"] > 10
    waiting = said.code == 5
    if waiting:
        assert " publish --pending" in said.document["error"]["hint"]
        assert said.document["outcome"] == "not_published"
        # As long as it is down, publishing says so and loses nothing.
        again = run.document("publish", "--pending", code=5)
        assert "1 finished run waits" in again["error"]["message"]
    else:
        assert seconds  # it was done before it was killed
        assert said.code == 0
    run("workspace", "start")
    done = run.document("publish", "--pending")
    assert [each["run_id"] for each in done["runs"]] == [report["run"]["run_id"]] * waiting
    assert run.document("publish", "--pending")["runs"] == []
    assert_whole(run)


def test_postgresql_dies_in_the_middle_of_a_run(run: CommandLine) -> None:
    before = job_ids(run)
    postmaster = run.document("status")["postgres_pid"]
    working = run.start("--output", "json", "run-tests", SUITE)
    assert working.hear(f"testing {SUITE}: ")
    os.kill(postmaster, signal.SIGKILL)
    found = working.end().document
    assert found["exit_code"] == 3
    assert found["error"]["hint"]
    assert_nobody_is_left(run)
    following = run.document("run-tests", SUITE)
    assert len(following["runs"]) == 1
    (killed, done) = jobs_since(run, before)
    assert killed[:2] == ("run-tests", "canceled")
    assert killed[2].startswith("interrupted: ")
    assert done[:2] == ("run-tests", "completed")
    assert_whole(run)


def test_dqctl_is_killed_at_any_moment(run: CommandLine) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(SEED)  # noqa: S311 - no secret
    before = job_ids(run)
    commands = (["profile", "sales"], ["generate", "sales"], ["run-tests", "sales/sales-suite"])
    ends = []
    for number in range(6):
        working = run.start("--output", "json", *commands[number % 3])
        time.sleep(chance.uniform(0.2, 7))
        working.signal(signal.SIGKILL)
        ends.append(working.end().code)
        assert_nobody_is_left(run)
    assert -signal.SIGKILL in ends
    last = run.document("run-tests", "sales/sales-suite")
    assert last["exit_code"] == 0
    assert_whole(run)
    found = jobs_since(run, before)
    assert {reason.partition(":")[0] for _, status, reason in found if status == "canceled"} <= {"interrupted"}
    assert found[-1][:2] == ("run-tests", "completed")
    # Homes of the calls that were killed are gone too.
    assert list((run.home / "stacks" / "default" / "work").iterdir()) == []


@pytest.mark.thorough(but="2-130")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_a_command_stops_all_that_it_does(
    run: CommandLine, target: Target, number: signal.Signals, code: int
) -> None:
    before = job_ids(run)
    with slow_orders(target):
        working = run.start("run-tests", "sales/sales-suite")
        assert target.wait_for_statement(running=True)
        time.sleep(1)
        working.signal(number)
        assert target.wait_for_statement(running=False, seconds=30)
        said = working.end(timeout=60)
    assert said.code in (code, -number)
    assert "Traceback" not in said.everything
    assert_nobody_is_left(run)
    (job,) = jobs_since(run, before)
    assert job[:2] == ("run-tests", "canceled")
    started = time.monotonic()
    assert "7" in run("workspace", "sql", "SELECT 3 + 4").out
    assert time.monotonic() - started < 60
    run("publish", "--pending")
    assert_whole(run)


def test_ctrl_c_while_the_workspace_is_the_target(run: CommandLine) -> None:
    before = job_ids(run)
    working = run.start("run-tests", SUITE)
    assert working.hear(f"testing {SUITE}: ")
    working.signal(signal.SIGINT)
    assert working.end(timeout=30).code == 130
    assert_nobody_is_left(run)
    assert "7" in run("workspace", "sql", "SELECT 3 + 4").out
    run("publish", "--pending")
    assert [job[:2] for job in jobs_since(run, before)] == [("run-tests", "canceled")]
    assert_whole(run)


@pytest.mark.thorough
def test_of_two_commands_at_once_one_works_and_the_other_says_who(run: CommandLine) -> None:
    before = job_ids(run)
    first = run.start("--output", "json", "run-tests", "sales/sales-suite")
    assert first.hear("testing sales-suite")
    second = run.document("run-tests", "sales/sales-suite", code=6)  # another suite's would go on beside it
    assert second["outcome"] == "busy"
    assert "dqctl run-tests, since 2" in second["error"]["message"]
    patient = run.document("run-tests", "sales/sales-suite", "--wait", 120)
    assert patient["exit_code"] == first.end().document["exit_code"] == 0
    assert [job[:2] for job in jobs_since(run, before)] == [("run-tests", "completed")] * 2
    assert_whole(run)


def test_a_command_without_time_stops_and_leaves_nothing(run: CommandLine, target: Target) -> None:
    before = job_ids(run)
    with slow_orders(target):
        found = run.document("run-tests", "sales/sales-suite", "--timeout", 3, code=3)
        assert target.wait_for_statement(running=False, seconds=30)
    assert "not done after 3 s" in found["error"]["message"]
    assert "--timeout" in found["error"]["hint"]
    assert_nobody_is_left(run)
    assert {status for _, status, _ in jobs_since(run, before)} <= {"canceled"}
    run("publish", "--pending")
    assert_whole(run)


def test_a_workspace_that_is_stopped_matters_only_when_it_is_needed(run: CommandLine) -> None:
    before = job_ids(run)
    run("workspace", "stop")
    try:
        assert run.document("publish", "--pending")["runs"] == []
        assert len(run.document("runs")["runs"]) >= 4
        # Before any work is done: there would be nowhere to put what it finds.
        found = run.document("run-tests", "sales/sales-suite", code=3)
        assert "dqctl workspace start" in found["error"]["hint"]
        assert jobs_since(run, before) == []
    finally:
        run("workspace", "start")
    assert_whole(run)
