import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from dqctl import redaction
from dqctl.report.document import document
from dqctl.report.model import Kind, build
from dqctl.report.render import Form, render
from dqctl.report.results import Status, Tally
from unit.report import flights


def test_every_row_of_a_run_is_in_its_report() -> None:
    content = flights.suite_run()
    report = build(content, generated_at=flights.GENERATED_AT)
    rows = content.rows["dq_test_results"]
    assert sorted(result.id for result in report.results) == sorted(row["id"] for row in rows)
    assert report.tally == Tally(failed=4, error=1, warning=2, log=1, passed=len(rows) - 8)
    assert sum(entry.tally.total for entry in report.tables) == len(rows)


def test_failures_come_first_and_the_worst_table_leads() -> None:
    report = build(flights.suite_run(), generated_at=flights.GENERATED_AT)
    ranks = [result.status.rank for result in report.results]
    assert ranks == sorted(ranks)
    assert report.results[0].status is Status.FAILED
    assert [entry.table for entry in report.tables][:3] == ["flights", "planes", "weather"]


@pytest.mark.parametrize("stored", [None, "", "passed", "Something new"])
def test_outcome_that_nobody_knows_counts_as_an_error(stored: str | None) -> None:
    content = flights.content(flights.run("test"), dq_test_results=[flights.result(result_status=stored)])
    assert build(content, generated_at=flights.GENERATED_AT).tally == Tally(error=1)


def test_trend_keeps_runs_of_its_own_kind_and_ends_with_this_run() -> None:
    this = flights.suite_run()
    history = [*flights.history(3), flights.run("profile"), this.run]
    report = build(this, history, generated_at=flights.GENERATED_AT)
    assert [point.current for point in report.trend] == [False, False, False, True]
    assert report.trend[-1].tally == report.tally
    assert [point.started_at for point in report.trend] == sorted(point.started_at for point in report.trend)  # type: ignore[type-var]


def test_trend_shows_the_newest_thirty_runs() -> None:
    report = build(flights.suite_run(), flights.history(80), generated_at=flights.GENERATED_AT)
    assert len(report.trend) == 30
    assert report.trend[0].started_at == flights.STARTED - timedelta(days=29)


def test_earlier_runs_do_not_count_tests_that_log_twice() -> None:
    earlier = flights.run("test", run_id="e", test_ct=10, passed_ct=9, failed_ct=1, log_ct=3)
    report = build(flights.suite_run(), [earlier], generated_at=flights.GENERATED_AT)
    assert report.trend[0].tally == Tally(failed=1, log=3, passed=6)


def test_run_before_is_the_newest_that_completed() -> None:
    report = build(flights.suite_run(), flights.history(5), generated_at=flights.GENERATED_AT)
    assert report.previous is not None
    assert report.previous.started_at == flights.STARTED - timedelta(days=1)
    broken = [flights.run("test", run_id=str(day), status="error") for day in range(3)]
    assert build(flights.suite_run(), broken, generated_at=flights.GENERATED_AT).previous is None


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    naive = flights.content(flights.run("test", started_at=datetime(2026, 1, 1, 12), ended_at=None))  # noqa: DTZ001
    aware = flights.content(flights.run("test", started_at=datetime(2026, 1, 1, 17, 30, tzinfo=east)))
    for content in (naive, aware):
        report = build(content, generated_at=flights.GENERATED_AT)
        assert report.run.started_at == datetime(2026, 1, 1, 12, tzinfo=UTC)
        assert document(report)["run"]["started_at"] == "2026-01-01T12:00:00Z"


def test_numbers_that_are_none_are_absent() -> None:
    rows = [flights.result(dq_prevalence=float("nan"), dq_record_ct=Decimal("12"))]
    report = build(
        flights.content(flights.run("test", dq_score=float("inf")), dq_test_results=rows),
        generated_at=flights.GENERATED_AT,
    )
    assert report.run.score is None
    assert report.results[0].affected_share is None
    assert report.results[0].records == 12
    json.loads(render(report, Form.JSON), parse_constant=pytest.fail)


def test_text_that_no_file_can_hold_is_replaced() -> None:
    rows = [flights.result(result_message="half a \ud83d pair", result_status="Failed")]
    report = build(flights.content(flights.run("test"), dq_test_results=rows), generated_at=flights.GENERATED_AT)
    for form in Form:
        render(report, form).encode("utf-8")


def test_secret_shows_in_no_form_of_a_report() -> None:
    secret = "dapi-&<'\"-planted-in-an-error"
    redaction.register(secret)
    message = f"(OperationalError) token {secret} was refused"
    rows = [flights.result(result_status="Error", result_message=message, table_name="t", test_type="Required")]
    run = flights.run("test", status="error", error_message=message)
    report = build(flights.content(run, dq_test_results=rows), generated_at=flights.GENERATED_AT)
    for form in Form:
        text = render(report, form)
        assert "planted-in-an-error" not in text, form
        assert "was refused" in text, form


def test_definitions_explain_results_with_their_query() -> None:
    definition = dict(flights.generate_run().rows["dq_test_definitions"][0])
    definition |= {"id": "d1", "custom_query": "SELECT 1"}
    rows = [flights.result(test_definition_id="d1"), flights.result(test_definition_id="d2")]
    content = flights.content(flights.run("test"), dq_test_results=rows, dq_test_definitions=[definition])
    report = build(content, generated_at=flights.GENERATED_AT)
    assert {result.definition_id: result.query for result in report.results} == {"d1": "SELECT 1", "d2": None}
    assert report.definitions == ()


def test_generation_shows_the_suite_as_it_stands() -> None:
    report = build(flights.generate_run(), generated_at=flights.GENERATED_AT)
    assert report.run.kind is Kind.GENERATE
    assert len(report.definitions) == len(flights.results())
    assert sum(1 for definition in report.definitions if not definition.active) == 1
    assert report.trend == ()
