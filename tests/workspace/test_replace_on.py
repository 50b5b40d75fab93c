"""INSERT ... REPLACE ON, as dbt's insert_overwrite and delete+insert write it."""

import pytest

from lakehouse_client import Client

_ROWS = "SELECT day, n FROM days ORDER BY n"


@pytest.fixture
def days(client: Client) -> Client:
    client.execute("CREATE TABLE days (day INT, n INT)")
    client.execute("INSERT INTO days VALUES (1, 1), (1, 2), (2, 3), (NULL, 4)")
    return client


@pytest.mark.feature("SQL", "INSERT ... REPLACE ON")
def test_rows_that_match_a_row_of_the_query_are_replaced(days: Client) -> None:
    written = days.affected(
        "insert into table days AS t\nreplace on (t.`day` <=> s.`day`)\n"
        "(select day, n from values (1, 9), (null, 8) as v(day, n)) AS s"
    )
    assert written == 2
    assert days.rows(_ROWS) == [(2, 3), (None, 8), (1, 9)]
    assert days.rows("DESCRIBE HISTORY days")[0][4] == "WRITE", "one commit"


def test_a_condition_may_ask_for_more_than_a_key(days: Client) -> None:
    days.execute("INSERT INTO days x REPLACE ON (x.day = s.day AND x.n < s.n) (SELECT 1 AS day, 2 AS n) s")
    assert days.rows(_ROWS) == [(1, 2), (1, 2), (2, 3), (None, 4)]


def test_columns_by_name_and_a_query_without_an_alias(days: Client) -> None:
    days.execute("INSERT INTO days BY NAME REPLACE ON (days.day = 2) (SELECT 7 AS n, 2 AS day)")
    assert days.rows(_ROWS) == [(1, 1), (1, 2), (None, 4), (2, 7)]


def test_nothing_comes_and_nothing_goes_where_the_query_is_empty(days: Client) -> None:
    assert (
        days.affected("INSERT INTO days AS t REPLACE ON (t.day = s.day) (SELECT * FROM days WHERE n > 99) AS s")
        == 0
    )
    assert len(days.rows(_ROWS)) == 4


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO days (day) REPLACE ON (days.day = s.day) (SELECT 1 AS day) AS s",
        "INSERT INTO days AS t REPLACE ON t.day = s.day (SELECT 1 AS day, 1 AS n) AS s",
        "INSERT INTO days AS t REPLACE ON (t.day IN (SELECT day FROM days)) (SELECT 1 AS day, 1 AS n) AS s",
    ],
)
def test_what_is_not_supported_is_refused_and_changes_nothing(days: Client, statement: str) -> None:
    error = days.error(statement)
    assert (error.error_class, error.sqlstate) == ("UNSUPPORTED_FEATURE", "0A000")
    assert "REPLACE ON" in str(error)
    assert len(days.rows(_ROWS)) == 4


@pytest.mark.parametrize("text", ["INSERT INTO days REPLACE ON", "INSERT INTO days REPLACE ON (1 = 1"])
def test_half_a_clause_is_a_syntax_error_or_refused(days: Client, text: str) -> None:
    assert days.error(text).error_class in ("PARSE_SYNTAX_ERROR", "UNSUPPORTED_FEATURE")
    assert len(days.rows(_ROWS)) == 4


def test_values_that_functions_make_can_replace_others(client: Client) -> None:
    client.execute("CREATE TABLE hashes (id STRING, n INT)")
    client.execute("INSERT INTO hashes SELECT md5('a'), 1")
    client.execute(
        "CREATE VIEW computed AS SELECT md5(concat_ws('|', t, 'x')) AS id, 2 AS n FROM VALUES ('y') AS v(t)"
    )
    client.execute("INSERT INTO hashes AS t REPLACE ON (t.id <=> s.id) (SELECT id, n FROM computed) AS s")
    assert client.value("SELECT count(DISTINCT id) FROM hashes") == 2
    client.execute("INSERT INTO hashes AS t REPLACE ON (t.id <=> s.id) (SELECT id, n + 1 AS n FROM computed) AS s")
    assert client.rows("SELECT n FROM hashes ORDER BY n") == [(1,), (3,)]
