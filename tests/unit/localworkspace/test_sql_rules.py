"""Each rule: the gap is there when the engine gets the text as it is, and closed behind a session."""

from collections.abc import Iterator

import pytest
from lakehouse_client import Client

from dqctl.localworkspace.engine import EngineSession, open_engine
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.rules import RULES
from dqctl.localworkspace.sql.statement import parse_tree

# rule: (statement, what a warehouse answers, what the engine has to get)
CASES: dict[str, tuple[str, list[tuple[object, ...]], str]] = {
    "where_am_i": (
        "SELECT current_catalog(), current_schema(), current_user()",
        [("main", "default", "local")],
        "SELECT 'main' AS `current_catalog()`, 'default' AS `current_schema()`, 'local' AS `current_user()`",
    ),
    "qualify": (
        "SELECT a, row_number() OVER (ORDER BY a DESC) AS n FROM VALUES (1), (2) AS t(a) QUALIFY n = 1",
        [(2, 1)],
        "SELECT a, n FROM (SELECT a, row_number() OVER (ORDER BY a DESC) AS n FROM VALUES (1), (2) AS t(a)) AS _t"
        " WHERE n = 1",
    ),
    "days_between_dates": (
        "SELECT EXTRACT(DAY FROM DATE('2024-03-01') - CAST('2024-02-01' AS DATE)) AS days",
        [(29,)],
        "SELECT datediff(DATE('2024-03-01'), CAST('2024-02-01' AS DATE)) AS days",
    ),
    "dates_before_1678": (
        "SELECT CASE WHEN max(t) > CAST('0001-01-01' AS DATE) THEN 'late' ELSE 'early' END AS x"
        " FROM VALUES (TIMESTAMP'2024-01-01') AS v(t)",
        [("late",)],
        "SELECT CASE WHEN max(t) > CAST('0001-01-01' AS TIMESTAMP_NTZ) THEN 'late' ELSE 'early' END AS x"
        " FROM VALUES (CAST('2024-01-01' AS TIMESTAMP)) AS v(t)",
    ),
    "aggregates_of_a_cast": (
        "SELECT count(DISTINCT t) || '', count(DISTINCT CAST(t AS DATE)) || '' FROM"
        " VALUES (TIMESTAMP'2024-01-01'), (TIMESTAMP'2024-01-01 10:00:00') AS v(t)",
        [("2", "1")],
        "SELECT count(DISTINCT t) || '', count(DISTINCT coalesce(CAST(t AS DATE), NULL)) || '' FROM"
        " VALUES (CAST('2024-01-01' AS TIMESTAMP)), (CAST('2024-01-01 10:00:00' AS TIMESTAMP)) AS v(t)",
    ),
    "sum_of_untyped_null": (
        "SELECT sum(x) AS total FROM (SELECT NULL AS x UNION ALL SELECT NULL AS x) AS u",
        [(None,)],
        "SELECT sum(x) AS total FROM (SELECT CAST(NULL AS TINYINT) AS x UNION ALL SELECT CAST(NULL AS TINYINT) AS x)"
        " AS u",
    ),
}


@pytest.fixture(scope="module")
def engine_session() -> Iterator[EngineSession]:
    engine = open_engine("sail")
    session = engine.open_session()
    session.configure({"spark.sql.ansi.enabled": "true", "spark.sql.session.timeZone": "UTC"})
    yield session
    session.close()
    engine.close()


def test_every_rule_has_a_case_and_a_name_of_its_own() -> None:
    assert sorted(rule.name for rule in RULES) == sorted(CASES)
    assert all(rule.gap and rule.found_in for rule in RULES)


@pytest.mark.parametrize("name", CASES)
def test_rule_writes_what_the_engine_can_read(name: str) -> None:
    statement, _, expected = CASES[name]
    rule = next(rule for rule in RULES if rule.name == name)
    assert to_sql(rule.apply(parse_tree(statement), Namespace("main", "default"))) == expected


@pytest.mark.parametrize("name", CASES)
def test_rule_answers_what_a_warehouse_answers(name: str, client: Client) -> None:
    statement, answer, _ = CASES[name]
    assert client.rows(statement) == answer


@pytest.mark.parametrize("name", CASES)
def test_the_gap_is_still_there(name: str, engine_session: EngineSession) -> None:
    # When this fails, the engine has closed the gap and the rule can go.
    statement, answer, _ = CASES[name]
    rule = next(rule for rule in RULES if rule.name == name)
    try:
        rows = [tuple(row.values()) for row in engine_session.query(statement).to_pylist()]
    except Exception as error:
        assert rule.after is None or rule.after in str(error)
    else:
        assert rows != answer


@pytest.mark.parametrize("name", CASES)
def test_rule_leaves_other_statements_alone(name: str) -> None:
    rule = next(rule for rule in RULES if rule.name == name)
    statement = (
        "WITH a AS (SELECT count(*) AS n, max(CAST(x AS INT)) AS m, NULL AS nothing FROM t) "
        "SELECT n, m, EXTRACT(DAY FROM ts) AS d FROM a WHERE ts > CAST('2020-01-01' AS DATE) ORDER BY n"
    )
    assert to_sql(rule.apply(parse_tree(statement), Namespace("main", "default"))) == statement
