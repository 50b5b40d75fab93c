import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.localworkspace.contract import Parameter, StatementError
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.parameters import bind
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.sql.tokens import tokenize


def bound(statement: str, *parameters: Parameter) -> str:
    return to_sql(bind(parse_tree(statement), parameters))


def at(kind: str, value: str | None) -> Parameter:
    return Parameter(None, kind, value)


def test_question_marks_are_counted_in_the_order_of_the_text() -> None:
    values = [at("INT", str(number)) for number in range(1, 6)]
    statement = "WITH a AS (SELECT ? AS x) SELECT ?, x FROM a WHERE x = ? GROUP BY x HAVING count(*) > ? LIMIT ?"
    expected = "WITH a AS (SELECT 1 AS x) SELECT 2, x FROM a WHERE x = 3 GROUP BY x HAVING count(*) > 4 LIMIT 5"
    assert bound(statement, *values) == expected


def test_names_may_be_quoted_and_repeated_and_differ_in_case() -> None:
    name = Parameter("the name", "STRING", "v")
    assert bound("SELECT :`the name`, :`The Name`", name) == "SELECT 'v', 'v'"


def test_a_marker_inside_of_a_string_or_comment_is_none() -> None:
    assert bound("SELECT '?', ':x' /* :y ? */, a:b FROM t") == "SELECT '?', ':x', a:b FROM t"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("STRING", "it's \\ done", "'it\\'s \\\\ done'"),
        ("STRING", None, "NULL"),
        ("VOID", None, "NULL"),
        ("INT", "-5", "(-5)"),
        ("BIGINT", "5", "CAST(5 AS BIGINT)"),
        ("SMALLINT", "5", "CAST(5 AS SMALLINT)"),
        ("SHORT", "5", "CAST(5 AS SMALLINT)"),
        ("numeric(5,2)", "1.5", "CAST('1.5' AS DECIMAL(5, 2))"),
        ("TIMESTAMP_LTZ", "2020-01-31 10:00:00", "CAST('2020-01-31 10:00:00' AS TIMESTAMP)"),
        ("BOOLEAN", "True", "TRUE"),
        ("DOUBLE", "NaN", "CAST('NaN' AS DOUBLE)"),
        ("DECIMAL", "-123.450", "CAST('-123.450' AS DECIMAL(6, 3))"),
        ("DECIMAL", "1E+3", "CAST('1E+3' AS DECIMAL(4, 0))"),
        ("DECIMAL(20,2)", "1.5", "CAST('1.5' AS DECIMAL(20, 2))"),
        ("DATE", "2020-01-31", "CAST('2020-01-31' AS DATE)"),
        ("TIMESTAMP", "2020-01-31 10:00:00+00:00", "CAST('2020-01-31 10:00:00+00:00' AS TIMESTAMP)"),
        ("TIMESTAMP_NTZ", "2020-01-31 10:00:00", "CAST('2020-01-31 10:00:00' AS TIMESTAMP_NTZ)"),
        ("INTERVAL DAY TO SECOND", "1 02:03:04", "INTERVAL '1 02:03:04' DAY TO SECOND"),
    ],
)
def test_each_type_has_its_literal(kind: str, value: str | None, expected: str) -> None:
    assert bound("SELECT ?", at(kind, value)) == f"SELECT {expected}"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT", "1; DROP TABLE t"), ("INT", "2147483648"), ("DATE", "tomorrow"), ("DOUBLE", "1 OR 1=1"),
     ("DECIMAL", "1'"), ("BOOLEAN", "maybe"), ("TIMESTAMP", "now()"), ("INTERVAL DAY) --", "1")],
)  # fmt: skip
def test_a_value_that_is_not_of_its_type_is_refused(kind: str, value: str) -> None:
    with pytest.raises(StatementError) as caught:
        bound("SELECT ?", at(kind, value))
    assert caught.value.sqlstate == "22018"


def test_a_marker_without_a_value_is_unbound() -> None:
    for statement, given_ in (("SELECT ?, ?", [at("INT", "1")]), ("SELECT :x", [Parameter("y", "INT", "1")])):
        with pytest.raises(StatementError) as caught:
            bound(statement, *given_)
        assert caught.value.error_class == "UNBOUND_SQL_PARAMETER"


def test_more_than_255_markers_are_refused_as_a_warehouse_does() -> None:
    assert bound(f"SELECT {', '.join('?' * 255)}", *[at("INT", "1")] * 255).count("1") == 255
    with pytest.raises(
        StatementError, match="too many parameters: 256 parameters were given but the limit is 255"
    ):
        bound(f"SELECT {', '.join('?' * 256)}", *[at("INT", "1")] * 256)


@given(st.text())
def test_no_text_breaks_out_of_its_literal(text: str) -> None:
    statement = bound("SELECT ? AS a", at("STRING", text))
    tokens = [token.token_type.name for token in tokenize(statement)]
    assert tokens == ["SELECT", "STRING", "ALIAS", "VAR"]
