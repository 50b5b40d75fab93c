"""What rules make of facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dqctl.alerts.evaluation import Facts, Finding, Subject, evaluate
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
