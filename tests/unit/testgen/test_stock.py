"""Which stock commands are refused, however they are spelled."""

import pytest

from dqctl.errors import UsageError
from dqctl.testgen import stock


@pytest.mark.parametrize(
    "arguments",
    [
        ["quick-start"],
        ["-v", "quick-start"],
        ["--verbose", "--", "quick-start"],
        ["quick-start", "--observability-api-url", "--help"],
        ["setup-system-db"],
        ["setup-system-db", "--delete-db", "--yes"],
        ["upgrade-system-version"],
        ["standalone-setup", "--username", "x"],
        ["run-app"],
        ["run-app", "scheduler"],
        ["ui"],
        ["ui", "run"],
        ["run-tests", "-t", "x"],
        ["run-profile", "-tg", "--help"],
        ["run-test-generation"],
        ["run-monitors"],
    ],
)
def test_what_hurts_or_waits_for_ever_is_refused_with_a_way_out(arguments: list[str]) -> None:
    line = stock.read(arguments)
    assert not line.is_reading
    with pytest.raises(UsageError, match=f"testgen {line.command}") as refused:
        line.check()
    assert "--force" in refused.value.hint


@pytest.mark.parametrize(
    ("arguments", "reading"),
    [
        ([], True),
        (["--help"], True),
        (["quick-start", "--help"], True),
        (["-v", "run-tests", "--help"], True),
        (["list-projects"], True),
        (["get-test-results", "-tr", "quick-start"], True),
        (["ui", "plugins"], True),
        (["run-tests", "-t", "x", "--no-wait"], False),
        (["run-monitor-generation", "-t", "x"], False),
        (["exec-job", "x"], False),
        (["export-observability"], False),
    ],
)
def test_everything_else_runs_beside_other_work_only_when_it_reads(arguments: list[str], reading: bool) -> None:
    line = stock.read(arguments)
    line.check()
    assert line.is_reading is reading


def test_the_hint_names_the_command_to_use_instead() -> None:
    with pytest.raises(UsageError) as refused:
        stock.read(["run-tests"]).check()
    assert "dqctl run-tests" in refused.value.hint
    assert "--no-wait" in refused.value.hint


@pytest.mark.parametrize("command", ["run-profile", "run-tests", "run-test-generation", "run-monitors"])
def test_where_a_scheduler_runs_what_is_queued_nobody_waits_for_ever(command: str) -> None:
    line = stock.read([command, "-t", "x"])
    with pytest.raises(UsageError, match="the stack has none"):
        line.check()
    line.check(has_scheduler=True)
