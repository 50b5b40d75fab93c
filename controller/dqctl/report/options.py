"""What a user chooses about a report. Imports nothing, so that the command line has the words without the work."""

from enum import StrEnum


class Form(StrEnum):
    """What a report can be rendered as."""

    TERMINAL = "terminal"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    HTML = "html"


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
