"""The scheduler's program against what the rest of dqctl believes of it."""

import ast

from dqctl.testgen import exclusive, scheduler


def constants() -> dict[str, object]:
    """What the program assigns at its top, as far as it is plain data."""
    found: dict[str, object] = {}
    for node in ast.parse(scheduler.program()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def test_the_program_takes_the_locks_that_dqctl_means() -> None:
    assert constants()["LOCKS"] == {
        "space": exclusive.SPACE,
        "job": exclusive.JOB,
        "scheduler": exclusive.SCHEDULER,
        "claims": exclusive.CLAIMS,
    }
    keys = (exclusive.COMMAND, exclusive.JOB, exclusive.SCHEDULER, exclusive.CLAIMS)
    assert len(set(keys)) == len(keys)


def test_the_program_touches_the_file_that_the_health_check_looks_at() -> None:
    assert constants()["HEARTBEAT"] == scheduler.HEARTBEAT


def test_the_program_imports_nothing_of_dqctl() -> None:
    for node in ast.walk(ast.parse(scheduler.program())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        assert not [name for name in (*names, module) if name.split(".")[0] == "dqctl"]
