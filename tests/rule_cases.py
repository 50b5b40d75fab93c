"""What the rules of the local workspace for clauses and functions are for: queries, and a warehouse's answers."""

# ruff: noqa: E501 - statements as they are sent

from datetime import UTC, date, datetime
from typing import Any

SUNDAY, MIDNIGHT = "DATE'2024-01-07'", datetime(2024, 4, 1, tzinfo=UTC)
DAYS = (
    "VALUES (1, DATE'2024-01-01'), (2, DATE'2024-01-02'), (3, DATE'2024-01-03'), (4, DATE'2024-02-03') AS t(id, d)"
)

# rule: queries, and what a warehouse answers
ANSWERED: dict[str, list[tuple[str, list[tuple[Any, ...]]]]] = {
    "unpivot": [
        ("SELECT * FROM VALUES (1, 10, 20), (2, NULL, 40) AS t(id, a, b) UNPIVOT (v FOR n IN (a, b)) AS u ORDER BY id, n",
         [(1, "a", 10), (1, "b", 20), (2, "b", 40)]),
        ("SELECT u.n, v FROM (SELECT 1 AS a, CAST(NULL AS INT) AS b) UNPIVOT INCLUDE NULLS (v FOR n IN (a AS `A x`, b)) AS u ORDER BY n",
         [("A x", 1), ("b", None)]),
        ("SELECT * FROM VALUES (1, 10, 20, 30, 40) AS t(id, a, b, c, d) UNPIVOT ((a, b) FOR n IN ((a, b) AS one, (c, d))) ORDER BY n",
         [(1, "c_d", 30, 40), (1, "one", 10, 20)]),
    ],
    "lateral_generators": [
        ("SELECT x FROM VALUES (1, array(1, -1)), (2, NULL) AS t(id, a) LATERAL VIEW explode(a) e AS x WHERE x > 0", [(1,)]),
        ("SELECT id FROM VALUES (1, array(1)), (2, NULL) AS t(id, a) LATERAL VIEW OUTER explode(a) AS x WHERE x IS NULL", [(2,)]),
        ("SELECT k FROM VALUES (map('a', 1, 'b', 2)) AS t(m) LATERAL VIEW explode(m) e AS k, v WHERE e.v = 2", [("b",)]),
        ("SELECT y FROM VALUES (array(array(1, 2), array(3))) AS t(a) LATERAL VIEW explode(a) AS x LATERAL VIEW explode(x) AS y WHERE y > 2",
         [(3,)]),
        ("SELECT id, e.a FROM VALUES (1, array(1, -1)), (2, NULL) AS t(id, a) LATERAL VIEW explode(a) e AS a WHERE e.a > 0", [(1, 1)]),
        ("SELECT id, e.a FROM VALUES (1, array(5)), (2, NULL) AS t(id, a), LATERAL explode(a) AS e(a)", [(1, 5)]),
        ("SELECT f.x FROM VALUES (array(array(1, 2))) AS t(a) LATERAL VIEW explode(a) e AS x LATERAL VIEW explode(x) f AS x WHERE f.x > 1",
         [(2,)]),
        ("SELECT x FROM VALUES (array(1, 2)) AS t(a) LATERAL VIEW explode(transform(a, x -> x * 2)) e AS x WHERE x > 2", [(4,)]),
        ("SELECT e.x FROM VALUES (1, array(1)), (2, NULL), (3, array()) AS t(id, a), LATERAL explode(t.a) AS e(x)", [(1,)]),
        ("SELECT id, x FROM VALUES (1, array(5)), (2, NULL) AS t(id, a) LEFT JOIN LATERAL explode(a) AS e(x) ON TRUE ORDER BY id",
         [(1, 5), (2, None)]),
        ("SELECT x FROM VALUES (1, array(5)), (2, NULL) AS t(id, a) JOIN LATERAL explode(a) AS e(x) ON TRUE", [(5,)]),
    ],
    "rows_in_order": [
        ("SELECT a FROM VALUES (1), (3), (2) AS t(a) DISTRIBUTE BY a SORT BY a DESC", [(3,), (2,), (1,)]),
        ("SELECT a FROM VALUES (1), (3), (2) AS t(a) CLUSTER BY a", [(1,), (2,), (3,)]),
    ],
    "samples": [
        ("SELECT count(*) FROM VALUES (1), (2), (3) AS t(a) TABLESAMPLE (2 ROWS)", [(2,)]),
        ("SELECT count(*) FROM range(10) TABLESAMPLE (BUCKET 5 OUT OF 5) AS s WHERE s.id >= 0", [(10,)]),
    ],
    "windows_of_windows": [
        ("SELECT a, sum(a) OVER (w ROWS UNBOUNDED PRECEDING) AS s FROM VALUES (1), (2) AS t(a)"
         " WINDOW w AS (ORDER BY a) ORDER BY a", [(1, 1), (2, 3)]),
    ],
    "ranges_of_dates": [
        (f"SELECT id, count(*) OVER (ORDER BY d RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) AS c FROM {DAYS} ORDER BY id",
         [(1, 1), (2, 2), (3, 2), (4, 1)]),
    ],
    "days_of_the_week": [
        (f"SELECT weekday({SUNDAY}) AS w, date_part('DOW', {SUNDAY}) AS d, extract(DAYOFWEEK FROM {SUNDAY}) AS e,"
         f" extract(DOW_ISO FROM {SUNDAY}) AS i, weekday(DATE'2024-01-08') AS m", [(6, 1, 1, 7, 0)]),
        ("SELECT extract(YEAROFWEEK FROM DATE'2024-12-30') AS y", [(2025,)]),
    ],
    "timestamps_of_date_trunc": [
        ("SELECT date_trunc('QUARTER', DATE'2024-05-08') AS d, date_trunc('QUARTER', '2024-05-08 10:11:12') AS t", [(MIDNIGHT, MIDNIGHT)]),
    ],
    "no_characters": [
        ("SELECT left('abc', -1) AS l, right('abc', n) AS r, left('abc', -n) AS s FROM VALUES (-2) AS t(n)", [("", "", "ab")]),
    ],
    "other_functions": [
        ("SELECT log(1) AS x", [(0.0,)]),
        ("SELECT rint(2.5) AS a, rint(-2.5) AS b, rint(3.5) AS c, rint(1.2D) AS d, rint(0.5) AS e", [(2.0, -2.0, 4.0, 1.0, 0.0)]),
        ("SELECT try_to_date('x') AS a, try_to_date('01/02/2024', 'dd/MM/yyyy') AS b", [(None, date(2024, 2, 1))]),
        ("SELECT regexp_replace('aa', 'a', 'b', 1) AS x", [("bb",)]),
        ("SELECT is_member('admins') AS a, is_account_group_member('account users') AS b, is_member('others') AS c", [(True, True, False)]),
    ],
    "functions_of_functions": [
        ("SELECT zip_with(array(1, 2), array(3, 4, 5), (x, y) -> x + y) AS a, zip_with(array(), array(), (x, y) -> 1) AS b", [([4, 6, None], [])]),
        ("SELECT transform_values(map('a', 1), (k, v) -> concat(k, v)) AS a, transform_keys(map('a', 1), (k, v) -> upper(k)) AS b",
         [([("a", "a1")], [("A", 1)])]),
        ("SELECT map_zip_with(map('a', 1), map('a', 2, 'b', 3), (k, l, r) -> coalesce(l, 0) + r) AS m", [([("a", 3), ("b", 3)],)]),
        ("SELECT transform_values(map('a', array(1, 2)), (k, v) -> filter(v, k -> k > 1)) AS m", [([("a", [2])],)]),
    ],
}  # fmt: skip
