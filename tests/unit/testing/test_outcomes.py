"""What dqctl run-tests prints, as pytest is told."""

from typing import Any

import pytest

from dqctl.report.options import FailOn
from dqctl.report.results import Status
from dqctl.report.verdict import failing
from dqctl.testing.commands import CommandFailed
from dqctl.testing.outcomes import outcomes_of


def _said(status: str, *, fail_on: str = "fail", run_status: str = "completed", **result: Any) -> dict[str, Any]:
    one = {
        "id": "result", "definition_id": "definition", "test_type": "Required", "table": "orders",
        "column": "amount", "name": "Required Entry", "status": status, "skipped": False,
        "message": "Missing values: 3, Threshold: 0",
        "checks": None, "measure": "3", "unit": "Missing values", "threshold": "0", "severity": "Fail",
        "dimension": "Completeness",
    }  # fmt: skip
    run = {
        "run_id": "r", "kind": "test", "system": "shop", "table_group": "g", "test_suite": "s",
        "status": run_status, "error_message": "cut off",
    }  # fmt: skip
    return {
        "exit_code": 0,
        "retries": [],
        "fail_on": {"r": fail_on},
        "runs": [{"run": run, "results": [one | result]}],
    }


@pytest.mark.parametrize("fail_on", list(FailOn))
@pytest.mark.parametrize("status", list(Status))
def test_what_fails_is_what_gives_run_tests_an_exit_code(status: Status, fail_on: FailOn) -> None:
    ((outcome,),) = outcomes_of(_said(status.value, fail_on=fail_on.value)).values()
    is_error = status is Status.ERROR and fail_on is not FailOn.NEVER
    assert outcome.fails == (status in failing(fail_on) or is_error)


def test_what_is_not_judged_yet_does_not_fail() -> None:
    ((outcome,),) = outcomes_of(_said("Failed", skipped=True)).values()
    assert not outcome.fails
    assert outcome.skipped


def test_the_text_has_message_measure_and_threshold_and_the_properties_too() -> None:
    ((outcome,),) = outcomes_of(_said("Failed")).values()
    for part in ("Failed: Missing values: 3, Threshold: 0", "3 (Missing values)", "threshold  0", "orders.amount"):
        assert part in outcome.text
    assert {("dq_measure", "3"), ("dq_threshold", "0"), ("dq_table", "orders")} <= set(outcome.properties)


def test_a_run_that_was_run_once_more_does_not_count() -> None:
    said = _said("Passed")
    first = _said("Error")["runs"][0]
    first["run"] = first["run"] | {"run_id": "first", "status": "error"}
    said["runs"].insert(0, first)
    said["retries"] = [{"run_id": "first", "again_as": "r"}]
    ((outcome,),) = outcomes_of(said).values()
    assert outcome.status == "Passed"


def test_a_job_that_did_not_end_well_is_an_error_and_not_a_result() -> None:
    with pytest.raises(CommandFailed, match="the test run of shop/s ended as error: cut off"):
        outcomes_of(_said("Passed", run_status="error"))


def test_no_run_at_all_is_the_error_that_the_command_told() -> None:
    said = _said("Passed") | {"runs": [], "exit_code": 3, "error": {"message": "the disk is full", "hint": "free"}}
    with pytest.raises(CommandFailed, match="the disk is full") as caught:
        outcomes_of(said)
    assert caught.value.code == 3
