"""What the own test suites of Databricks' clients, and its JDBC driver, want of a warehouse."""

# ruff: noqa: E501 - statements as they are sent

from collections.abc import Callable
from decimal import Decimal

import pytest

from lakehouse_client import Client

LONG = "87673.594069654243"  # two digits more than a floating-point number keeps


@pytest.mark.feature("SQL", "Decimals of up to 38 digits, to the last one")
@pytest.mark.parametrize(
    "made", ["CREATE TABLE d (x DECIMAL(38,12))", "CREATE TABLE d AS SELECT CAST(1 AS DECIMAL(38,12)) AS x"]
)
def test_long_decimals_are_kept_and_found(client: Client, made: str) -> None:
    client.execute(made)
    # Files of one row each: their smallest value is their largest.
    for value in (LONG, "-31943874831932418390.01", "319438950232418390.273596"):
        client.execute(f"INSERT INTO d VALUES ({value})")
    assert (Decimal(LONG),) in client.rows("SELECT x FROM d")
    assert client.rows(f"SELECT x FROM d WHERE x = {LONG}") == [(Decimal(LONG),)]
    assert client.value(f"SELECT count(*) FROM d WHERE x > 87673.594069654242 AND x <= {LONG}") == 1
    assert client.value("SELECT min(x) FROM d") == Decimal("-31943874831932418390.01")
    # Not x + 1: a sum of such decimals has a digit less.
    assert client.affected(f"UPDATE d SET x = -x WHERE x = {LONG}") == 1
    assert client.affected(f"DELETE FROM d WHERE x = -{LONG}") == 1


@pytest.mark.feature("SQL", "Clauses of other databases in DML: refused")
@pytest.mark.parametrize(
    ("statement", "clause"),
    [
        ("INSERT INTO t VALUES (9) RETURNING n", "RETURNING"),
        ("UPDATE t SET n = 9 RETURNING n", "RETURNING"),
        ("DELETE FROM t RETURNING n", "RETURNING"),
        ("DELETE FROM t ORDER BY n LIMIT 1", "LIMIT"),
        ("UPDATE t SET n = 9 LIMIT 1", "LIMIT"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "ON CONFLICT"),
    ],
)
def test_a_clause_that_nobody_would_carry_out_is_a_syntax_error(
    client: Client, statement: str, clause: str
) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS n UNION ALL SELECT 2")
    error = client.error(statement)
    assert (error.error_class, error.sqlstate) == ("PARSE_SYNTAX_ERROR", "42601")
    assert clause in str(error)
    assert client.rows("SELECT n FROM t ORDER BY n") == [(1,), (2,)]


@pytest.mark.feature("SQL", "Rows as values: (a, b) IN ((1, 2), ...)")
def test_rows_are_compared_as_values(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT * FROM VALUES (1, 'x'), (2, 'y'), (3, 'z') AS v(a, b)")
    assert client.rows("SELECT a FROM t WHERE (a, b) IN ((1, 'x'), (2, 'z'), (3, 'z')) ORDER BY a") == [(1,), (3,)]
    assert client.rows("SELECT a FROM t WHERE (a, b) = (2, 'y')") == [(2,)]
    assert client.rows("SELECT a FROM t WHERE (a, b) IN (SELECT 2, 'y')") == [(2,)]
    assert client.affected("DELETE FROM t WHERE (a, b) IN ((1, 'x'), (1, 'y'))") == 1


@pytest.mark.feature("SQL", "Functions of types: date(x), int(x), decimal(x)")
def test_the_function_of_a_type_is_a_cast(connect: Callable[..., Client]) -> None:
    assert connect().error("SELECT date('9999-99-31')").error_class == "CAST_INVALID_INPUT"
    tolerant = connect(ansi_mode="false")
    assert tolerant.rows("SELECT date('9999-99-31') AS d, int(string(5)) AS i") == [(None, 5)]
    assert connect().execute("SELECT int('5')").table.column_names == ["CAST(5 AS INT)"]


@pytest.mark.feature("SQL", "Casts of malformed text: NULL without ANSI mode, an error with it")
def test_a_malformed_text_is_null_without_ansi_mode(connect: Callable[..., Client]) -> None:
    kinds = ("BIGINT", "SMALLINT", "TINYINT", "INT", "FLOAT", "DOUBLE", "DECIMAL(10, 2)", "BOOLEAN", "DATE")
    casts = ", ".join(f"CAST(x AS {kind}) AS c{place}" for place, kind in enumerate(kinds))
    query = f"SELECT {casts}, CAST(CAST(x AS DOUBLE) AS BIGINT) FROM VALUES ('abc') AS t(x)"
    tolerant = connect(ansi_mode="false")
    assert tolerant.rows(query) == [(None,) * (len(kinds) + 1)]
    assert tolerant.rows("SELECT CAST(x AS BIGINT) AS n FROM VALUES ('7'), ('x') AS t(x) ORDER BY x") == [
        (7,),
        (None,),
    ]
    assert connect().error(query).error_class == "CAST_INVALID_INPUT"


@pytest.mark.feature("SQL", "DESCRIBE QUERY evaluates nothing")
def test_a_query_is_described_whose_values_are_not_known_yet(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, name STRING)")
    described = client.rows("DESCRIBE QUERY SELECT id, name FROM t WHERE id = '?' AND name = '?'")
    assert [row[:2] for row in described] == [("id", "int"), ("name", "string")]
    assert client.error("DESCRIBE QUERY SELECT CAST('?' AS INT) FROM nowhere").sqlstate == "42P01"


@pytest.mark.feature("SQL", "DESCRIBE TABLE EXTENDED names keys in a fixed order")
def test_keys_are_described_in_the_order_of_their_names(client: Client) -> None:
    client.execute("CREATE TABLE p (id INT NOT NULL, CONSTRAINT p_key PRIMARY KEY (id))")
    client.execute(
        "CREATE TABLE c (a INT, b INT, CONSTRAINT z_key FOREIGN KEY (a) REFERENCES p, FOREIGN KEY (b) REFERENCES p)"
    )
    names = [row[0] for row in client.rows("DESCRIBE TABLE EXTENDED c")]
    assert names[names.index("# Constraints") + 1 :] == ["c_p_fk", "z_key"]
