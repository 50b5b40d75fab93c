"""Session variables, and EXECUTE IMMEDIATE."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from lakehouse_client import Client

FEATURE = pytest.mark.feature("SQL", "Session variables: DECLARE, SET VAR, DROP TEMPORARY VARIABLE")
IMMEDIATE = pytest.mark.feature("SQL", "EXECUTE IMMEDIATE ... INTO ... USING")


@FEATURE
@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INT DEFAULT 5", 5),
        ("INT", None),
        ("= 1.50", Decimal("1.50")),
        ("STRING DEFAULT 'it\\'s; DEFAULT'", "it's; DEFAULT"),
        ("DATE DEFAULT '2024-01-02'", date(2024, 1, 2)),
        ("TIMESTAMP DEFAULT TIMESTAMP'2024-01-02 03:04:05.678'", datetime(2024, 1, 2, 3, 4, 5, 678000, UTC)),
        ("DECIMAL(10, 2) = (SELECT max(a) FROM VALUES (1), (7) AS t(a))", Decimal("7.00")),
        ("DOUBLE DEFAULT 1 / 4", 0.25),
        ("DEFAULT true", True),
        ("BIGINT DEFAULT -9223372036854775808", -(1 << 63)),
    ],
)
def test_a_variable_has_the_type_and_value_that_were_declared(client: Client, declared: str, value: Any) -> None:
    client.execute(f"DECLARE OR REPLACE VARIABLE x {declared}")
    assert client.value("SELECT x") == value
    assert client.rows("SELECT session.x AS a, system.session.X AS b, typeof(x) = typeof(session.x) AS c") == [
        (value, value, True)
    ]


@FEATURE
def test_variables_are_set_from_each_other_and_from_queries(client: Client) -> None:
    client.execute("DECLARE VARIABLE a INT DEFAULT 1")
    client.execute("DECLARE b, c STRING DEFAULT 'none'")
    client.execute("SET VAR a = a + (SELECT count(*) FROM VALUES (1), (2)), b = concat(b, '!')")
    assert client.rows("SELECT a, b, c") == [(3, "none!", "none")]
    client.execute("SET VARIABLE (a, b) = (SELECT id, name FROM VALUES (7, 'seven') AS t(id, name))")
    assert client.rows("SELECT a, b") == [(7, "seven")]
    client.execute("SET VAR (a, b) = (SELECT 1, 'x' WHERE false)")
    client.execute("SET VAR c = DEFAULT")
    assert client.rows("SELECT a, b, c") == [(None, None, "none")]
    assert client.error("SET VAR (a, b) = (SELECT * FROM VALUES (1, 'x'), (2, 'y'))").sqlstate == "21000"
    assert client.error("SET VAR (a, b) = (SELECT 1)").sqlstate == "42802"
    assert client.error("SET VAR a = 'no number'").error_class == "CAST_INVALID_INPUT"
    assert client.error("SET VAR nowhere = 1").error_class == "UNRESOLVED_VARIABLE"


@FEATURE
def test_statements_of_every_kind_read_variables(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, name STRING)")
    client.execute("DECLARE wanted INT DEFAULT 2")
    client.execute("DECLARE called = 'b'")
    client.execute("INSERT INTO t VALUES (1, 'a'), (wanted, called), (3, session.called)")
    assert client.rows("SELECT id FROM t WHERE id = wanted AND name = called") == [(2,)]
    assert client.rows("SELECT id FROM t ORDER BY id LIMIT session.wanted") == [(1,), (2,)]
    assert client.affected("UPDATE t SET name = upper(called) WHERE id = wanted + 1") == 1
    assert client.affected("DELETE FROM t WHERE id = wanted") == 1
    client.execute("MERGE INTO t USING (SELECT wanted AS id) s ON t.id = s.id AND t.id = wanted"
                   " WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, called)")  # fmt: skip
    client.execute("CREATE TABLE u AS SELECT *, wanted AS w FROM t")
    assert client.rows("SELECT * FROM u ORDER BY id") == [(1, "a", 2), (2, "b", 2), (3, "B", 2)]
    assert client.rows("WITH c AS (SELECT id FROM t WHERE id > wanted) SELECT count(*) FROM c") == [(1,)]


@FEATURE
def test_a_column_or_an_alias_comes_before_a_variable(client: Client) -> None:
    client.execute("DECLARE id INT DEFAULT 100")
    assert client.rows("SELECT id, session.id AS v FROM VALUES (1) AS t(id)") == [(1, 100)]
    assert client.rows("SELECT 5 AS id, id + 1 AS more") == [(5, 6)]
    inner = "SELECT max(a) FROM VALUES (1) AS u(a) WHERE a = id"
    assert client.rows(f"SELECT ({inner}) AS x FROM VALUES (1) AS t(id)") == [(1,)]


@FEATURE
def test_variables_are_their_sessions_alone(client: Client, connect: Callable[..., Client]) -> None:
    client.execute("DECLARE VARIABLE x INT DEFAULT 1")
    assert connect().error("SELECT x").sqlstate == "42703"
    found = client.error("DECLARE VARIABLE x INT")
    assert (found.error_class, found.sqlstate) == ("VARIABLE_ALREADY_EXISTS", "42723")
    assert client.error("CREATE VIEW v AS SELECT x AS a").sqlstate == "42703"
    client.execute("DROP TEMPORARY VARIABLE x")
    client.execute("DROP TEMPORARY VARIABLE IF EXISTS x")
    found = client.error("DROP TEMPORARY VARIABLE x")
    assert (found.error_class, found.sqlstate) == ("VARIABLE_NOT_FOUND", "42883")
    assert client.error("SELECT x").sqlstate == "42703"
    assert client.error("DECLARE VARIABLE x ARRAY<INT> DEFAULT array(1)").sqlstate == "0A000"


@IMMEDIATE
def test_a_text_is_executed(client: Client) -> None:
    assert client.rows("EXECUTE IMMEDIATE 'SELECT 1 AS a'") == [(1,)]
    client.execute("CREATE TABLE t (id INT, name STRING)")
    client.execute("DECLARE stmt = 'INSERT INTO t VALUES (?, ?)'")
    assert client.affected("EXECUTE IMMEDIATE stmt USING 1, concat('a', 'b')") == 1
    assert client.affected("EXECUTE IMMEDIATE 'INSERT INTO t VALUES (:id, :name)' USING 2 AS id, 'c' AS name") == 1
    assert client.rows("EXECUTE IMMEDIATE concat('SELECT * FROM ', 't') || ' ORDER BY id'") == [
        (1, "ab"),
        (2, "c"),
    ]
    client.execute("EXECUTE IMMEDIATE 'CREATE TABLE u AS SELECT * FROM t WHERE id = ?' USING (2)")
    assert client.rows("SELECT name FROM u") == [("c",)]


@IMMEDIATE
def test_what_comes_out_goes_into_variables(client: Client) -> None:
    client.execute("DECLARE a INT")
    client.execute("DECLARE b STRING")
    client.execute("EXECUTE IMMEDIATE 'SELECT max(x), ? FROM VALUES (1), (4) AS t(x)' INTO a, b USING 'y'")
    assert client.rows("SELECT a, b") == [(4, "y")]
    client.execute("EXECUTE IMMEDIATE 'SELECT 1 WHERE false' INTO a")
    assert client.value("SELECT a") is None
    many = client.error("EXECUTE IMMEDIATE 'SELECT * FROM VALUES (1), (2)' INTO a")
    assert (many.error_class, many.sqlstate) == ("ROW_SUBQUERY_TOO_MANY_ROWS", "21000")


@IMMEDIATE
def test_what_cannot_be_executed_says_so(client: Client) -> None:
    assert client.error("EXECUTE IMMEDIATE CAST(NULL AS STRING)").sqlstate == "22004"
    assert client.error("EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE \\'SELECT 1\\''").sqlstate == "07501"
    assert client.error("EXECUTE IMMEDIATE 'SELEC 1'").sqlstate == "42601"
    assert client.error("EXECUTE IMMEDIATE 'SELECT ?'").error_class == "UNBOUND_SQL_PARAMETER"
    assert client.error("EXECUTE IMMEDIATE 'SELECT 1' INTO nowhere").error_class == "UNRESOLVED_VARIABLE"
