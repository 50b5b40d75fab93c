"""Maps in rows: explode and posexplode make a row of each entry."""

from typing import Any

import pytest

from lakehouse_client import Client

MAPS = "VALUES (1, map('a', 1, 'b', 2)), (2, NULL) AS t(id, m)"
ENTRIES = [("a", 1), ("b", 2)]
PLACES = [(0, "a", 1), (1, "b", 2)]


@pytest.mark.feature("SQL", "explode and posexplode of maps")
@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        (f"SELECT explode(m) FROM {MAPS}", ENTRIES),
        (f"SELECT key, value FROM (SELECT explode(m) FROM {MAPS}) ORDER BY key DESC", ENTRIES[::-1]),
        (f"SELECT explode(m) AS (k, v) FROM {MAPS}", ENTRIES),
        (f"SELECT id, explode_outer(m) FROM {MAPS} ORDER BY 1, 2", [(1, "a", 1), (1, "b", 2), (2, None, None)]),
        (f"SELECT posexplode(m) FROM {MAPS}", PLACES),
        (f"SELECT posexplode(m) AS (p, k, v) FROM {MAPS}", PLACES),
        ("SELECT explode(map('a', 1))", [("a", 1)]),
        (f"SELECT e.k, e.v FROM {MAPS} LATERAL VIEW explode(m) e AS k, v", ENTRIES),
        (f"SELECT e.* FROM {MAPS} LATERAL VIEW explode(m) e", ENTRIES),
        (f"SELECT m FROM {MAPS} LATERAL VIEW OUTER explode(t.m) e AS k, v WHERE k IS NULL", [(None,)]),
        (f"SELECT e.p, e.k, e.v FROM {MAPS} LATERAL VIEW posexplode(m) e AS p, k, v", PLACES),
        (f"SELECT e.k, e.v FROM {MAPS}, LATERAL explode(t.m) AS e(k, v)", ENTRIES),
        (f"SELECT e.* FROM {MAPS}, LATERAL explode(t.m) AS e", ENTRIES),
        (f"WITH w AS (SELECT m FROM {MAPS}) SELECT count(*) FROM (SELECT explode(m) FROM w)", [(2,)]),
        ("SELECT explode(array(5, 6))", [(5,), (6,)]),
        ("SELECT posexplode(array(5, 6))", [(0, 5), (1, 6)]),
    ],
)
def test_entries_are_rows(statement: str, answer: list[tuple[Any, ...]], client: Client) -> None:
    assert client.rows(statement) == answer


def test_of_a_tables_column_in_a_view(client: Client) -> None:
    client.execute(f"CREATE TABLE maps AS SELECT * FROM {MAPS}")
    client.execute("CREATE VIEW entries AS SELECT id, explode(m) FROM maps")
    assert client.rows("SELECT * FROM entries ORDER BY key") == [(1, "a", 1), (1, "b", 2)]
