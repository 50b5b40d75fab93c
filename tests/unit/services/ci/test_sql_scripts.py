"""Where statements of a SQL file end, and in which lines they begin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.errors import UsageError
from dqctl.services.ci.scripts import split


def texts(text: str) -> list[str]:
    return [each.text for each in split(text, "x.sql")]


def test_semicolons_in_texts_names_and_comments_end_nothing() -> None:
    text = """-- first; of all
    SELECT 'a;b', "c;d", `e;f` /* g;
    h */ FROM t;;
    ; -- nothing

    INSERT INTO t VALUES ('it''s', 'back\\'s;lash', r'raw', 5-3)"""
    assert texts(text) == [
        "SELECT 'a;b', \"c;d\", `e;f` /* g;\n    h */ FROM t",
        "INSERT INTO t VALUES ('it''s', 'back\\'s;lash', r'raw', 5-3)",
    ]
    assert [each.line for each in split(text, "x.sql")] == [2, 6]


@pytest.mark.parametrize(("text", "said"), [("SELECT 1;\nSELECT 'x", "x.sql:2: '"), ("/* x", r"x.sql:1: /\*")])
def test_what_is_not_closed_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        texts(text)


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT 'a;''b'", "SELECT `x;y`", 'SELECT "\\";"', "a - b--c\n+ d"])))
def test_joined_statements_come_apart_as_they_were(statements: list[str]) -> None:
    assert texts(";\n".join(statements)) == statements
