"""Messages for people."""

from datetime import UTC, datetime

import pytest

from dqctl.alerts.alert import NAMES, Alert
from dqctl.alerts.message import LINES, compose
from dqctl.alerts.rules import Severity, When
from dqctl.alerts.telling import Known, News

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def known(when: When, suite: str = "nightly", severity: Severity = Severity.WARNING, **labels: str) -> Known:
    of = {"alertname": NAMES[when], "severity": severity.value, "rule": "r", "system": "shop", "suite": suite}
    summary = f"{labels.get('table', suite)}: {when.value}"
    return Known(Alert({**of, **labels}, {"summary": summary, "message": "3 of 4"}, f"run-of-{suite}", NOW))


def news(*began: Known, still: int = 0, ended: tuple[Known, ...] = (), passed: tuple[Known, ...] = ()) -> News:
    return News(tuple(sorted(began, key=lambda each: each.alert.order)), ended, passed, still)


@pytest.mark.parametrize(
    ("found", "subject"),
    [
        (news(known(When.FAILED)), "dqctl prod: shop/nightly: 1 test failed"),
        (
            news(known(When.FAILED, table="a"), known(When.FAILED, table="b"), known(When.ERROR)),
            "dqctl prod: shop/nightly: 2 tests failed, 1 test could not be evaluated",
        ),
        (
            news(known(When.RUN_FAILED), known(When.FAILED, "weekly")),
            "dqctl prod: shop/nightly and shop/weekly: 1 run broke, 1 test failed",
        ),
        (news(*(known(When.FAILED, str(n)) for n in range(3))), "dqctl prod: 3 suites: 3 tests failed"),
        (news(ended=(known(When.FAILED),)), "dqctl prod: shop/nightly: 1 good again"),
        (news(passed=(known(When.FAILED),)), "dqctl prod: shop/nightly: 1 failed and passed again"),
    ],
)
def test_the_subject_says_the_essence(found: News, subject: str) -> None:
    assert compose(found, "prod").subject == subject


def test_the_worst_is_first_and_the_rest_is_counted() -> None:
    began = [known(When.FAILED, table=f"table {number:03}") for number in range(500)]
    worst = known(When.FAILED, "weekly", Severity.CRITICAL, table="orders")
    message = compose(news(*began, worst, still=7), "prod", "https://example.com/results")
    lines = message.body.splitlines()
    assert lines[:2] == ["shop/weekly (run run-of-weekly)", "  critical: orders: failed: 3 of 4"]
    assert len(lines) <= LINES
    shown = sum(line.startswith("  ") for line in lines)
    assert f"and {501 - shown} more" in lines
    assert "7 more that were said before still stand" in lines
    assert lines[-3:] == [
        "dqctl results run-of-weekly", "dqctl results run-of-nightly", "https://example.com/results"
    ]  # fmt: skip
    assert message.severity is Severity.CRITICAL


def test_a_message_of_one_line_stays_one_and_short() -> None:
    one = Known(Alert(known(When.FAILED).alert.labels, {"summary": "a\nb", "message": "x" * 5000}, "run", NOW))
    body = compose(news(one), "prod").body
    assert "  warning: a b: xxx" in body
    assert max(map(len, body.splitlines())) <= 160


def test_what_is_not_published_says_what_to_do() -> None:
    one = Known(
        Alert({"alertname": NAMES[When.PUBLISH_FAILING], "severity": "warning"}, {"summary": "s"}, "", NOW)
    )
    message = compose(news(one), "prod")
    assert message.subject == "dqctl prod: results are not published"
    assert message.body.splitlines()[0] == "the stack"
    assert message.body.endswith("dqctl publish --pending")


@pytest.mark.parametrize("size", [3000, 1990, 400, 150, 20])
def test_what_a_receiver_takes_is_not_exceeded_and_the_rest_is_counted(size: int) -> None:
    began = [known(When.FAILED, table=f"table {number:03} {'x' * 100}") for number in range(500)]
    message = compose(news(*began), "prod", size=size)
    assert len(message.subject) + len(message.body) <= size
    if size >= 150:
        assert "dqctl results run-of-nightly" in message.body
        shown = sum(line.startswith("  ") for line in message.body.splitlines())
        assert f"and {500 - shown} more" in message.body
    assert compose(news(*began), "prod", size=100_000) == compose(news(*began), "prod")
