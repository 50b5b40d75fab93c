"""What a base's run wrote, read back; whatever else stands there is told before any work begins."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dqctl.cli.app import app
from dqctl.errors import ExitCode, UsageError
from dqctl.report.baseline import read_baseline
from dqctl.report.document import document
from dqctl.report.model import RunReport, build
from dqctl.report.render import Form, render
from unit.report import flights

GOLDEN = Path(__file__).parent / "golden" / "suite.json"


def report(suite: str, *statuses: str, run_id: str = "") -> RunReport:
    rows = [flights.result(id=f"{suite} {number}", result_status=status) for number, status in enumerate(statuses)]
    run = flights.run("test", test_suite=suite, run_id=run_id or flights.identifier(suite))
    return build(flights.content(run, dq_test_results=rows), (), generated_at=flights.GENERATED_AT)


def printed(*reports: RunReport) -> str:
    """As ``--output json run-tests`` prints it."""
    return json.dumps({"format": 1, "exit_code": 1, "outcome": "x", "runs": [document(each) for each in reports]})


def test_what_was_printed_of_several_suites_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    one, two = report("one", "Failed", "Passed"), report("two", "Error", "Log")
    path.write_text(printed(one, two))
    found = read_baseline(path)
    assert found
    assert found.runs == {("FLIGHTS", "one"): one, ("FLIGHTS", "two"): two}


def test_a_report_file_of_one_suite_is_a_baseline_too(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    whole = build(flights.suite_run(), flights.history(3), generated_at=flights.GENERATED_AT)
    path.write_text(render(whole, Form.JSON))
    found = read_baseline(path)
    assert found
    assert list(found.runs.values()) == [whole]


def test_files_that_were_written_once_are_read_for_ever() -> None:
    assert read_baseline(GOLDEN)


def test_of_a_suite_that_was_run_again_the_second_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_text(printed(report("one", "Error", run_id="first"), report("one", "Passed", run_id="second")))
    found = read_baseline(path)
    assert found
    assert [each.run.run_id for each in found.runs.values()] == ["second"]


def test_a_missing_file_is_a_first_run_only_where_that_was_said(tmp_path: Path) -> None:
    assert read_baseline(tmp_path / "none.json", optional=True) is None
    with pytest.raises(UsageError, match="is not there") as caught:
        read_baseline(tmp_path / "none.json")
    assert "--baseline-optional" in caught.value.hint


def _broken(**changes: Any) -> str:
    return json.dumps(json.loads(printed(report("one", "Passed"))) | changes)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is damaged"),
        (printed(report("one", "Passed"))[:-40], "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("\udcff", "is damaged"),
        ("[]", "is no report"),
        ("{}", "is no report"),
        ('{"format": 1, "runs": 7}', "is no report"),
        ('{"format": 1, "runs": []}', "holds no test run"),
        (_broken(format=2), "is of format 2"),
        (_broken(runs=[{"format": 1}]), "of another dqctl: "),
        (_broken(runs=["x"]), "of another dqctl: "),
        (
            json.dumps(document(build(flights.profile_run(), generated_at=flights.GENERATED_AT))),
            "holds no test run",
        ),
    ],
    ids=range(12),
)
def test_whatever_else_it_is_is_a_usage_error_even_where_it_may_be_missing(
    content: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "base.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=said) as caught:
        read_baseline(path, optional=True)
    assert caught.value.hint


def test_a_folder_is_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_baseline(tmp_path, optional=True)


def test_the_command_refuses_it_before_it_looks_for_a_stack(tmp_path: Path) -> None:
    damaged = tmp_path / "base.json"
    damaged.write_text("{")
    for environment, arguments in (
        ({}, ["--baseline", str(damaged)]),
        ({"DQCTL_BASELINE": str(damaged)}, []),
        ({}, ["--baseline", str(tmp_path / "none.json")]),
    ):
        given = {"DQCTL_HOME": str(tmp_path / "home"), **environment}
        outcome = CliRunner().invoke(app, ["run-tests", "--all", *arguments], env=given)
        assert isinstance(outcome.exception, UsageError)
        assert outcome.exception.exit_code is ExitCode.USAGE
        assert "the baseline" in outcome.exception.message
    assert not (tmp_path / "home").exists()
