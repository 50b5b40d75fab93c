"""What a change did to the tests, and what that makes of the exit code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from dqctl.errors import ExitCode, UsageError
from dqctl.records import Row
from dqctl.report.markdown import LIMIT
from dqctl.report.model import RunReport, build
from dqctl.report.options import FailOn
from dqctl.report.render import Form, render
from dqctl.report.review import Baseline, Effect, Review, review, suite_name
from unit.report import flights

STATUSES = ("Passed", "Log", "Warning", "Failed", "Error")


def _test(name: str, status: str, *, stack: str = "here", **values: Any) -> Row:
    given = {
        "id": f"{stack}/{name}/{status}",
        # Other ids in each stack, as generated tests have them.
        "test_definition_id": f"{stack}/{name}",
        "test_type": "Required",
        "table_name": "flights",
        "column_names": name,
        "result_status": status,
        "result_message": f"{name}: {status}",
    }
    return flights.result(**given | values)


def report(rows: Sequence[Row], suite: str = "suite", **values: Any) -> RunReport:
    run = flights.run("test", test_suite=suite, run_id=flights.identifier(suite, *values.values()), **values)
    return build(flights.content(run, dq_test_results=list(rows)), (), generated_at=flights.GENERATED_AT)


def beside(
    base: Sequence[RunReport], now: Sequence[RunReport], fail_on: FailOn = FailOn.FAIL, **more: Any
) -> Review:
    baseline = Baseline(Path("base.json"), {suite_name(each): each for each in base})
    return review(now, lambda _: fail_on, baseline, **more)


def one(before: str | None, after: str | None, fail_on: FailOn = FailOn.FAIL) -> Review:
    earlier = [_test("tailnum", before, stack="base")] if before else []
    later = [_test("tailnum", after)] if after else []
    return beside([report(earlier)], [report(later)], fail_on)


def effect(found: Review) -> Effect:
    (only,) = [each for each in Effect if found.count(each)]
    return only


WITH_FAIL = {
    # before: what each of STATUSES is now
    "Passed": "else else warns broken broken",
    "Log": "else else warns broken broken",
    "Warning": "else else else broken broken",
    "Failed": "mended mended mended still broken",
    "Error": "mended mended mended still still",
    None: "new new new broken broken",
}
WITH_WARNING = WITH_FAIL | {
    "Passed": "else else broken broken broken",
    "Log": "else else broken broken broken",
    "Warning": "mended mended still broken broken",
    "Failed": "mended mended still still broken",
    "Error": "mended mended still still still",
    None: "new new broken broken broken",
}


@pytest.mark.parametrize("before", WITH_FAIL)
@pytest.mark.parametrize("fail_on", FailOn)
def test_every_way_from_one_outcome_to_another(before: str | None, fail_on: FailOn) -> None:
    wanted = WITH_WARNING if fail_on is FailOn.WARNING else WITH_FAIL
    found = [effect(one(before, after, fail_on)).name.lower() for after in STATUSES]
    assert " ".join(found) == wanted[before]
    if before:
        assert effect(one(before, None, fail_on)) is Effect.GONE


@pytest.mark.parametrize(
    ("before", "after", "fail_on", "code"),
    [
        ("Passed", "Failed", FailOn.FAIL, 1),
        ("Failed", "Failed", FailOn.FAIL, 0),
        (None, "Failed", FailOn.FAIL, 1),
        ("Failed", None, FailOn.FAIL, 0),
        ("Passed", "Warning", FailOn.FAIL, 0),
        ("Passed", "Warning", FailOn.WARNING, 1),
        ("Warning", "Warning", FailOn.WARNING, 0),
        ("Warning", "Failed", FailOn.WARNING, 1),
        ("Passed", "Failed", FailOn.ERROR, 0),
        ("Passed", "Error", FailOn.ERROR, 4),
        ("Passed", "Error", FailOn.FAIL, 4),
        ("Failed", "Error", FailOn.FAIL, 4),
        ("Error", "Error", FailOn.FAIL, 0),
        ("Error", "Failed", FailOn.FAIL, 0),
        ("Passed", "Failed", FailOn.NEVER, 0),
        ("Passed", "Error", FailOn.NEVER, 0),
    ],
)
def test_only_what_is_newly_broken_makes_it_fail(
    before: str | None, after: str | None, fail_on: FailOn, code: int
) -> None:
    assert one(before, after, fail_on).exit_code == code


def test_errored_is_worse_than_failed() -> None:
    now = [_test("a", "Failed"), _test("b", "Error")]
    assert beside([report([])], [report(now)]).exit_code is ExitCode.TESTGEN


def test_a_run_that_did_not_finish_fails_whatever_the_base_had() -> None:
    broken = report([], status="error", error_message="no such table")
    found = beside([broken], [broken], FailOn.NEVER)
    assert found.exit_code is ExitCode.TESTGEN
    assert "did not finish: no such table" in render(found, Form.TERMINAL)


def test_without_a_base_all_that_fails_is_new() -> None:
    now = report([_test("a", "Failed"), _test("b", "Passed")])
    found = review([now], lambda _: FailOn.FAIL, None)
    assert (found.count(Effect.BROKEN), found.count(Effect.NEW), found.exit_code) == (1, 1, 1)
    assert "nothing to compare with yet" in render(found, Form.MARKDOWN)


def test_tests_of_one_type_in_one_place_are_told_apart_by_what_they_check() -> None:
    """Else one that was mended hides another one that broke."""

    def custom(checks: str, status: str, stack: str) -> Row:
        about = {"test_type": "CUSTOM", "column_names": None, "test_description": checks}
        return _test(checks, status, stack=stack, **about)

    base = report([custom("late", "Failed", "base"), custom("early", "Passed", "base")])
    now = report([custom("late", "Passed", "here"), custom("early", "Failed", "here")])
    found = beside([base], [now])
    assert [(p.test.checks, p.test.status) for _, p in found.of(Effect.BROKEN)] == [("early", "Failed")]
    assert [p.test.checks for _, p in found.of(Effect.MENDED)] == ["late"]


def test_the_same_place_in_another_suite_is_another_test() -> None:
    base = [report([_test("a", "Failed", stack="base")], "one"), report([_test("a", "Passed")], "two")]
    now = [report([_test("a", "Passed")], "one"), report([_test("a", "Failed")], "two")]
    found = beside(base, now)
    assert [suite.name for suite, _ in found.of(Effect.BROKEN)] == ["FLIGHTS/two"]


def test_suites_that_only_one_side_has_are_said() -> None:
    found = beside([report([], "old")], [report([_test("a", "Passed")], "new")], not_run=("FLIGHTS/late",))
    text = render(found, Form.TERMINAL)
    assert "Only the base has run: FLIGHTS/old." in text
    assert "The base does not know: FLIGHTS/new." in text
    assert "Not run: FLIGHTS/late." in text


def test_markdown_has_what_is_newly_broken_first_and_folds_what_was_broken_before() -> None:
    base = [
        *(_test("began", "Passed", stack="b"), _test("still", "Failed", stack="b")),
        *(_test("again", "Failed", stack="b"), _test("gone", "Passed", stack="b")),
    ]
    now = [
        _test("began", "Failed", result_measure="12", threshold_value="3", measure_uom="Late"),
        *(_test("still", "Failed"), _test("again", "Passed"), _test("warns", "Warning")),
    ]
    text = render(beside([report(base)], [report(now)]), Form.MARKDOWN)
    assert text.startswith("## ❌ 1 test is newly broken and 1 test is mended.\n")
    parts = [text.index(part) for part in ("### Newly broken", "### Mended", "### Gone", "<details>")]
    assert parts == sorted(parts)
    (row,) = [line for line in text.splitlines() if "`began`" in line]
    for said in ("✅ Passed", "❌ Failed", "12 (Late)", "3", "began: Failed"):
        assert said in row
    folded = text[text.index("<details><summary>Still broken: 1</summary>") :]
    assert "`still`" in folded
    assert folded.count("<details>") == folded.count("</details>") == 1


HOSTILE = "</details><script>x</script> @octocat #1 | [a](http://b) `c` --> <!-- \n## x"


def test_hostile_names_and_messages_stay_text() -> None:
    about = {"result_message": HOSTILE, "table_name": HOSTILE, "test_name_short": HOSTILE}
    found = beside(
        [report([], HOSTILE)], [report([_test(HOSTILE, "Failed", **about)], HOSTILE)], not_run=(HOSTILE,)
    )
    parsed = MarkdownIt("commonmark", {"html": True}).enable("table").parse(render(found, Form.MARKDOWN))
    tokens = [inner for token in parsed for inner in (token, *(token.children or ()))]
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "strong_open"}
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2", "h3"]
    cells = [token for token in tokens if token.type == "td_open"]
    assert len(cells) == len(Effect) + 9, "a row of counts and one of nine cells"
    plain = "".join(token.content for token in tokens if token.type == "text")
    assert "@octocat" not in plain
    assert "#1" not in plain


def test_a_comment_holds_it_whatever_there_is_to_say() -> None:
    long = "ä€😀" * 200
    now = [_test(f"{number} {long}", "Failed", result_message=long) for number in range(3000)]
    base = [_test(f"{number} {long}", "Failed", stack="b") for number in range(1000)]
    names = tuple(f"{long}{number}" for number in range(500))
    text = render(beside([report(base)], [report(now)], not_run=names), Form.MARKDOWN)
    assert len(text.encode()) <= LIMIT
    assert len(text) <= 65_000
    assert text.count("<details>") == text.count("</details>")
    assert "2,000" in text


def test_plain_text_has_a_line_for_each_and_ends() -> None:
    now = [_test(f"c{number}", "Failed", result_message="line\nline " * 100) for number in range(100)]
    lines = render(beside([report([])], [report(now)]), Form.TERMINAL).splitlines()
    assert lines[0] == "100 tests are newly broken."
    assert len(lines) < 50
    assert max(map(len, lines)) < 400
    assert "... and 70 more newly broken" in lines


def test_json_has_what_changed_and_counts_the_rest() -> None:
    found = json.loads(render(one("Passed", "Failed"), Form.JSON))
    assert found["counts"]["broken"] == 1
    (test,) = found["tests"]
    assert (test["effect"], test["before"]["status"], test["after"]["status"]) == ("broken", "Passed", "Failed")


@pytest.mark.parametrize("form", [Form.JUNIT, Form.HTML])
def test_forms_that_there_are_not_are_refused(form: Form) -> None:
    with pytest.raises(UsageError, match="no review of several suites"):
        render(one("Passed", "Failed"), form)
