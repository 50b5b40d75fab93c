"""WITH RECURSIVE."""

import pytest

from lakehouse_client import Client

pytestmark = pytest.mark.feature("SQL", "WITH RECURSIVE")


def test_a_definition_goes_on_from_its_own_rows(client: Client) -> None:
    numbers = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5)"
    assert client.rows(f"{numbers} SELECT n FROM r ORDER BY n") == [(1,), (2,), (3,), (4,), (5,)]
    assert client.rows(f"{numbers} SELECT count(*), sum(a.n) FROM r AS a JOIN R AS b ON a.n = b.n + 1") == [
        (4, 14)
    ]


def test_a_tree_is_walked_down(client: Client) -> None:
    client.execute("CREATE TABLE staff (id INT, name STRING, boss INT)")
    client.execute("INSERT INTO staff VALUES (1, 'Ada', NULL), (2, 'Bob', 1), (3, 'Cyd', 1), (4, 'Dee', 3)")
    walk = (
        "WITH RECURSIVE heads AS (SELECT * FROM staff WHERE boss IS NULL), under (id, path, level) AS ("
        " SELECT id, name, 0 FROM heads UNION ALL"
        " SELECT s.id, concat(u.path, '/', s.name), u.level + 1 FROM staff AS s JOIN under AS u ON s.boss = u.id)"
        " SELECT path, level FROM under"
    )
    expected = [("Ada", 0), ("Ada/Bob", 1), ("Ada/Cyd", 1), ("Ada/Cyd/Dee", 2)]
    assert client.rows(f"{walk} ORDER BY path") == expected
    client.execute(f"CREATE TABLE walked AS {walk}")
    assert client.affected(f"INSERT INTO walked {walk}") == 4
    assert sorted(client.rows("SELECT DISTINCT path, level FROM walked")) == expected


def test_the_word_alone_means_nothing(client: Client) -> None:
    assert client.rows("WITH RECURSIVE a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM b") == [
        (2,)
    ]


def test_more_levels_are_had_by_asking(client: Client) -> None:
    numbers = "r(n) {} AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 120)"
    refused = client.error(f"WITH RECURSIVE {numbers.format('')} SELECT max(n) FROM r")
    assert refused.error_class == "RECURSION_LEVEL_LIMIT_EXCEEDED"
    asked = numbers.format("MAX RECURSION LEVEL 200")
    assert client.value(f"WITH RECURSIVE {asked} SELECT max(n) FROM r") == 120
    assert client.error(f"WITH RECURSIVE {asked.replace('200', '5')} SELECT 1 FROM r").sqlstate == "42836"


def test_an_anchor_without_rows_is_all(client: Client) -> None:
    assert (
        client.rows(
            "WITH RECURSIVE r AS (SELECT 1 AS n WHERE false UNION ALL SELECT n + 1 FROM r) SELECT * FROM r"
        )
        == []
    )


@pytest.mark.parametrize(
    ("definition", "error_class", "sqlstate"),
    [
        ("SELECT 1 UNION ALL SELECT n + 1 FROM r", "RECURSION_LEVEL_LIMIT_EXCEEDED", "42836"),
        ("SELECT 1 UNION SELECT n + 1 FROM r WHERE n < 3", "UNION_NOT_SUPPORTED_IN_RECURSIVE_CTE", "42836"),
        ("SELECT n + 1 FROM r", "INVALID_RECURSIVE_CTE", "42836"),
        (
            "SELECT 1 UNION ALL SELECT a.n FROM r AS a JOIN r AS b ON a.n = b.n",
            "INVALID_RECURSIVE_REFERENCE",
            "42836",
        ),
        ("SELECT 1 UNION ALL SELECT n, n FROM r WHERE n < 3", "NUM_COLUMNS_MISMATCH", "42826"),
        ("SELECT 1 UNION ALL SELECT nope FROM r", "UNRESOLVED_COLUMN", "42703"),
    ],
)
def test_what_does_not_end_or_is_no_recursion_says_so(
    client: Client, definition: str, error_class: str, sqlstate: str
) -> None:
    error = client.error(f"WITH RECURSIVE r(n) AS ({definition}) SELECT * FROM r")
    assert error.error_class.startswith(error_class), error
    assert error.sqlstate == sqlstate
