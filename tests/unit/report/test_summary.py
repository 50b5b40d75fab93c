from typing import Any

import pytest

from dqctl.records import Row
from dqctl.report.model import RunReport, build
from dqctl.report.summary import Level, places, scale, summarize
from dqctl.testgen.capabilities import KNOWN
from unit.report import flights


def _report(*statuses: str, history: tuple[Row, ...] = (), **values: Any) -> RunReport:
    rows = [
        flights.result(id=str(number), result_status=status, table_name=f"t{number}")
        for number, status in enumerate(statuses)
    ]
    content = flights.content(flights.run("test", **values), dq_test_results=rows)
    return build(content, history, generated_at=flights.GENERATED_AT)


@pytest.mark.parametrize(
    ("statuses", "level", "headline"),
    [
        ((), Level.EMPTY, "No test was run."),
        (("Passed",), Level.GOOD, "The test passed."),
        (("Passed", "Passed"), Level.GOOD, "All 2 tests passed."),
        (("Log", "Log"), Level.GOOD, "No test failed; all 2 only log."),
        (("Passed", "Warning"), Level.WARNING, "No test failed; 1 of 2 tests warns."),
        (("Passed", "Error"), Level.INCOMPLETE, "1 of 2 tests could not be evaluated."),
        (("Failed",), Level.FAILED, "The only test failed."),
        (("Failed", "Error", "Warning"), Level.FAILED, "1 of 3 tests failed."),
    ],
)
def test_headline_says_the_worst_first(statuses: tuple[str, ...], level: Level, headline: str) -> None:
    summary = summarize(_report(*statuses))
    assert (summary.level, summary.headline) == (level, headline)


def test_sentences_say_the_rest() -> None:
    sentences = summarize(_report("Failed", "Error", "Warning", "Log", "Passed")).sentences
    assert sentences == (
        "It is in t0.",
        "1 test could not be evaluated.",
        "1 test warns.",
        "1 test only logs.",
    )


def test_many_failing_tables_are_counted_not_listed() -> None:
    sentence = summarize(_report(*["Failed"] * 9)).sentences[0]
    assert sentence == "They are in t0 (1), t1 (1), t2 (1), t3 (1) and 5 more tables."


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (3, "1 fewer failed than in the run before (2026-11-19 02:00 UTC)."),
        (2, "In the run before (2026-11-19 02:00 UTC) it was as many, too."),
        (0, "2 more failed than in the run before (2026-11-19 02:00 UTC)."),
    ],
)
def test_summary_compares_with_the_run_before(before: int, sentence: str) -> None:
    earlier = {**flights.history(1)[0], "failed_ct": before}
    assert sentence in summarize(_report("Failed", "Failed", history=(earlier,))).sentences


@pytest.mark.parametrize(
    ("status", "headline"),
    [
        ("error", "The test run did not finish."),
        ("canceled", "The test run was cancelled."),
        ("unheard of", "The test run did not finish."),
    ],
)
def test_job_that_did_not_complete_says_nothing_about_the_data(status: str, headline: str) -> None:
    summary = summarize(_report("Passed", status=status, error_message="boom\nTraceback (most recent call last)"))
    assert (summary.level, summary.headline) == (Level.BROKEN, headline)
    assert summary.sentences[0] == "boom"


def test_the_words_for_how_a_job_ended_are_testgens() -> None:
    ends = {status for version in KNOWN for status in version.final_statuses}
    headlines = {status: summarize(_report(status=status)).headline for status in ends}
    assert headlines.pop("completed") not in headlines.values()
    assert headlines == {
        "error": "The test run did not finish.",
        "canceled": "The test run was cancelled.",
    }


def test_error_of_many_lines_and_no_end_is_cut() -> None:
    summary = summarize(_report(status="error", error_message="\n" + "x" * 5000))
    assert len(summary.sentences[0]) == 300


def test_profile_with_failed_queries_says_so_first_and_how_to_mend_it() -> None:
    summary = summarize(build(flights.profile_run(), generated_at=flights.GENERATED_AT))
    assert summary.level is Level.INCOMPLETE
    assert summary.headline == "16 of 53 columns could not be profiled completely."
    assert "DQCTL_PROFILE_ANSI" in summary.remedies[0]
    assert "ANSI_MODE=false" in summary.remedies[0]
    assert "8.0 %" in " ".join(summary.sentences)


def test_failed_queries_of_another_cause_are_not_blamed_on_ansi_mode() -> None:
    column = {**flights.profile_run().rows["dq_profile_columns"][0], "query_error": "PERMISSION_DENIED"}
    content = flights.content(flights.run("profile"), dq_profile_columns=[column])
    remedies = summarize(build(content, generated_at=flights.GENERATED_AT)).remedies
    assert len(remedies) == 1
    assert "ANSI" not in remedies[0]


def test_complete_profile_is_good() -> None:
    summary = summarize(build(flights.profile_run(ansi=False, sampled=False), generated_at=flights.GENERATED_AT))
    assert (summary.level, summary.headline) == (Level.GOOD, "53 columns of 5 tables were profiled.")
    assert summary.sentences == ("5 anomalies were found: 2 definite, 1 likely, 1 possible and 1 potential PII.",)


def test_place_that_several_suites_share_is_named_once() -> None:
    subjects = [flights.system(), {**flights.system(), "id": "2", "test_suite": "another"}]
    content = flights.content(flights.run("test"), dq_systems=subjects)
    assert places(build(content, generated_at=flights.GENERATED_AT)) == (
        "main.nyc on dbc.example.com (databricks)",
    )


def test_scale_is_in_figures() -> None:
    assert scale(build(flights.profile_run(), generated_at=flights.GENERATED_AT)) == (
        "5 tables, 53 columns, 367,687 records"
    )
