import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.errors import UsageError
from dqctl.records import Row, RunContent
from dqctl.report.comparison import Change, Comparison, compare, summarize_comparison
from dqctl.report.markdown import LIMIT
from dqctl.report.model import RunReport, build
from dqctl.report.render import Form, render
from dqctl.report.summary import Level
from unit.report import flights

EARLIER = flights.STARTED.replace(day=19)


def _report(rows: list[Row], **values: Any) -> RunReport:
    return build(
        flights.content(flights.run("test", **values), dq_test_results=rows), generated_at=flights.GENERATED_AT
    )


def _two(before: list[Row], after: list[Row]) -> Comparison:
    return compare(_report(before, run_id="before", started_at=EARLIER), _report(after, run_id="after"))


def _test(name: str, status: str, **values: Any) -> Row:
    given = {
        "id": f"{name}/{status}",
        "test_definition_id": name,
        "test_type": "Required",
        "table_name": "flights",
        "column_names": name,
        "result_status": status,
        "result_message": status,
    }
    return flights.result(**given | values)


def night() -> Comparison:
    """Last night's run beside the one of the night before: one of everything that can become of a test."""
    before = [
        *(_test("began", "Passed"), _test("still", "Failed"), _test("again", "Error"), _test("same", "Passed")),
        *(_test("warns", "Passed"), _test("measure", "Passed", result_measure="1"), _test("gone", "Failed")),
        _test("better", "Failed"),
    ]
    after = [
        *(_test("began", "Failed"), _test("still", "Error"), _test("again", "Passed"), _test("same", "Passed")),
        *(_test("warns", "Warning"), _test("measure", "Passed", result_measure="2"), _test("new", "Failed")),
        _test("better", "Warning"),
    ]
    return _two(before, after)


def test_every_change_is_told_apart() -> None:
    found = {(pair.change, pair.test.column) for pair in night().pairs}
    assert found == {
        (Change.BEGAN, "began"),
        (Change.STILL, "still"),
        (Change.PASSES, "again"),
        (Change.NEW, "new"),
        (Change.GONE, "gone"),
        (Change.CHANGED, "warns"),
        (Change.CHANGED, "better"),
        (Change.CHANGED, "measure"),
        (Change.SAME, "same"),
    }


def test_tests_of_a_suite_that_was_generated_anew_are_the_same_tests() -> None:
    before = flights.results()
    after = [{**row, "test_definition_id": f"new {row['id']}", "id": f"new {row['id']}"} for row in before]
    assert {pair.change for pair in _two(before, after).pairs} == {Change.SAME, Change.STILL}


def test_a_definition_that_moved_to_another_column_is_the_same_test() -> None:
    (pair,) = _two([_test("a", "Passed")], [_test("a", "Failed", column_names="b")]).pairs
    assert pair.change is Change.BEGAN
    assert pair.before is not None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(["Passed", "Failed"]))))
def test_no_result_is_lost_or_told_twice(given_tests: list[tuple[str, str, str]]) -> None:
    rows = [
        _test(place, status, test_definition_id=definition, id=str(number))
        for number, (definition, place, status) in enumerate(given_tests)
    ]
    half = len(rows) // 2
    found = _two(rows[:half], rows[half:])
    assert sorted(int(pair.before.id) for pair in found.pairs if pair.before) == list(range(half))
    assert sorted(int(pair.after.id) for pair in found.pairs if pair.after) == list(range(half, len(rows)))


def test_summary_says_what_began_before_what_passes() -> None:
    summary = summarize_comparison(night())
    assert summary.headline == "1 test began to fail and 1 test passes again."
    assert summary.level is Level.FAILED
    assert "1 test still fails." in summary.sentences
    assert "1 test is new, 1 of them failing." in summary.sentences
    assert "1 test is gone." in summary.sentences


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: replace(r, run=replace(r.run, status="error")), "did not finish"),
        (lambda r: replace(r, run=replace(r.run, test_suite="other")), "of another suite: FLIGHTS / other"),
        (lambda r: replace(r, run=replace(r.run, started_at=flights.GENERATED_AT)), "is the later one"),
    ],
)
def test_runs_that_are_hard_to_compare_say_so(change: Callable[[RunReport], RunReport], said: str) -> None:
    report = _report([_test("a", "Passed")])
    found = summarize_comparison(compare(change(report), report))
    assert said in " ".join(found.sentences)


def test_other_runs_than_tests_are_refused() -> None:
    profile: RunContent = flights.profile_run()
    other = build(profile, generated_at=flights.GENERATED_AT)
    with pytest.raises(UsageError, match="only test runs are compared"):
        compare(other, _report([]))


def test_junit_of_two_runs_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared as JUnit"):
        render(night(), Form.JUNIT)


def test_terminal_lists_what_changed_and_counts_the_rest() -> None:
    text = render(night(), Form.TERMINAL)
    began, passes = text.index("Began to fail (1)"), text.index("Passes again (1)")
    assert began < passes
    assert "changed 3" in text
    assert "run before" in text


def test_document_has_both_sides_of_every_test() -> None:
    found = json.loads(render(night(), Form.JSON))
    assert found["format"] == 1
    assert found["counts"]["began"] == 1
    assert {test["change"]: (bool(test["before"]), bool(test["after"])) for test in found["tests"]} | {} == {
        "began": (True, True),
        "still": (True, True),
        "passes": (True, True),
        "new": (False, True),
        "gone": (True, False),
        "changed": (True, True),
        "same": (True, True),
    }
    assert (found["before"]["run_id"], found["after"]["run_id"]) == ("before", "after")


def test_markdown_fits_into_a_comment_and_counts_what_is_left_out() -> None:
    before = [{**row, "result_status": "Passed"} for row in flights.many(3000).rows["dq_test_results"]]
    after = [{**row, "result_status": "Failed", "result_message": "é" * 200} for row in before]
    text = render(_two(before, after), Form.MARKDOWN)
    assert len(text.encode()) <= LIMIT
    assert "3,000 tests began to fail." in text
    shown = text.count("❌ Failed, ")
    assert f"… and {3000 - shown:,} more" in text


def test_page_has_every_test_with_both_measures() -> None:
    page = render(night(), Form.HTML)
    assert "1 test began to fail and 1 test passes again." in page
    assert re.findall(r'<label class="chip \w+" data-word="([^"]+)">', page) == [change.value for change in Change]
    assert "Measured before" in page
    assert "Measured now" in page


@pytest.mark.parametrize("form", [Form.TERMINAL, Form.JSON, Form.MARKDOWN, Form.HTML])
def test_two_runs_without_a_test_are_compared(form: Form) -> None:
    assert "No test began to fail" in render(_two([], []), form)
