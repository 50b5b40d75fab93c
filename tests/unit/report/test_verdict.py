import pytest

from dqctl.errors import ExitCode
from dqctl.report.model import RunReport, build
from dqctl.report.verdict import FailOn, exit_code
from unit.report import flights


def _report(*statuses: str, job: str = "completed") -> RunReport:
    rows = [flights.result(id=str(number), result_status=status) for number, status in enumerate(statuses)]
    return build(
        flights.content(flights.run("test", status=job), dq_test_results=rows), generated_at=flights.GENERATED_AT
    )


@pytest.mark.parametrize(
    ("statuses", "fail", "warning", "error", "never"),
    [
        ((), 0, 0, 0, 0),
        (("Passed", "Log"), 0, 0, 0, 0),
        (("Passed", "Warning"), 0, 1, 0, 0),
        (("Passed", "Failed"), 1, 1, 0, 0),
        (("Failed", "Warning"), 1, 1, 0, 0),
        (("Passed", "Error"), 4, 4, 4, 0),
        (("Failed", "Warning", "Error"), 4, 4, 4, 0),
    ],
)
def test_exit_code_follows_fail_on(
    statuses: tuple[str, ...], fail: int, warning: int, error: int, never: int
) -> None:
    report = _report(*statuses)
    assert [exit_code(report, on) for on in FailOn] == [fail, warning, error, never]


@pytest.mark.parametrize("job", ["error", "canceled", "running"])
@pytest.mark.parametrize("fail_on", FailOn)
def test_job_that_did_not_complete_is_never_good(job: str, fail_on: FailOn) -> None:
    assert exit_code(_report("Passed", "Failed", job=job), fail_on) is ExitCode.TESTGEN


def test_failed_tests_are_what_counts_unless_told_otherwise() -> None:
    assert exit_code(_report("Failed")) is ExitCode.DATA_TESTS_FAILED
    assert exit_code(_report("Warning")) is ExitCode.DONE


def test_findings_of_a_profile_are_no_failure() -> None:
    report = build(flights.profile_run(), generated_at=flights.GENERATED_AT)
    assert report.incomplete_columns
    assert exit_code(report, FailOn.WARNING) is ExitCode.DONE
