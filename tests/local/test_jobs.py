"""Jobs against real TestGen and a real target, and what is left when they are stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services import systems
from dqctl.services.apply import apply
from dqctl.services.install import install
from dqctl.services.status import status
from dqctl.testgen import jobs
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.jobs import JobKind, JobRequest
from dqctl.testgen.reader import MetadataReader
from target_database import PASSWORD, Target, count

pytestmark = pytest.mark.local

# A process of its own, so that it can be interrupted and killed.
PROFILE = """
import sys
from pathlib import Path
from uuid import UUID
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.settings import load
from dqctl.testgen import jobs

home, group = sys.argv[1:]
runtime = open_runtime(load({"home": Path(home)}, {}), silent)
with runtime.metadata() as connection, jobs.exclusive(connection, 0, "profiling in a test"):
    job = jobs.JobRequest(jobs.JobKind.PROFILE, UUID(group))
    outcome = jobs.run(runtime, job, deadline=Deadline(200), progress=lambda line: print(line, flush=True))
    print(outcome.status, outcome.error_message)
"""


def make(runtime, directory, name, schema="sales", password=PASSWORD):
    """A system on the target; the first of its table groups."""
    target = Target(runtime)
    apply(
        runtime,
        target.write_systems(directory, name, schema),
        access=None,
        environment={"PROBE_PASSWORD": password},
        deadline=Deadline(120),
    )
    return systems.resolve_system(runtime, name).table_groups[0]


@pytest.fixture(scope="module")
def runtime(installed_stack):
    opened = open_runtime(installed_stack, silent)
    Target.make(opened)
    return opened


@pytest.fixture
def target(runtime):
    found = Target(runtime)
    yield found
    with runtime.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'target'")


@pytest.fixture(scope="module")
def slow(runtime, tmp_path_factory):
    """A table group whose profile takes minutes."""
    return make(runtime, tmp_path_factory.mktemp("slow"), "slow", schema="slow")


@pytest.fixture
def profiling(runtime, slow, target):
    """A dqctl of its own in the middle of a profile, a statement of which runs on the target."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROFILE, str(runtime.paths.home), str(slow.id)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        began = target.wait_for_statement(running=True)
        if began:
            yield process
        if process.poll() is None:
            process.kill()
        said = process.communicate(timeout=60)
    assert began, said
    # A killed dqctl's job takes some seconds to notice and to stop: it must not run into the next test.
    with runtime.metadata() as connection, jobs.exclusive(connection, 30, "after a test"):
        jobs.settle_orphans(runtime)


def newest_job(runtime):
    with runtime.metadata() as connection:
        return connection.execute(
            "SELECT id, status, error_message, completed_at FROM job_executions ORDER BY created_at DESC LIMIT 1"
        ).fetchone()


def driver_of(process):
    """The process of TestGen below dqctl's."""
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def assert_scores(runtime, group, job_id):
    """What TestGen made of the run is published as it stands in its tables."""
    with runtime.metadata() as connection:
        found = MetadataReader(connection, capabilities(runtime.version), "lab").content(str(job_id))
        scores = found.rows["dq_scores"]
        columns = connection.execute(
            "SELECT table_name, column_name, dq_score_profiling, dq_score_testing FROM data_column_chars"
            " WHERE table_groups_id = %s",
            [group.id],
        ).fetchall()
        (of_group,) = connection.execute(
            "SELECT dq_score_profiling, dq_score_testing FROM table_groups WHERE id = %s", [group.id]
        ).fetchall()
        cards = connection.execute(
            "SELECT d.name, r.category, r.score FROM score_definition_results r"
            " JOIN score_definitions d ON d.id = r.definition_id"
            " WHERE d.project_code = (SELECT project_code FROM table_groups WHERE id = %s)",
            [group.id],
        ).fetchall()
    by_level = {}
    for row in scores:
        by_level.setdefault(row["level"], []).append(row)
    assert len({row["id"] for row in scores}) == len(scores)
    assert sorted(
        (row["table_name"], row["column_name"], row["score_profiling"], row["score_testing"])
        for row in by_level["column"]
    ) == sorted(columns)
    assert len(columns) == 8
    assert {row["table_name"] for row in by_level["table"]} == {"customers", "orders"}
    (whole,) = by_level["table_group"]
    assert (whole["score_profiling"], whole["score_testing"]) == of_group
    assert whole["score"] == pytest.approx(of_group[0] * of_group[1])
    assert 0 < whole["score"] <= 1
    # TestGen makes a scorecard of its own for each table group.
    found = [(row["scorecard"], row["category"], row["score"]) for row in by_level["scorecard"]]
    assert sorted(found, key=str) == sorted(cards, key=str)
    assert {"score", "cde_score"} <= {category for name, category, _ in cards if name == whole["table_group"]}


def do_the_main_job(runtime, group):
    wanted = [
        JobRequest(JobKind.PROFILE, group.id),
        JobRequest(JobKind.GENERATE, group.suites[0].id),
        JobRequest(JobKind.TEST, group.suites[0].id),
        JobRequest(JobKind.GENERATE, group.suites[0].id),
    ]
    outcomes = list(jobs.run_all(runtime, wanted, deadline=Deadline(200)))
    assert [outcome.kind for outcome in outcomes] == [request.kind for request in wanted]
    version = capabilities(runtime.version)
    with runtime.metadata() as connection:
        assert (
            count(connection, "SELECT count(*) FROM profile_results WHERE profile_run_id = %s", outcomes[0].run_id)
            == 8
        )
        tests = count(
            connection, "SELECT count(*) FROM test_definitions WHERE test_suite_id = %s", group.suites[0].id
        )
        results = count(connection, "SELECT count(*) FROM test_results WHERE test_run_id = %s", outcomes[2].run_id)
        assert tests == results > 10
        unfinished = connection.execute(
            "SELECT job_key, status FROM job_executions WHERE status = ANY(%s)", [list(version.active_statuses)]
        ).fetchall()
        assert unfinished == []
        assert count(
            connection, "SELECT count(*) FROM job_executions WHERE job_key = ANY(%s)", list(version.follow_up_jobs)
        )
    assert [outcome.status for outcome in outcomes] == ["completed"] * 4
    assert all(outcome.seconds > 0 and outcome.error_message is None for outcome in outcomes)
    assert (outcomes[0].run_id == outcomes[0].job_id) is version.run_id_is_job_id
    assert outcomes[1].run_id is None
    assert_scores(runtime, group, outcomes[2].job_id)
    return outcomes


def test_a_table_group_is_profiled_and_its_suite_generated_and_run(runtime, tmp_path):
    do_the_main_job(runtime, make(runtime, tmp_path, "shop"))


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["5.92.2", "5.33.3"])
def test_older_versions_do_the_main_job_too(older_stack, tmp_path, version):
    older = open_runtime(older_stack, silent)
    assert install(older_stack, progress=silent).changed == (), "without a version the stack keeps what it has"
    found = status(older_stack)
    assert (found.testgen_version, found.schema_revision) == (version, capabilities(version).schema_revision)
    done = older.run(["list-projects"], deadline=Deadline(120))
    assert done.exit_code == 0, done.stdout
    Target.make(older)
    do_the_main_job(older, make(older, tmp_path, "shop"))
    slow = make(older, tmp_path, "slow", schema="slow")
    with pytest.raises(EnvironmentFault):
        jobs.run(older, JobRequest(JobKind.PROFILE, slow.id), deadline=Deadline(25))
    assert Target(older).wait_for_statement(running=False, seconds=30)
    assert newest_job(older)[1:3] == ("canceled", "interrupted: it was not done after 25 s")
    if capabilities(version).run_has_status:
        with older.metadata() as connection:
            row = connection.execute(
                "SELECT status, log_message FROM profiling_runs ORDER BY profiling_starttime DESC LIMIT 1"
            ).fetchone()
        assert row == ("Cancelled", "interrupted: it was not done after 25 s")


def test_a_job_that_fails_is_an_outcome(runtime, tmp_path):
    group = make(runtime, tmp_path, "locked-out", password="not-the-password")
    outcome = jobs.run(runtime, JobRequest(JobKind.PROFILE, group.id), deadline=Deadline(100))
    assert outcome.status == "error"
    assert "password authentication failed" in outcome.error_message
    assert "not-the-password" not in outcome.error_message


def test_there_is_no_job_without_a_target(runtime):
    with pytest.raises(UsageError, match="nothing to test"):
        jobs.run(runtime, JobRequest(JobKind.TEST, uuid4()), deadline=Deadline(60))


def test_progress_is_told_while_the_job_runs(profiling):
    # It ends with the job's deadline, if nothing is told until then.
    assert any("profiling slow-tables: refreshing data catalog" in line for line in profiling.stdout)
    assert profiling.poll() is None
    profiling.send_signal(signal.SIGINT)


def test_ctrl_c_stops_the_statement_and_settles_the_job(runtime, profiling, target):
    started = time.monotonic()
    profiling.send_signal(signal.SIGINT)
    assert target.wait_for_statement(running=False, seconds=30)
    profiling.communicate(timeout=60)
    assert time.monotonic() - started < 80
    assert profiling.returncode != 0
    _, status, message, completed_at = newest_job(runtime)
    assert (status, message) == ("canceled", "interrupted: stopped by the user")
    assert completed_at is not None
    assert jobs.settle_orphans(runtime) == ()


def test_a_deadline_stops_the_statement_and_settles_the_job(runtime, slow, target):
    with pytest.raises(EnvironmentFault, match="not done after 25 s") as raised:
        jobs.run(runtime, JobRequest(JobKind.PROFILE, slow.id), deadline=Deadline(25))
    job_id, status, message, _ = newest_job(runtime)
    assert (status, message) == ("canceled", "interrupted: it was not done after 25 s")
    assert str(job_id) in raised.value.message
    assert target.wait_for_statement(running=False, seconds=2)


def test_when_dqctl_is_killed_its_job_stops_too(runtime, profiling, target):
    profiling.kill()
    assert target.wait_for_statement(running=False, seconds=30)
    with runtime.metadata() as connection, jobs.exclusive(connection, 0, "the next command"):
        jobs.settle_orphans(runtime)
    assert newest_job(runtime)[1:3] == ("canceled", jobs.INTERRUPTED)


def test_when_testgen_is_killed_the_job_is_settled_with_the_reason(runtime, profiling):
    os.kill(driver_of(profiling), signal.SIGKILL)
    out, _ = profiling.communicate(timeout=60)
    assert "canceled interrupted: TestGen's process ended with code" in out
    assert newest_job(runtime)[1] == "canceled"


def test_when_both_are_killed_the_next_command_settles_the_job(runtime, profiling):
    driver = driver_of(profiling)
    os.kill(profiling.pid, signal.SIGSTOP)  # so that it cannot settle anything
    os.kill(driver, signal.SIGKILL)
    profiling.kill()
    profiling.wait(timeout=30)
    assert newest_job(runtime)[1] == "running"
    with runtime.metadata() as connection, jobs.exclusive(connection, 0, "the next command"):
        (settled,) = jobs.settle_orphans(runtime)
        assert settled.job_key == "run-profile"
        assert jobs.settle_orphans(runtime) == ()
    job_id, status, message, completed_at = newest_job(runtime)
    assert (job_id, status, message) == (settled.job_id, "canceled", jobs.INTERRUPTED)
    assert completed_at is not None


def test_jobs_around_one_that_is_killed_run_all_the_same(runtime, target, slow, tmp_path):
    quick = make(runtime, tmp_path, "quick")
    killed = []

    def kill(line):
        # Heard in this process's own thread: the driver must be waited for in another.
        if line == "profiling slow-tables":
            threading.Thread(target=kill_the_driver).start()

    def kill_the_driver():
        assert target.wait_for_statement(running=True, seconds=60)
        children = Path(f"/proc/{os.getpid()}/task/{threading.main_thread().native_id}/children").read_text()
        for pid in children.split():
            if b"dqctl_driver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)
                killed.append(pid)

    requests = [JobRequest(JobKind.PROFILE, each.id) for each in (quick, slow, quick)]
    outcomes = list(jobs.run_all(runtime, requests, deadline=Deadline(200), progress=kill))
    assert len(killed) == 1
    assert [outcome.status for outcome in outcomes] == ["completed", "canceled", "completed"]
    assert len({outcome.job_id for outcome in outcomes}) == 3


def test_what_ended_before_the_deadline_is_told(runtime, target, slow, tmp_path):
    quick = make(runtime, tmp_path, "quick")
    ran = jobs.run_all(
        runtime, [JobRequest(JobKind.PROFILE, each.id) for each in (quick, slow)], deadline=Deadline(25)
    )
    assert next(ran).status == "completed"
    with pytest.raises(EnvironmentFault, match="profiling slow-tables was not done after 25 s"):
        next(ran)
    assert target.wait_for_statement(running=False, seconds=2)
    assert newest_job(runtime)[1:3] == ("canceled", "interrupted: it was not done after 25 s")


def test_only_jobs_that_somebody_should_run_are_orphans(runtime):
    wanted = {
        ("run-tests", "pending"),
        ("run-tests", "claimed"),
        ("run-profile", "running"),
        ("run-profile", "cancel_requested"),
        ("refresh-project-scores", "running"),
    }
    left = {
        ("refresh-project-scores", "pending"),
        ("run-profile", "paused"),
        ("run-tests", "completed"),
        ("run-tests", "error"),
        ("run-tests", "canceled"),
    }
    with runtime.metadata() as connection:
        for job_key, status in wanted | left:
            connection.execute(
                "INSERT INTO job_executions (job_key, status, source, project_code, claimed_at)"
                " VALUES (%s, %s, 'test', 'orphans', now() - interval '5 s')",
                [job_key, status],
            )
    settled = jobs.settle_orphans(runtime)
    assert {job.job_key for job in settled} == {job_key for job_key, _ in wanted}
    assert len(settled) == len(wanted)
    with runtime.metadata() as connection:
        rows = connection.execute(
            "DELETE FROM job_executions WHERE project_code = 'orphans'"
            " RETURNING id, job_key, status, error_message, active_seconds >= 5"
        ).fetchall()
    ids = {job.job_id for job in settled}
    assert {row[2:4] for row in rows if row[0] in ids} == {("canceled", jobs.INTERRUPTED)}
    assert {row[1:3] for row in rows if row[0] not in ids} == left
    # Only those that ran have worked.
    assert sorted(str(row[4]) for row in rows if row[0] in ids) == ["None", "None", "None", "True", "True"]


def test_the_second_command_is_told_who_works(runtime, profiling):
    with (
        runtime.metadata() as connection,
        pytest.raises(Busy) as raised,
        jobs.exclusive(connection, 0.5, "another"),
    ):
        pytest.fail("two commands work at once")
    assert "profiling in a test, since 2" in raised.value.message


def test_two_jobs_at_once_are_refused_even_without_the_commands_lock(runtime, slow, profiling):
    with pytest.raises(Busy):
        jobs.run(runtime, JobRequest(JobKind.PROFILE, slow.id), deadline=Deadline(60))


def test_a_lock_is_free_again_after_an_error(runtime):
    for _ in range(2):
        with (
            runtime.metadata() as connection,
            pytest.raises(RuntimeError, match="inside"),
            jobs.exclusive(connection, 0, "failing"),
        ):
            raise RuntimeError("inside")


def test_a_command_waits_for_the_lock_as_long_as_it_is_told(runtime):
    done = threading.Event()

    def work():
        with runtime.metadata() as connection, jobs.exclusive(connection, 0, "one second of work"):
            held.set()
            time.sleep(1)
            done.set()

    held = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert held.wait(10)
    with runtime.metadata() as connection, jobs.exclusive(connection, 20, "patient"):
        assert done.is_set()
    thread.join()
