"""WITH inside of WITH: each name means what is defined nearest, however many define it."""

from typing import Any

import pytest

from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.statement import parse_tree
from lakehouse_client import Client

SIBLINGS = (
    "SELECT * FROM (WITH c AS (SELECT 1 AS x) SELECT x FROM c) AS a,"
    " (WITH c AS (SELECT 2 AS y) SELECT y FROM c) AS b"
)


def test_a_with_stays_where_it_stands() -> None:
    written = to_sql(parse_tree(SIBLINGS))
    assert written.startswith("SELECT * FROM (WITH c AS (SELECT 1 AS x)")
    assert written.count("WITH") == 2


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        (SIBLINGS, [(1, 2)]),
        (
            "WITH c AS (SELECT 1 AS x) SELECT b.y, c.x FROM (WITH C AS (SELECT 2 AS y) SELECT y FROM c) AS b, c",
            [(2, 1)],
        ),
        (
            "WITH c AS (SELECT 1 AS x), d AS (WITH c AS (SELECT x + 1 AS z FROM c) SELECT z FROM c),"
            " e AS (SELECT x FROM C) SELECT d.z, e.x FROM d, e",
            [(2, 1)],
        ),
        ("SELECT (WITH c AS (SELECT 1 AS x) SELECT max(x) FROM c) AS m, 2 AS n", [(1, 2)]),
        (
            "SELECT 1 AS a WHERE EXISTS (WITH c AS (SELECT 1 AS x) SELECT x FROM c) AND 1 IN"
            " (WITH c AS (SELECT 1 AS x) SELECT x FROM c)",
            [(1,)],
        ),
    ],
)
def test_each_name_means_what_is_defined_nearest(
    statement: str, answer: list[tuple[Any, ...]], client: Client
) -> None:
    assert client.rows(statement) == answer
