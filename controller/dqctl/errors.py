"""Errors, by what the caller does next.

    DqctlError
     ├─ UsageError            2  the command or a setting is wrong: change it
     │   └─ MissingSetting        a setting is missing: put it in one of the places named
     ├─ EnvironmentFault      3  this machine is in the way (disk, network, port, a dead service)
     ├─ TestGenFailed         4  TestGen failed: a job or a test errored
     │   └─ OutputUnreadable      what a tool printed cannot be understood; the raw bytes are kept
     ├─ NotPublished          5  results are safe in the stack, not yet in Databricks
     ├─ Busy                  6  another process holds the lock
     └─ DatabricksRefused     7  authentication or permission

Every error carries a short lower-case message and a hint: the next command to type, and whether data is
safe. Exit code 1 is no error: it says that data tests failed.
"""

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What a command's exit code means; the same in words in JSON output."""

    DONE = 0
    DATA_TESTS_FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    TESTGEN = 4
    NOT_PUBLISHED = 5
    BUSY = 6
    DATABRICKS_REFUSED = 7

    @property
    def word(self) -> str:
        """The code in words, as JSON output has it: ``data_tests_failed``."""
        return self.name.lower()


# When several things went wrong, the worst decides (docs/design.md, exit codes).
_WORST_FIRST = (
    ExitCode.DATABRICKS_REFUSED,
    ExitCode.ENVIRONMENT,
    ExitCode.TESTGEN,
    ExitCode.NOT_PUBLISHED,
    ExitCode.BUSY,  # of a save after the tests: another controller has the state
    ExitCode.DATA_TESTS_FAILED,
    ExitCode.USAGE,
)


def worst(codes: "list[ExitCode]") -> ExitCode:
    """The exit code of a command in which all of ``codes`` happened."""
    for code in _WORST_FIRST:
        if code in codes:
            return code
    return ExitCode.DONE


class DqctlError(Exception):
    """Something that the user has to know and can act on."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DqctlError):
    """The command, a file or a setting is wrong."""

    exit_code = ExitCode.USAGE


class MissingSetting(UsageError):  # noqa: N818 - named for what it is, as the whole tree is
    """A setting is nowhere to be found; the hint names every place that was looked at."""


class EnvironmentFault(DqctlError):  # noqa: N818 - see MissingSetting
    """This machine or its network is in the way."""

    exit_code = ExitCode.ENVIRONMENT


class TestGenFailed(DqctlError):  # noqa: N818 - see MissingSetting
    """TestGen failed: a job errored, or tests could not be evaluated."""

    __test__ = False  # not a test class, whatever pytest thinks of the name
    exit_code = ExitCode.TESTGEN


class OutputUnreadable(TestGenFailed):
    """A tool's output cannot be understood. ``saved_to`` holds the raw bytes."""

    def __init__(self, message: str, hint: str = "", saved_to: Path | None = None) -> None:
        super().__init__(message, hint)
        self.saved_to = saved_to


class NotPublished(DqctlError):  # noqa: N818 - see MissingSetting
    """The results are complete and safe in the stack, but not in Databricks yet."""

    exit_code = ExitCode.NOT_PUBLISHED


class Busy(DqctlError):  # noqa: N818 - see MissingSetting
    """Another process holds the lock."""

    exit_code = ExitCode.BUSY


class DatabricksRefused(DqctlError):  # noqa: N818 - see MissingSetting
    """Databricks refused: authentication or permission."""

    exit_code = ExitCode.DATABRICKS_REFUSED
