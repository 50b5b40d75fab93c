"""Each rule for clauses and functions: what a warehouse answers, and that the engine alone does not."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import clause_rules, function_rules
from dqctl.localworkspace.sql.rules import RULES
from lakehouse_client import Client
from rule_cases import ANSWERED

CASES = [
    pytest.param(*case, id=f"{name}-{number}")
    for name, cases in ANSWERED.items()
    for number, case in enumerate(cases)
]


def test_every_rule_has_a_case() -> None:
    modules = (clause_rules.__name__, function_rules.__name__)
    assert {rule.name for rule in RULES if rule.apply.__module__ in modules} == set(ANSWERED)


@pytest.mark.parametrize(("statement", "answer"), CASES)
def test_a_rule_answers_what_a_warehouse_answers(
    statement: str, answer: list[tuple[Any, ...]], client: Client
) -> None:
    assert client.rows(statement) == answer


@pytest.mark.parametrize(("statement", "answer"), CASES)
def test_the_engine_alone_does_not(
    statement: str, answer: list[tuple[Any, ...]], engine_session: EngineSession
) -> None:
    # When this fails, the engine has closed the gap and the rule, or that part of it, can go.
    try:
        found = [tuple(row.values()) for row in engine_session.query(statement).to_pylist()]
    except Exception:  # noqa: BLE001 - whatever the engine calls it
        return
    assert found != answer


def test_a_window_that_nobody_defined_is_an_error(client: Client) -> None:
    error = client.error("SELECT sum(a) OVER (w ROWS UNBOUNDED PRECEDING) FROM VALUES (1) AS t(a)")
    assert (error.error_class, error.sqlstate) == ("MISSING_WINDOW_SPECIFICATION", "42P20")


def test_hints_change_nothing(client: Client) -> None:
    assert client.rows("SELECT /*+ BROADCAST(nobody), REPARTITION(3) */ 1 AS x") == [(1,)]


def test_rows_of_time_windows_are_grouped(client: Client) -> None:
    stamps = "VALUES (TIMESTAMP'2024-04-01 10:00:00'), (TIMESTAMP'2024-04-01 23:00:00') AS t(ts)"
    rows = client.rows(f"SELECT window.start, count(*) FROM {stamps} GROUP BY window(ts, '1 day')")
    assert rows == [(datetime(2024, 4, 1, tzinfo=UTC), 2)]
