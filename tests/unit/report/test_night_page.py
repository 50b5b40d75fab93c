"""Many runs on one page."""

import pytest

from dqctl.report.model import RunReport, build
from dqctl.report.night import Night, render_night
from dqctl.report.options import FailOn
from unit.report import flights


def report(suite: str, *statuses: str, **values: object) -> RunReport:
    rows = [flights.result(id=f"{suite} {number}", result_status=status) for number, status in enumerate(statuses)]
    run = flights.run("test", test_suite=suite, run_id=flights.identifier(suite, *values.values()), **values)
    return build(flights.content(run, dq_test_results=rows), (), generated_at=flights.GENERATED_AT)


def page(*reports: RunReport, fail_on: FailOn = FailOn.FAIL, **more: object) -> list[str]:
    night = Night(reports, lambda _: fail_on, **{"replaced": {}, **more})  # type: ignore[arg-type]
    return render_night(night).splitlines()


def test_the_worst_come_first_and_the_good_are_counted() -> None:
    lines = page(
        report("a-good", "Passed", "Warning"),
        report("b-failed", "Failed", "Passed"),
        report("c-worse", "Failed", "Failed"),
        report("d-errored", "Error"),
        report("e-broken", status="error", error_message="relation does not exist\nTraceback"),
        not_run=("nyc/f-late",),
        published="results: main.data_quality",
    )
    assert lines[0] == "6 suites: 2 errored, 2 failed, 1 did not run, 1 good"
    found = [
        line.split(":")[0].split("/")[-1] for line in lines if line.startswith(("ERROR", "FAILED", "NOT RUN"))
    ]
    assert found == ["d-errored", "e-broken", "c-worse", "b-failed", "f-late"]
    (broken,) = [line for line in lines if "e-broken" in line]
    assert "relation does not exist" in broken
    assert "Traceback" not in broken
    assert lines[-2:] == ["good: 1 suite with 2 tests, 1 warning", "results: main.data_quality"]


@pytest.mark.parametrize("number", [1, 30, 31, 200, 5000])
def test_a_page_is_a_page_however_many_there_are(number: int) -> None:
    long = "x" * 200
    bad = [report(f"{long}-{each}", "Failed", status="error", error_message=long * 9) for each in range(number)]
    lines = page(*bad, not_run=("nyc/late",) * number, replaced={"a": "b"}, published="results: main.data_quality")
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 240
    shown = sum(line.startswith(("ERROR", "NOT RUN")) for line in lines)
    (rest,) = [line for line in lines if line.startswith("... and")] or ["... and 0"]
    assert shown + int(rest.split()[2].replace(",", "")) == 2 * number


def test_what_fails_is_for_each_suite_to_say() -> None:
    warned = report("warned", "Warning", "Passed")
    assert page(warned, fail_on=FailOn.WARNING)[0] == "1 suite: 1 failed"
    assert "1 warning" in page(warned, fail_on=FailOn.WARNING)[3]
    assert page(warned, fail_on=FailOn.FAIL)[0] == "1 suite: 1 good"


def test_a_run_that_another_one_stands_in_for_does_not_count() -> None:
    first, second = report("shaky", "Error", dq_score=0.1), report("shaky", "Passed", dq_score=0.2)
    lines = page(first, second, replaced={first.run.run_id: second.run.run_id})
    assert lines[0] == "1 suite: 1 good"
    assert lines[-1] == "1 run broke for a reason that passed and was run again"
