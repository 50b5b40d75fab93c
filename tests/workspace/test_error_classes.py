"""Mistakes in queries, and the error class and SQLSTATE that Databricks documents for each."""

from decimal import Decimal

import pytest

from lakehouse_client import Client

T = "VALUES (1, 'x', DATE'2024-01-01') AS t(id, city, day)"

# statement: class (the beginning of it), SQLSTATE
WRONG: dict[str, tuple[str, str]] = {
    "SELECT 1 / 0": ("DIVIDE_BY_ZERO", "22012"),
    "SELECT 1 % 0": ("REMAINDER_BY_ZERO", "22012"),
    "SELECT 2147483647 + 1": ("ARITHMETIC_OVERFLOW", "22003"),
    "SELECT (-2147483648 - 1) AS x": ("ARITHMETIC_OVERFLOW", "22003"),
    "SELECT 127Y + 1Y": ("ARITHMETIC_OVERFLOW", "22003"),
    "SELECT 9223372036854775807 * 2": ("ARITHMETIC_OVERFLOW", "22003"),
    "SELECT CAST(2147483647 AS INT) + (CAST(2 AS INT) - 1)": ("ARITHMETIC_OVERFLOW", "22003"),
    "SELECT CAST('x' AS INT)": ("CAST_INVALID_INPUT", "22018"),
    "SELECT CAST('x' AS TIMESTAMP)": ("CAST_INVALID_INPUT", "22018"),
    "SELECT CAST(300 AS TINYINT)": ("CAST_OVERFLOW", "22003"),
    "SELECT CAST(123456 AS DECIMAL(3, 0))": ("NUMERIC_VALUE_OUT_OF_RANGE", "22003"),
    "SELECT CAST(DATE'2024-01-01' AS INT)": ("DATATYPE_MISMATCH", "42K09"),
    "SELECT CAST(array(1) AS INT)": ("DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION", "42K09"),
    "SELECT array(1, 2)[5]": ("INVALID_ARRAY_INDEX", "22003"),
    "SELECT element_at(array(1, 2), 5)": ("INVALID_ARRAY_INDEX_IN_ELEMENT_AT", "22003"),
    "SELECT element_at(array(1, 2), 0)": ("INVALID_INDEX_OF_ZERO", "22003"),
    "SELECT map('a', 1, 'a', 2)": ("DUPLICATED_MAP_KEY", "23505"),
    "SELECT to_date('2024-13-01', 'yyyy-MM-dd')": ("CANNOT_PARSE_TIMESTAMP", "22007"),
    "SELECT make_date(2024, 13, 1)": ("DATETIME_FIELD_OUT_OF_BOUNDS", "22023"),
    "SELECT next_day(DATE'2024-01-01', 'nope')": ("ILLEGAL_DAY_OF_WEEK", "22009"),
    "SELECT from_utc_timestamp(TIMESTAMP'2024-01-01', 'No/Where')": ("INVALID_TIMEZONE", "22009"),
    "SELECT 'a' RLIKE '('": ("INVALID_PARAMETER_VALUE.PATTERN", "22023"),
    "SELECT url_decode('%zz')": ("CANNOT_DECODE_URL", "22546"),
    "SELECT raise_error('boom')": ("USER_RAISED_EXCEPTION", "P0001"),
    "SELECT raise_error(concat('bo', 'om'))": ("USER_RAISED_EXCEPTION", "P0001"),
    f"SELECT CASE WHEN id = 1 THEN raise_error(concat('id ', id)) END FROM {T}": (
        "USER_RAISED_EXCEPTION",
        "P0001",
    ),
    "SELECT assert_true(1 > 2)": ("USER_RAISED_EXCEPTION", "P0001"),
    "SELECT upper('a', 'b')": ("WRONG_NUM_ARGS", "42605"),
    "SELECT nowhere(1)": ("UNRESOLVED_ROUTINE", "42883"),
    "SELECT * FROM nowhere": ("TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    "SELECT nope": ("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703"),
    f"SELECT ciity FROM {T}": ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
    f"SELECT id FROM {T} JOIN VALUES (1) AS u(id)": ("AMBIGUOUS_REFERENCE", "42704"),
    f"SELECT id, city FROM {T} GROUP BY id": ("MISSING_AGGREGATION", "42803"),
    f"SELECT city, max(id) FROM {T}": ("MISSING_GROUP_BY", "42803"),
    f"SELECT id FROM {T} WHERE sum(id) > 1": ("INVALID_WHERE_CONDITION", "42903"),
    f"SELECT id FROM {T} WHERE row_number() OVER (ORDER BY id) = 1": ("WINDOW_FUNCTION_NOT_ALLOWED", "42601"),
    f"SELECT sum(sum(id)) FROM {T}": ("NESTED_AGGREGATE_FUNCTION", "42607"),
    f"SELECT id FROM {T} ORDER BY 7": ("ORDER_BY_POS_OUT_OF_RANGE", "42805"),
    f"SELECT id FROM {T} GROUP BY 7": ("GROUP_BY_POS_OUT_OF_RANGE", "42805"),
    f"SELECT id FROM {T} LIMIT -1": ("INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", "42K0E"),
    "SELECT (SELECT a FROM VALUES (1), (2) AS t(a))": ("SCALAR_SUBQUERY_TOO_MANY_ROWS", "21000"),
    "SELECT (SELECT 1 AS a, 2 AS b)": ("INVALID_SUBQUERY_EXPRESSION", "42823"),
    "SELECT 1 UNION SELECT 1, 2": ("NUM_COLUMNS_MISMATCH", "42826"),
    "SELECT * FROM VALUES (1, 2), (3)": ("INVALID_INLINE_TABLE", "42000"),
    "SELEC 1": ("PARSE_SYNTAX_ERROR", "42601"),
}


@pytest.mark.parametrize("statement", WRONG)
def test_a_mistake_has_its_error_class(statement: str, client: Client) -> None:
    error = client.error(statement)
    error_class, sqlstate = WRONG[statement]
    assert error.error_class.startswith(error_class), error
    assert error.sqlstate == sqlstate, error


def test_what_fits_is_no_overflow(client: Client) -> None:
    assert client.rows(
        "SELECT 2147483646 + 1, 2147483648 + 1, 2147483647L + 1, -2147483647 - 1, 1.5 * 2147483647"
    ) == [(2147483647, 2147483649, 2147483648, -2147483648, Decimal("3221225470.5"))]
    assert client.rows("SELECT CASE WHEN 1 > 2 THEN 2147483647 + 1 ELSE 0 END AS x") == [(0,)]
    client.execute("SET ANSI_MODE = false")
    assert client.value("SELECT 2147483647 + 1") == -2147483648


def test_a_message_raised_is_the_message(client: Client) -> None:
    error = client.error("SELECT CASE WHEN true THEN raise_error('there are 3 rows too many') END")
    assert "there are 3 rows too many" in str(error)


def test_a_name_that_is_not_there_comes_with_those_that_are(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, city STRING, `day of week` INT)")
    error = client.error("SELECT max(id) FROM t WHERE ciity = 'x'")
    assert "with name `ciity` cannot be resolved. Did you mean one of the following? [`city`, `id`" in str(error)
    assert "`id`, " in str(client.error("CREATE TABLE u AS SELECT t.ids FROM t"))
    assert "with name `x`.`id` cannot be resolved" in str(client.error("SELECT x.id FROM t"))
