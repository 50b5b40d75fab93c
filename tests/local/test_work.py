"""Work commands when one of several jobs cannot be run, and when commands meet: real TestGen, real workspace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.clock import Deadline
from dqctl.errors import Busy, ExitCode, TestGenFailed, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import work
from dqctl.services.apply import apply
from dqctl.services.install import install
from dqctl.services.uninstall import uninstall
from dqctl.settings import Settings
from dqctl.testgen import jobs
from publishing import published, running
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

# TestGen cannot even queue the job of the suite called second.
_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON job_executions FOR EACH ROW
  WHEN (NEW.kwargs ->> 'test_suite_id' = '{suite}') EXECUTE FUNCTION refuse();
"""


@pytest.fixture(scope="module")
def settings(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack with a system of two suites, and a workspace to publish to."""
    directory = tmp_path_factory.mktemp("work")
    target = Target.make(open_runtime(installed_stack, silent))
    apply(
        target.runtime,
        target.write_systems(directory, "sales", more="              - name: second\n"),
        access=None,
        environment={"PROBE_PASSWORD": PASSWORD},
        deadline=Deadline(300),
    )
    with running(directory / "workspace") as workspace:
        yield installed_stack.model_copy(update={"workspace": workspace})


@pytest.fixture
def runtime(settings: Settings) -> LocalRuntime:
    return open_runtime(settings, silent)


def test_a_job_that_cannot_begin_holds_up_nothing_that_was_done_before(
    settings: Settings, runtime: LocalRuntime
) -> None:
    with runtime.metadata() as connection:
        (second,) = connection.execute("SELECT id::text FROM test_suites WHERE test_suite = 'second'").fetchone()
        connection.execute(_REFUSE.format(suite=second).encode())
    done = work.run_tests(settings, ("sales-suite", "second"), progress=silent)
    (error,) = done.errors
    assert isinstance(error, TestGenFailed)
    assert "not this one" in error.message
    assert done.exit_code() is ExitCode.TESTGEN
    (report,) = done.reports
    assert report.run.test_suite == "sales-suite"
    before = [row["run_id"] for row in published(settings, "dq_runs")]
    assert before.count(report.run.run_id) == 1

    again, _ = work.publish_waiting(settings, [report.run.run_id[:8]], progress=silent)
    assert [run.run_id for run in again.runs] == [report.run.run_id]
    assert work.publish_waiting(settings, progress=silent)[0].runs == ()
    assert sorted(row["run_id"] for row in published(settings, "dq_runs")) == sorted(before)


def test_a_report_that_cannot_be_written_hides_nothing_of_what_was_found(
    settings: Settings, tmp_path: Path
) -> None:
    numbers = tmp_path / "dqctl.prom"
    environment = {"DQCTL_WORKSPACE": str(settings.workspace), "DQCTL_METRICS_FILE": str(numbers)}
    run = CommandLine(settings.home, environment)
    said = run.document("run-tests", "sales-suite", "--html", "/dev/null/report.html", code=3)
    (report,) = said["runs"]
    assert report["name"] == "sales-suite"
    assert said["published"]["rows"]["dq_runs"] == 1
    assert "/dev/null/report.html" in said["error"]["message"]
    assert said["files"] == []
    series = 'dqctl_run_timestamp_seconds{kind="test",stack="default",suite="sales-suite",'
    assert series in numbers.read_text()
    assert 'dqctl_unpublished_runs{stack="default"} 0.0' in numbers.read_text()

    missing = CommandLine(
        settings.home, environment | {"DQCTL_METRICS_FILE": str(tmp_path / "none" / "dqctl.prom")}
    )
    assert "the metrics could not be written" in missing("run-tests", "sales-suite").err


def test_what_was_published_is_said_though_it_could_not_be_exported(settings: Settings) -> None:
    # Nothing says where to export to.
    environment = {"DQCTL_WORKSPACE": str(settings.workspace), "DQCTL_EXPORT": "observability"}
    said = CommandLine(settings.home, environment).document("publish", "--again", "all", code=5)
    assert said["rows"]["dq_runs"] == len(said["runs"]) > 0
    assert "the results are not exported" in said["error"]["message"]


def test_a_run_to_publish_again_that_there_is_not_is_said(settings: Settings) -> None:
    with pytest.raises(UsageError, match="no finished run ffffffff"):
        work.publish_waiting(settings, ["ffffffff"], progress=silent)


def test_two_commands_do_not_publish_at_the_same_time(settings: Settings, runtime: LocalRuntime) -> None:
    with (
        runtime.metadata() as connection,
        jobs.exclusive(connection, 0, "dqctl profile"),
        pytest.raises(Busy, match="dqctl profile"),
    ):
        work.publish_waiting(settings, progress=silent)


@pytest.mark.parametrize("purge", [False, True])
def test_uninstall_takes_no_database_from_under_work(
    settings: Settings, runtime: LocalRuntime, purge: bool
) -> None:
    with runtime.metadata() as connection, jobs.exclusive(connection, 0, "dqctl profile"):
        with pytest.raises(Busy, match="dqctl profile"):
            uninstall(settings, purge=purge, progress=silent)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert open_runtime(settings, silent).health().is_good


def test_another_version_drops_no_database_from_under_work(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    with runtime.metadata() as connection, jobs.exclusive(connection, 0, "dqctl apply"):
        with pytest.raises(Busy, match="dqctl apply"):
            install(fresh_stack, version="5.92.2", progress=silent)
        assert connection.execute("SELECT 1").fetchone() == (1,)
