"""``run-tests`` as cron runs it: several suites, several commands, and what is left when they are stopped."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from command_line import CommandLine, Process
from dqctl.clock import Clock, Deadline
from dqctl.errors import Busy, ExitCode, UsageError
from dqctl.progress import silent
from dqctl.report.options import FailOn
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import systems, work
from dqctl.services.apply import Change, apply
from dqctl.services.work import Limits
from dqctl.settings import Settings
from dqctl.testgen import jobs
from publishing import published, running
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

SUITES = """\
              - name: second
                fail_on: never
              - name: third
              - name: slow
"""
DEFINE = """
    INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name, skip_errors,
                                  custom_query, test_active, lock_refresh)
    SELECT s.table_groups_id, s.id, 'CUSTOM', 'sales', 'orders', 0, %s, 'Y', 'Y'
    FROM test_suites s WHERE s.test_suite = %s
"""
# What a test of each suite counts: sales-suite and third are good, second fails, slow takes minutes.
QUERIES = {
    "sales-suite": "SELECT 1 FROM sales.orders WHERE order_id < 0",
    "second": "SELECT 1 FROM sales.orders WHERE order_id < 4",
    "third": "SELECT 1 FROM sales.orders WHERE order_id < 0",
    "slow": "SELECT 1 FROM slow.endless WHERE id < 0",
}


@pytest.fixture(scope="module")
def settings(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack with a system of four suites, and a workspace to publish to."""
    directory = tmp_path_factory.mktemp("night")
    target = Target.make(open_runtime(installed_stack, silent))
    file = target.write_systems(directory, "sales", more=SUITES)
    declare(target.runtime, file)
    with target.runtime.metadata() as connection:
        for suite, query in QUERIES.items():
            connection.execute(DEFINE, [query, suite])
    with running(directory / "workspace") as workspace:
        yield installed_stack.model_copy(update={"workspace": workspace})


def declare(runtime: LocalRuntime, file: Path) -> object:
    return apply(runtime, file, access=None, environment={"PROBE_PASSWORD": PASSWORD}, deadline=Deadline(300))


@pytest.fixture
def runtime(settings: Settings) -> LocalRuntime:
    return open_runtime(settings, silent)


@pytest.fixture
def command(settings: Settings) -> CommandLine:
    return CommandLine(settings.home, {"DQCTL_WORKSPACE": str(settings.workspace)})


@pytest.fixture
def testing_slowly(command: CommandLine, runtime: LocalRuntime) -> Iterator[Callable[..., Process]]:
    """Start a dqctl that is in the middle of the slow suite, a statement of which runs on the target."""
    started: list[Process] = []
    target = Target(runtime)

    def start(*more: object) -> Process:
        process = command.start("--output", "json", "run-tests", "slow", *more)
        started.append(process)
        assert target.wait_for_statement(running=True, seconds=120), process.end(10)
        return process

    yield start
    for process in started:
        if process.is_running:
            process.signal(signal.SIGKILL)
        process.end(60)
    # A killed dqctl's job takes some seconds to notice and to stop: it must not run into the next test.
    with runtime.metadata() as connection, jobs.exclusive(connection, 30, "after a test"):
        jobs.settle_orphans(runtime)


def ask(runtime: LocalRuntime, suite: str, query: str) -> None:
    """Have a suite's test count something else."""
    with runtime.metadata() as connection:
        connection.execute(
            "UPDATE test_definitions SET custom_query = %s WHERE test_suite_id ="
            " (SELECT id FROM test_suites WHERE test_suite = %s)",
            [query, suite],
        )


def statuses(runtime: LocalRuntime, suite: str) -> list[tuple[str, str | None]]:
    with runtime.metadata() as connection:
        return connection.execute(
            "SELECT j.status, j.error_message FROM job_executions j JOIN test_suites s"
            " ON s.id::text = j.kwargs ->> 'test_suite_id' WHERE s.test_suite = %s ORDER BY j.created_at",
            [suite],
        ).fetchall()


def test_suites_side_by_side_run_once_each_and_are_all_published(
    settings: Settings, runtime: LocalRuntime
) -> None:
    before = {name: len(statuses(runtime, name)) for name in QUERIES}
    done = work.run_tests(settings, ("sales/s[ae]*", "third"), limits=Limits(at_once=3), progress=silent)
    assert done.errors == ()
    assert sorted(report.name for report in done.reports) == ["sales-suite", "second", "third"]
    assert {name: len(statuses(runtime, name)) - before[name] for name in QUERIES} == {
        "sales-suite": 1,
        "second": 1,
        "third": 1,
        "slow": 0,
    }
    there = {row["run_id"] for row in published(settings, "dq_runs")}
    assert {report.run.run_id for report in done.reports} <= there
    with runtime.metadata() as connection:
        assert connection.execute("SELECT count(*) FROM dqctl.turns").fetchone() == (0,)
        open_jobs = connection.execute(
            "SELECT count(*) FROM job_executions WHERE status NOT IN ('completed', 'error', 'canceled')"
        )
        assert open_jobs.fetchone() == (0,)


def test_what_a_suite_fails_on_is_its_declarations_to_say_also_when_the_file_is_gone(
    settings: Settings, runtime: LocalRuntime, tmp_path: Path
) -> None:
    file = Target(runtime).write_systems(tmp_path, "sales", more=SUITES)
    assert not declare(runtime, file).changed
    file.unlink()
    done = work.run_tests(settings, ("second",), progress=silent)
    (report,) = done.reports
    assert report.tally.failed == 1
    assert done.fails_on(report) is FailOn.NEVER
    assert done.exit_code() is ExitCode.DONE
    assert done.exit_code(FailOn.FAIL) is ExitCode.DATA_TESTS_FAILED

    changed = SUITES.replace("fail_on: never", "fail_on: warning")
    (change,) = declare(runtime, Target(runtime).write_systems(tmp_path, "sales", more=changed)).plan.changes
    assert (change.change, [each.column for each in change.differences]) == (Change.UPDATE, ["fail_on"])
    try:
        again = work.run_tests(settings, ("second",), progress=silent)
        assert again.exit_code() is ExitCode.DATA_TESTS_FAILED
    finally:
        declare(runtime, Target(runtime).write_systems(tmp_path, "sales", more=SUITES))


def test_another_suite_runs_beside_a_command_that_works_and_the_same_one_does_not(
    settings: Settings, runtime: LocalRuntime, command: CommandLine, testing_slowly: Callable[..., Process]
) -> None:
    first = testing_slowly()
    other = command.document("run-tests", "third")
    assert [run["name"] for run in other["runs"]] == ["third"]

    same = command.document("run-tests", "slow", code=6)
    assert "suite sales/slow is busy: dqctl run-tests" in same["error"]["message"]
    both = command.document("run-tests", "slow", "third", code=6)
    assert [run["name"] for run in both["runs"]] == ["third"]
    assert "sales/slow" in both["error"]["message"]
    # What changes the stack for everybody has to wait for both.
    with pytest.raises(Busy, match="dqctl run-tests"):
        work.publish_waiting(settings, progress=silent)
    with runtime.metadata() as connection, pytest.raises(Busy), jobs.exclusive(connection, 0, "upgrade"):
        pass

    first.signal(signal.SIGINT)
    assert first.end(60).code == 130
    assert not Target(runtime).running()
    assert statuses(runtime, "slow")[-1][0] == "canceled"


def test_a_suite_that_has_had_its_time_holds_up_nobody(settings: Settings, runtime: LocalRuntime) -> None:
    done = work.run_tests(settings, ("slow", "third"), limits=Limits(suite_timeout=3, retry=True), progress=silent)
    assert [(report.name, report.run.status) for report in done.reports] == [
        ("slow", "canceled"),
        ("third", "completed"),
    ]
    assert "not done after 3 s" in (done.reports[0].run.error_message or "")
    assert done.exit_code() is ExitCode.TESTGEN
    assert done.retries == ()
    assert not Target(runtime).running()


def test_ctrl_c_ends_all_that_run_side_by_side(
    runtime: LocalRuntime, testing_slowly: Callable[..., Process]
) -> None:
    process = testing_slowly("third", "sales-suite", "--parallel", "2")
    process.signal(signal.SIGINT)
    assert process.end(60).code == 130
    assert Target(runtime).wait_for_statement(running=False, seconds=5)
    status, message = statuses(runtime, "slow")[-1]
    assert status == "canceled"
    assert message == jobs.STOPPED


def test_what_a_killed_command_left_is_settled_by_the_next_one_of_the_suite_though_others_work(
    settings: Settings, runtime: LocalRuntime, testing_slowly: Callable[..., Process]
) -> None:
    killed = testing_slowly()
    killed.signal(signal.SIGKILL)
    killed.end(60)
    stop = threading.Event()
    with (
        runtime.metadata() as company,
        jobs.shared(company, 5, "dqctl run-tests of others", when_alone=lambda: None),
    ):
        if True:
            done = work.run_tests(settings, ("third",), progress=silent)
            assert [report.run.status for report in done.reports] == ["completed"]
            # The suite itself: who holds it waits for the end of what TestGen still did, and settles the rest.
            with runtime.metadata() as connection:
                suite = systems.resolve_suites(runtime, ("slow",))[0].id
                with (
                    jobs.shared(connection, 5, "dqctl run-tests", when_alone=stop.set),
                    jobs.suites(connection, [suite], 20) as others,
                ):
                    assert others == {}
                    jobs.settle_orphans(runtime, suites=[suite])
    assert not stop.is_set()
    assert statuses(runtime, "slow")[-1][0] == "canceled"


def test_what_broke_because_the_target_went_away_is_run_again_and_only_the_second_counts(
    settings: Settings, runtime: LocalRuntime
) -> None:
    # The server ends the session of whoever reads this, as a restart would, until it is mended. In another schema:
    # every run counts the rows of all tables of its own.
    with runtime.postgres.connect("target") as connection:
        connection.execute("CREATE TABLE slow.switch AS SELECT true AS is_broken")
        connection.execute(
            "CREATE VIEW slow.shaky AS SELECT 1 AS id FROM slow.switch WHERE"
            " CASE WHEN is_broken THEN pg_terminate_backend(pg_backend_pid()) ELSE false END"
        )
        connection.execute("GRANT SELECT ON slow.switch, slow.shaky TO probe")

    def mend(line: str) -> None:
        if line.endswith("once more"):
            with runtime.postgres.connect("target") as connection:
                connection.execute("UPDATE slow.switch SET is_broken = false")

    ask(runtime, "third", "SELECT 1 FROM slow.shaky")
    try:
        done = work.run_tests(settings, ("third", "sales-suite"), progress=mend)
    finally:
        ask(runtime, "third", QUERIES["third"])
    assert [report.name for report in done.reports] == ["third", "sales-suite", "third"], done.retries
    first, _, second = done.reports
    assert [(each.run_id, each.again_as) for each in done.retries] == [(first.run.run_id, second.run.run_id)]
    assert done.exit_code() is ExitCode.DONE
    there = {row["run_id"]: row for row in published(settings, "dq_runs")}
    assert f"run again as {second.run.run_id}" in there[first.run.run_id]["error_message"]
    assert there[second.run.run_id]["error_message"] is None


def test_a_page_sums_up_several_and_quiet_says_nothing_when_all_is_good(command: CommandLine) -> None:
    page = command("run-tests", "--system", "sales", "sales-suite", "second", "third", "--fail-on", "fail", code=1)
    first, _, _, worst, *_ = page.out.splitlines()
    assert first == "3 suites: 1 failed, 2 good"
    assert worst.startswith("FAILED   sales/second: The only test failed")
    quiet = command("--quiet", "run-tests", "sales-suite", "third", "--parallel", "2")
    assert quiet.everything == ""
    bad = command("--quiet", "run-tests", "second", "--fail-on", "fail", "--output", "json", code=1)
    assert json.loads(bad.out)["fail_on"] == {bad.document["runs"][0]["run"]["run_id"]: "fail"}


def test_suites_that_there_are_not_are_said(settings: Settings, runtime: LocalRuntime) -> None:
    with pytest.raises(UsageError, match="no suite fits nothing"):
        systems.resolve_suites(runtime, ("nothing*",))
    with pytest.raises(UsageError, match="there is no system sale; did you mean sales"):
        systems.resolve_suites(runtime, systems=("sale",))
    assert len(systems.resolve_suites(runtime, systems=("sales",))) == 4


def test_commands_that_come_at_the_same_moment_all_come_in(runtime: LocalRuntime) -> None:
    """Cron starts all that is due at once; none of them may be turned away because another looks around."""
    faults: list[BaseException] = []
    inside = threading.Barrier(4, timeout=30)

    def come() -> None:
        try:
            with (
                runtime.metadata() as connection,
                jobs.shared(connection, 0, "dqctl run-tests", when_alone=lambda: time.sleep(0.5)),
            ):
                inside.wait()
        except BaseException as error:  # noqa: BLE001 - said below
            faults.append(error)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_who_waits_for_a_suite_keeps_no_later_one_from_others(runtime: LocalRuntime) -> None:
    """Else two that want some of the same suites could wait for each other until both give up."""
    first, second = UUID("00000001-0000-4000-8000-000000000000"), UUID("00000002-0000-4000-8000-000000000000")
    waits = threading.Event()
    left: list[dict[UUID, str]] = []

    def sleep(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    def wait_for_both() -> None:
        with (
            runtime.metadata() as connection,
            jobs.suites(connection, [second, first], 30, Clock(sleep=sleep)) as busy,
        ):
            left.append(busy)

    thread = threading.Thread(target=wait_for_both)
    with runtime.metadata() as holder, runtime.metadata() as other:
        with jobs.suites(holder, [first], 0):
            thread.start()
            assert waits.wait(30)
            with jobs.suites(other, [second], 0) as busy:
                assert busy == {}
        thread.join(60)
    assert left == [{}]
