"""What a run comes to, as an exit code for whatever called dqctl."""

from dqctl.errors import ExitCode, worst
from dqctl.report.model import RunReport
from dqctl.report.options import FailOn
from dqctl.report.results import Status

__all__ = ["FailOn", "exit_code", "failing"]

_FAILING = {
    FailOn.FAIL: frozenset({Status.FAILED}),
    FailOn.WARNING: frozenset({Status.FAILED, Status.WARNING}),
    FailOn.ERROR: frozenset[Status](),
    FailOn.NEVER: frozenset[Status](),
}


def failing(fail_on: FailOn) -> frozenset[Status]:
    """Outcomes of a test that count as failed data."""
    return _FAILING[fail_on]


def exit_code(report: RunReport, fail_on: FailOn = FailOn.FAIL) -> ExitCode:
    """The exit code that the run earns by ``fail_on`` (see there); the worst when several do.

    A profile or a generation earns 4 when its job failed, else 0: a column whose profile is incomplete and an
    anomaly are findings, not failures.
    """
    codes = []
    if not report.run.completed:
        codes.append(ExitCode.TESTGEN)
    if report.tally.error and fail_on is not FailOn.NEVER:
        codes.append(ExitCode.TESTGEN)
    if any(report.tally.of(status) for status in failing(fail_on)):
        codes.append(ExitCode.DATA_TESTS_FAILED)
    return worst(codes)
