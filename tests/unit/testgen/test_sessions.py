"""What is asked of a warehouse when TestGen opens a session, and the program that asks."""

import ast

import pytest

from dqctl.testgen import sessions
from dqctl.testgen.jobs import _TASKS, JobKind


@pytest.mark.parametrize("kind", JobKind)
def test_only_profiles_run_with_ansi_mode_off(kind: JobKind) -> None:
    asked = sessions.parameters(_TASKS[kind].job_key, "off")
    assert asked.get("ANSI_MODE") == ("false" if kind is JobKind.PROFILE else None)
    assert not sessions.parameters(_TASKS[kind].job_key, "as-is")


def test_the_schedulers_program_asks_in_the_process_of_a_job_only() -> None:
    first, condition = ast.parse(sessions.job_program("off")).body
    assert isinstance(first, ast.Import)
    assert isinstance(condition, ast.If)
    assert "exec-job" in ast.unparse(condition.test)
    assert sessions.job_program("as-is") == ""
