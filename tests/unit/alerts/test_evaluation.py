"""What rules make of facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dqctl.alerts.evaluation import Facts, Finding, Subject, evaluate, is_judged, unclear
from dqctl.alerts.rules import DEFAULT, Rule, Severity, When

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
FAILED = Finding("orders", "amount", "Missing_Pct", "", "Failed", 3, "12 % missing")
ERROR = Finding("orders", "", "CUSTOM", "id-1", "Error", 1, "no such table")
WARNING = Finding("customers", "email", "Pattern_Match", "", "Warning")
SUITE = Subject(
    "test", "shop", "sales", "nightly", "run-9", "completed", None, NOW, NOW, "run-9", NOW, (0.9, 0.95, 0.97),
    (FAILED, ERROR, WARNING),
)  # fmt: skip


def names(*rules: Rule, subject: Subject = SUITE, **facts: object) -> list[tuple[str, str]]:
    found = evaluate(rules, replace(Facts("default", NOW, (subject,)), **facts))
    return sorted((alert.labels["alertname"], alert.labels.get("table", "")) for alert in found.values())


def test_without_a_rule_failed_and_errored_tests_and_broken_runs_are_alerts() -> None:
    assert names(DEFAULT) == [("DataTestError", "orders"), ("DataTestFailed", "orders")]
    broken = replace(SUITE, run_id="run-10", status="error", error="it broke")
    assert names(DEFAULT, subject=broken) == [
        ("DataQualityRunFailed", ""),
        ("DataTestError", "orders"),
        ("DataTestFailed", "orders"),
    ]
    assert names(DEFAULT, subject=replace(SUITE, status="canceled"))[0] == ("DataQualityRunFailed", "")
    assert names(DEFAULT, subject=Subject("test", "shop", "sales", "new")) == []


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({"systems": ("shop",)}, True),
        ({"systems": ("SHOP",)}, True),
        ({"systems": ("sho",)}, False),
        ({"suites": ("week*", "night??")}, True),
        ({"table_groups": ("[rs]ales",)}, True),
        ({"tables": ("ord*",), "columns": ("amount",), "test_types": ("missing_*",)}, True),
        ({"tables": ("ord*",), "columns": ("name",)}, False),
        ({"test_types": ("CUSTOM",)}, False),
    ],
)
def test_selectors_are_patterns_that_do_not_mind_case(selector: dict[str, tuple[str, ...]], fits: bool) -> None:
    rule = replace(Rule("r", (When.FAILED,)), **selector)
    assert bool(names(rule)) is fits


def test_a_selector_of_suites_leaves_profiles_out() -> None:
    profile = Subject("profile", "shop", "sales", "", "run-1", "error", "broke", NOW)
    assert names(Rule("r", (When.RUN_FAILED,)), subject=profile) == [("DataQualityRunFailed", "")]
    assert names(Rule("r", (When.RUN_FAILED,), suites=("*y",)), subject=profile) == []


def test_repeated_counts_runs_in_a_row() -> None:
    assert names(Rule("r", (When.REPEATED,), times=3)) == [("DataTestFailsRepeatedly", "orders")]
    assert names(Rule("r", (When.REPEATED,), times=4)) == []


@pytest.mark.parametrize(
    ("scores", "drop", "over", "fires"),
    [
        ((0.9, 0.95), 0.05, 1, True),
        ((0.9, 0.95), 0.051, 1, False),
        ((0.9, 0.9, 1.0, 1.0), 0.05, 3, True),
        ((0.9, 0.9, 1.0, 1.0), 0.05, 1, False),
        ((0.9,), 0.05, 1, False),
        ((None, 0.9), 0.05, 1, False),
        ((0.5, None, 0.9), 0.05, 2, True),
        ((0.5, None, 0.9), 0.05, 1, False),
        ((), 0.05, 1, False),
    ],
)
def test_a_score_drops_against_the_median_of_those_before(
    scores: tuple[float | None, ...], drop: float, over: int, fires: bool
) -> None:
    rule = Rule("r", (When.SCORE_DROP,), drop=drop, over=over)
    assert bool(names(rule, subject=replace(SUITE, scores=scores))) is fires


def test_a_suite_is_late_after_its_time_and_one_never_tested_since_the_rule_came() -> None:
    rule = Rule("r", (When.RUN_LATE,), every=3600.0)
    late = replace(SUITE, last_success=NOW - timedelta(hours=1, seconds=1))
    assert names(rule, subject=late) == [("DataQualityRunLate", "")]
    assert names(rule, subject=replace(late, last_success=NOW - timedelta(hours=1))) == []
    assert names(rule, subject=replace(late, kind="profile")) == []
    never = Subject("test", "shop", "sales", "new")
    assert names(rule, subject=never, declared={"r": NOW - timedelta(hours=2)}) == [("DataQualityRunLate", "")]
    assert names(rule, subject=never, declared={"r": NOW - timedelta(minutes=2)}) == []


def test_a_suite_that_is_newer_than_the_rule_is_not_late_before_its_time() -> None:
    rule, declared = Rule("r", (When.RUN_LATE,), every=3600.0), {"r": NOW - timedelta(days=30)}
    new = Subject("test", "shop", "sales", "new", since=NOW - timedelta(minutes=59))
    assert names(rule, subject=new, declared=declared) == []
    old = replace(new, since=NOW - timedelta(minutes=61))
    assert names(rule, subject=old, declared=declared) == [("DataQualityRunLate", "")]


@pytest.mark.parametrize(
    ("at", "timezone", "last", "now", "is_late"),
    [
        # Each night at 02:17, and two hours for it.
        ("17 2 * * *", "UTC", "2026-11-20 02:40", "2026-11-21 04:17", False),
        ("17 2 * * *", "UTC", "2026-11-20 02:40", "2026-11-21 04:18", True),
        ("17 2 * * *", "UTC", "2026-11-21 02:18", "2026-11-21 23:00", False),
        # On working days: from Friday's run on nothing is missing before Monday.
        ("17 2 * * 1-5", "UTC", "2026-11-20 02:40", "2026-11-23 04:17", False),
        ("17 2 * * 1-5", "UTC", "2026-11-20 02:40", "2026-11-23 04:18", True),
        ("17 2 * * *", "Europe/Berlin", "2026-11-20 01:40", "2026-11-21 03:17", False),
        ("17 2 * * *", "Europe/Berlin", "2026-11-20 01:40", "2026-11-21 03:18", True),
        # In summer an hour earlier.
        ("17 2 * * *", "Europe/Berlin", "2026-07-20 00:40", "2026-07-21 02:18", True),
        # The night in which there is no 02:17.
        ("17 2 * * *", "Europe/Berlin", "2026-03-28 01:40", "2026-03-29 03:10", False),
        ("17 2 * * *", "Europe/Berlin", "2026-03-28 01:40", "2026-03-29 03:18", True),
    ],
)
def test_a_suite_is_late_after_each_time_that_it_is_due(
    at: str, timezone: str, last: str, now: str, is_late: bool
) -> None:
    rule = Rule("r", (When.RUN_LATE,), at=at, timezone=timezone)
    tested = replace(SUITE, last_success=datetime.fromisoformat(last).replace(tzinfo=UTC))
    found = names(rule, subject=tested, now=datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert bool(found) is is_late


def test_what_could_not_be_evaluated_is_not_good_again() -> None:
    rules = (Rule("a", (When.FAILED,)), Rule("b", (When.REPEATED,)), Rule("c", (When.ERROR,)))
    failed = evaluate(rules, Facts("default", NOW, (replace(SUITE, findings=(FAILED,)),)))
    assert len(failed) == 2
    errored = Facts("default", NOW, (replace(SUITE, findings=(replace(FAILED, status="Error"),)),))
    assert [each.labels["rule"] for each in evaluate(rules, errored).values()] == ["c"]
    assert unclear(rules, errored) == failed.keys()
    again = Facts("default", NOW, (replace(SUITE, findings=(replace(FAILED, times=1),)),))
    assert unclear(rules, again) == {print_ for print_, each in failed.items() if each.labels["rule"] == "b"}
    assert unclear(rules, Facts("default", NOW, (replace(SUITE, findings=()),))) == frozenset()


@pytest.mark.parametrize(
    ("rule", "subject", "judged"),
    [
        (Rule("r", (When.FAILED,)), SUITE, True),
        (Rule("r", (When.FAILED,)), replace(SUITE, findings=()), True),
        (Rule("r", (When.FAILED,), Severity.CRITICAL), SUITE, False),
        (Rule("r", (When.ERROR,)), SUITE, False),
        (Rule("r", (When.FAILED,), tables=("customers",)), SUITE, False),
        (Rule("r", (When.FAILED,), suites=("weekly",)), SUITE, False),
        (Rule("other", (When.FAILED,)), SUITE, False),
        (Rule("r", (When.FAILED,)), replace(SUITE, suite="renamed"), False),
    ],
)
def test_whether_anybody_still_looks_at_it(rule: Rule, subject: Subject, judged: bool) -> None:
    (alert,) = evaluate((Rule("r", (When.FAILED,)),), Facts("default", NOW, (SUITE,))).values()
    assert is_judged(alert, (rule,), Facts("default", NOW, (subject,))) is judged


def test_publishing_fails_when_results_wait_for_long() -> None:
    rule = Rule("r", (When.PUBLISH_FAILING,), after=600.0)
    waiting = {"unpublished": 2, "unpublished_since": NOW - timedelta(seconds=601)}
    assert names(rule, **waiting) == [("DataQualityPublishFailing", "")]
    assert names(rule, **(waiting | {"unpublished_since": NOW - timedelta(seconds=600)})) == []
    assert names(rule) == []


def test_labels_stay_the_same_from_run_to_run_and_hold_no_empty_value() -> None:
    later = replace(
        SUITE, run_id="run-10", completed_id="run-10", findings=(replace(FAILED, times=4, message="13 % missing"),)
    )
    rule = Rule("r", (When.FAILED,), Severity.CRITICAL)
    (first,) = evaluate((rule,), Facts("default", NOW, (SUITE,))).values()
    (second,) = evaluate((rule,), Facts("default", NOW + timedelta(days=1), (later,))).values()
    assert (first.fingerprint, first.labels) == (second.fingerprint, second.labels)
    assert first.annotations != second.annotations
    assert first.labels == {
        "alertname": "DataTestFailed", "severity": "critical", "rule": "r", "stack": "default", "system": "shop",
        "table_group": "sales", "suite": "nightly", "table": "orders", "column": "amount",
        "test_type": "Missing_Pct",
    }  # fmt: skip
    # Known to Alertmanager and to saved states: it must not change.
    assert first.fingerprint == evaluate((rule,), Facts("default", NOW, (later,))).popitem()[0]


def test_two_rules_about_one_test_are_two_alerts() -> None:
    rules = (Rule("a", (When.FAILED,)), Rule("b", (When.FAILED,)))
    assert len(evaluate(rules, Facts("default", NOW, (SUITE,)))) == 2
