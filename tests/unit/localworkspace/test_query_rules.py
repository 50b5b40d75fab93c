"""Each rule for queries: what a warehouse answers, and that the engine alone does not."""

# ruff: noqa: E501 - statements as they are sent

from decimal import Decimal
from typing import Any

import pytest

from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import query_rules
from dqctl.localworkspace.sql.rules import RULES
from lakehouse_client import Client

# rule: a query, and what a warehouse answers
ANSWERED: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "functions_of_types": (
        "SELECT string(TIMESTAMP '2024-05-06 10:00:00.5') AS x, length(string(1)) AS n, decimal('1.5') AS d",
        [("2024-05-06 10:00:00.5", 1, Decimal(2))],
    ),
    "decimals_with_exponent": (
        "SELECT 5E3BD AS a, -1.5e-3BD AS b, CAST('1E2' AS DECIMAL(5, 1)) AS c",
        [(Decimal(5000), Decimal("-0.0015"), Decimal("100.0"))],
    ),
    "range_of_decimals": ("SELECT id FROM range(1.0, 3.5) ORDER BY id", [(1,), (2,)]),
    "rows_as_values": (
        "SELECT (a, b) IN ((1, 'x'), (2, 'y')) AS i, (a, b) NOT IN ((1, 'y')) AS n, (a, b) = (1, 'x') AS e,"
        " (a, b) < (1, 'y') AS l, struct(a, b) IN (struct(1, 'x'), (2, 'y')) AS s FROM VALUES (1, 'x') AS t(a, b)",
        [(True, True, True, True, True)],
    ),
    "synonyms": ("SELECT charindex('b', 'ab') AS x, iff(1 > 2, 'a', 'b') AS y, nvl(NULL, 3) AS z, ifnull(NULL, 4) AS w", [(2, "b", 3, 4)]),
    "like_any_and_all": (
        "SELECT 'abc' LIKE ALL ('a%', '%c') AS a, 'abc' NOT LIKE ALL ('a%', 'x%') AS b,"
        " 'ABC' ILIKE ANY ('x', 'a%') AS c",
        [(True, False, True)],
    ),
    "decode_as_case": (
        "SELECT decode(2, 1, 'one', 2, 'two', 'many') AS a, decode(NULL, 1, 'one', NULL, 'none') AS b,"
        " decode(9, 1, 'one') AS c",
        [("two", "none", None)],
    ),
    "json_paths": (
        'SELECT j:a.b[1]::INT AS x, j:[\'c d\'] AS y, j:none AS z FROM VALUES (\'{"a": {"b": [1, 2]}, "c d": "e"}\') AS t(j)',
        [(2, "e", None)],
    ),
    "named_arguments": (
        "SELECT mask('AbC1-', digitChar => 'd', lowerChar => 'q') AS x, mask('AbC1-') AS y",
        [("XqXd-", "XxXn-")],
    ),
    "pivot_of_a_table": (
        "WITH t AS (SELECT * FROM VALUES ('p', 'a', 1), ('p', 'b', 2), ('q', 'a', 3) AS v(g, k, n))"
        " SELECT * FROM t AS x PIVOT (sum(n) FOR k IN ('a', 'b' AS bb)) ORDER BY g",
        [("p", 1, 2), ("q", 3, None)],
    ),
    "order_by_all": ("SELECT a, b FROM VALUES (2, 1), (1, 2), (1, 1) AS t(a, b) ORDER BY ALL", [(1, 1), (1, 2), (2, 1)]),
}  # fmt: skip

# rule: queries that are refused, because their values would be wrong or are not to be had
REFUSED: dict[str, tuple[str, ...]] = {
    "refused_functions": ("SELECT bround(2.5)", "SELECT parse_json('1')"),
    "refused_types": ("SELECT CAST(1 AS VARIANT)", "CREATE TABLE v AS SELECT named_struct('a', 1::variant) AS x"),
    "collations": ("SELECT 'a' COLLATE UTF8_LCASE = 'A'",),
    "recursion": (
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT * FROM (WITH RECURSIVE s(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM s WHERE m < 3)"
        " SELECT r.n + 1 FROM r JOIN s ON s.m = r.n)) SELECT * FROM r",
    ),
    "named_arguments": ("SELECT rpad(str => 'a', len => 2)", "SELECT mask('a', nope => 'b')"),
    "order_by_all": ("SELECT * FROM VALUES (1) AS t(a) ORDER BY ALL",),
}


def test_every_rule_for_queries_has_a_case() -> None:
    known = {rule.name for rule in RULES if rule.apply.__module__ == query_rules.__name__}
    assert known == set(ANSWERED) | set(REFUSED)


@pytest.mark.parametrize("name", ANSWERED)
def test_a_rule_answers_what_a_warehouse_answers(name: str, client: Client) -> None:
    statement, answer = ANSWERED[name]
    assert client.rows(statement) == answer


@pytest.mark.parametrize("name", ANSWERED)
def test_the_engine_alone_does_not(name: str, engine_session: EngineSession) -> None:
    # When this fails, the engine has closed the gap and the rule can go.
    statement, answer = ANSWERED[name]
    try:
        found = [tuple(row.values()) for row in engine_session.query(statement).to_pylist()]
    except Exception:  # noqa: BLE001 - whatever the engine calls it
        return
    assert found != answer


@pytest.mark.parametrize("statement", [each for found in REFUSED.values() for each in found])
def test_what_would_be_wrong_is_refused_by_name(statement: str, client: Client) -> None:
    assert client.error(statement).error_class in ("UNSUPPORTED_FEATURE", "INVALID_PARAMETER_VALUE")


def test_a_star_leaves_columns_out_wherever_it_stands(client: Client) -> None:
    rows = client.rows(
        "WITH t AS (SELECT 1 AS a, 2 AS b, 3 AS c), u AS (SELECT * EXCEPT (c) FROM t)"
        " SELECT x.* EXCEPT (b), y.b AS z FROM u AS x JOIN (SELECT * EXCEPT (A) FROM t) AS y ON x.b = y.b"
    )
    assert rows == [(1, 2)]
    assert client.error("SELECT * EXCEPT (nope) FROM VALUES (1) AS t(a)").sqlstate == "42703"
