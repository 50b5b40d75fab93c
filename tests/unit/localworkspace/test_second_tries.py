"""Each rule for what the engine refuses: the gap is there, and closed for queries and for all that is made of them."""

# ruff: noqa: E501 - statements as they are sent

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dqctl.localworkspace.engine import Engine, EngineSession
from dqctl.localworkspace.sql import retrying  # noqa: F401 - registers all of them
from dqctl.localworkspace.sql.second_tries import SECOND_TRIES
from lakehouse_client import Client

MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC)
ONE = datetime(2024, 1, 1, 1, tzinfo=UTC)
BOTH = "(SELECT DATE'2024-01-01' AS d, TIMESTAMP'2024-01-01 01:00:00' AS t) AS v"

# rule: queries, and what a warehouse answers
ANSWERED: dict[str, list[tuple[str, list[tuple[Any, ...]]]]] = {
    "dates_before_1678": [
        (
            "SELECT CASE WHEN max(t) > CAST('0001-01-01' AS DATE) THEN 'late' ELSE 'early' END AS x FROM VALUES (TIMESTAMP'2024-01-01') AS v(t)",
            [("late",)],
        )
    ],
    "columns_of_using": [
        (
            "SELECT a.k, b.v FROM (SELECT 1 AS k) AS a JOIN (SELECT 1 AS k, 2 AS v) AS b USING (k) WHERE b.k = 1",
            [(1, 2)],
        )
    ],
    # As TestGen asks in 5.33.3, and what else may stand there.
    "aliases_beside_their_use": [
        (
            "SELECT upper(a) AS pattern, count(*) AS ct, ct || ' | ' || pattern || max(b) AS told, 1 + 1 AS two, told || '!' AS x"
            " FROM VALUES ('x', 1), ('X', 2), ('y', 3) AS t(a, b) GROUP BY pattern HAVING len(pattern) > 0 ORDER BY ct DESC LIMIT 1",
            [("X", 2, "2 | X2", 2, "2 | X2!")],
        ),
        # A column comes before an alias of its name, beside aliases that are meant and in another SELECT.
        ("SELECT a * 10 AS a, a + 1 AS b, b * 2 AS c FROM VALUES (1) AS t(a)", [(10, 2, 4)]),
        ("SELECT n AS m, m + 1 AS l FROM (SELECT a * 10 AS a, a + 1 AS n FROM VALUES (1) AS t(a))", [(2, 3)]),
    ],
    "order_by_aggregates": [
        ("SELECT a AS i, upper(b) FROM VALUES (1, 'x'), (1, 'x'), (2, 'y') AS t(a, b) GROUP BY a, b ORDER BY count(*) DESC, i LIMIT 5",
         [(1, "X"), (2, "Y")]),
        ("SELECT x FROM (SELECT a AS x FROM VALUES (1), (3), (3) AS t(a) GROUP BY a HAVING a > 0 ORDER BY max(a) DESC LIMIT 1)", [(3,)]),
    ],
    "order_by_aggregates_without_groups": [("SELECT count(*) AS n FROM VALUES (1), (2) AS t(a) ORDER BY max(a)", [(2,)])],
    "averages_of_texts": [("SELECT avg(a) AS x, avg(b) AS y FROM VALUES ('1.5', 1), ('2.5', 2) AS t(a, b)", [(2.0, 1.5)])],
    "computed_places": [
        ("SELECT split('a,b,c', ',')[size(split('a,b,c', ',')) - 1] AS x, map('k', 1)[lower('K')] AS m", [("c", 1)]),
        ("SELECT a[i - 1] + a[0] AS x FROM VALUES (array(5, 6), 2) AS t(a, i)", [(11,)]),
    ],
    "places_by_columns": [("SELECT a[i] AS x FROM VALUES (array(5, 6), 1) AS t(a, i)", [(6,)])],
    "fields_of_lists": [
        ("SELECT a.k AS x, t.a.k AS y, array(named_struct('n', a[0].k)).n AS z FROM (SELECT array(named_struct('k', 1), named_struct('k', 2)) AS a) AS t",
         [([1, 2], [1, 2], [1])]),
    ],
    "dates_beside_timestamps": [
        (f"SELECT d AS x FROM {BOTH} UNION ALL SELECT t FROM {BOTH} ORDER BY x", [(MIDNIGHT,), (ONE,)]),
        (f"WITH w AS (SELECT * FROM {BOTH}) SELECT 1 AS n, t AS x FROM w UNION SELECT 2, t FROM w UNION (SELECT 3, d FROM w LIMIT 1) ORDER BY n",
         [(1, ONE), (2, ONE), (3, MIDNIGHT)]),
        (f"SELECT greatest(d, t) AS g, least(t, d) AS l, coalesce(d, t) AS c, nvl(d, t) AS v, if(d < t, d, t) AS i FROM {BOTH}",
         [(ONE, MIDNIGHT, MIDNIGHT, MIDNIGHT, MIDNIGHT)]),
        (f"SELECT CASE WHEN max(t) > max(d) THEN max(d) ELSE max(t) END AS x, CASE d WHEN t THEN d END AS y FROM {BOTH} GROUP BY d, t",
         [(MIDNIGHT, None)]),
        (f"SELECT x FROM (SELECT array(coalesce(NULL, d), t) AS x FROM {BOTH})", [([MIDNIGHT, ONE],)]),
    ],
    "numbers_beside_texts": [
        ("SELECT 1 + '7' AS a, '7' * 2L AS b, a - '1' AS c, b % 4 AS d FROM VALUES (3, '7') AS t(a, b)", [(8, 14, 2, 3)]),
        ("SELECT '7' + 1.5 AS a, 2D * '1.5' AS b, 1 + (2 * '3') AS c", [(8.5, 3.0, 7)]),
    ],
}  # fmt: skip

# As ANSWERED, in a session without ANSI mode.
LENIENT: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "malformed_texts": ("SELECT CAST('x' AS BIGINT) AS n, CAST('maybe' AS BOOLEAN) AS b", [(None, None)]),
    "numbers_beside_texts_without_ansi": ("SELECT 1 + '7' AS a, 1 - 'x' AS b", [(8.0, None)]),
}

CASES = [
    pytest.param(name, *case, id=f"{name}-{number}")
    for name, cases in ANSWERED.items()
    for number, case in enumerate(cases)
]


def test_every_rule_has_a_case_and_a_name_of_its_own() -> None:
    assert sorted(rule.name for rule in SECOND_TRIES) == sorted({**ANSWERED, **LENIENT})
    assert all(rule.gap and rule.found_in for rule in SECOND_TRIES)


@pytest.mark.parametrize(("name", "statement", "answer"), CASES)
def test_a_query_is_answered_as_by_a_warehouse(
    name: str, statement: str, answer: list[tuple[Any, ...]], client: Client
) -> None:
    assert client.rows(statement) == answer, name


@pytest.mark.parametrize(("name", "statement", "answer"), CASES)
def test_so_is_what_is_made_of_it(
    name: str, statement: str, answer: list[tuple[Any, ...]], client: Client
) -> None:
    client.execute(f"CREATE TABLE made AS {statement}")
    client.execute(f"CREATE VIEW seen AS {statement}")
    client.execute("CREATE TABLE filled LIKE made")
    client.execute(f"INSERT INTO filled {statement}")
    client.execute(f"MERGE INTO filled USING (SELECT * FROM ({statement})) AS s ON true WHEN MATCHED THEN DELETE")
    expected = sorted(answer, key=repr)
    for name_of in ("made", "seen"):
        assert sorted(client.rows(f"SELECT * FROM {name_of}"), key=repr) == expected, name
    assert client.value("SELECT count(*) FROM filled") == 0


@pytest.mark.parametrize(("name", "statement", "answer"), CASES)
def test_the_gap_is_still_there(
    name: str, statement: str, answer: list[tuple[Any, ...]], engine_session: EngineSession
) -> None:
    # When this fails, the engine has closed the gap and the rule can go.
    rule = next(rule for rule in SECOND_TRIES if rule.name == name)
    with pytest.raises(Exception, match=rule.after.replace("(", r"\(")):
        engine_session.query(statement)
    assert answer


@pytest.mark.parametrize("name", LENIENT)
def test_a_rule_without_ansi_mode(name: str, connect: Callable[..., Client], engine: Engine) -> None:
    statement, answer = LENIENT[name]
    assert connect(ansi_mode="false").rows(statement) == answer
    assert connect().error(statement).sqlstate == "22018"
    rule = next(rule for rule in SECOND_TRIES if rule.name == name)
    alone = engine.open_session()
    alone.configure({"spark.sql.ansi.enabled": "false"})
    with pytest.raises(Exception, match=rule.after):
        alone.query(statement)
    alone.close()


@pytest.mark.parametrize("place", ["-1", "i", "i - 5"])
def test_a_place_out_of_bounds_is_an_error(place: str, client: Client) -> None:
    error = client.error(f"SELECT a[{place}] FROM VALUES (array(5, 6), 2) AS t(a, i)")
    assert (error.error_class.startswith("INVALID_ARRAY_INDEX"), error.sqlstate) == (True, "22003")


def test_a_date_is_midnight_where_the_session_is(connect: Callable[..., Client]) -> None:
    there = connect(timezone="America/New_York")
    assert there.value("SELECT coalesce(DATE'2024-01-01', TIMESTAMP'2024-01-02') AS x") == datetime(
        2024, 1, 1, 5, tzinfo=UTC
    )
    assert there.rows("SELECT DATE'2024-01-01' AS x UNION SELECT TIMESTAMP'2024-01-01 00:00:00'") == [
        (datetime(2024, 1, 1, 5, tzinfo=UTC),)
    ]


def test_what_no_rule_mends_fails_as_it_did(client: Client) -> None:
    assert client.error("SELECT nope + '7' FROM VALUES (1) AS t(a)").sqlstate == "42703"
    assert client.error("SELECT 1 + 'x' AS a").error_class == "CAST_INVALID_INPUT"
    assert client.error("SELECT a AS b, nope + b FROM VALUES (1) AS t(a)").sqlstate == "42703"
    assert client.error("CREATE TABLE made AS SELECT 1 AS a, nope AS b").sqlstate == "42703"


def test_a_correlated_subquery_of_another_condition_is_refused_by_name(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT)")
    error = client.error("SELECT id, (SELECT count(*) FROM t AS u WHERE u.id < t.id) AS n FROM t")
    assert (error.error_class, "orrelated" in str(error)) == ("UNSUPPORTED_FEATURE", True)


def test_what_breaks_the_engine_off_is_said_in_words(client: Client) -> None:
    assert "The engine broke off" in str(client.error("SELECT abs()"))
    assert client.rows("SELECT abs(-1) AS x") == [(1,)]
