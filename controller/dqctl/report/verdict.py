"""What a run comes to, as an exit code for whatever called dqctl."""

from enum import StrEnum

from dqctl.errors import ExitCode, worst
from dqctl.report.model import RunReport
from dqctl.report.results import Status


class FailOn(StrEnum):
    """What makes ``run-tests`` end with an exit code other than 0.

    ``fail``: failed tests (1). ``warning``: failed tests and warnings (1). ``error``: neither, only tests that
    could not be evaluated. ``never``: no test, whatever its outcome. Tests that could not be evaluated make it 4
    unless it is ``never``; a job that failed or was cancelled makes it 4 always, since then nobody knows about
    the data.
    """

    FAIL = "fail"
    WARNING = "warning"
    ERROR = "error"
    NEVER = "never"

    @property
    def statuses(self) -> frozenset[Status]:
        """Outcomes of a test that count as failed data."""
        return _FAILING[self]


_FAILING = {
    FailOn.FAIL: frozenset({Status.FAILED}),
    FailOn.WARNING: frozenset({Status.FAILED, Status.WARNING}),
    FailOn.ERROR: frozenset[Status](),
    FailOn.NEVER: frozenset[Status](),
}


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
    if any(report.tally.of(status) for status in fail_on.statuses):
        codes.append(ExitCode.DATA_TESTS_FAILED)
    return worst(codes)
