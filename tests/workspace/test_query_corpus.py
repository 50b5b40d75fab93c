"""Small queries and what Databricks' SQL reference says they return, over one session."""

# ruff: noqa: E501 - a query a line

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from dqctl.localworkspace.contract import Lakehouse
from lakehouse_client import Client

D = Decimal

# By what a user would look for: the query, and its rows.
CORPUS: dict[str, list[tuple[str, list[tuple[Any, ...]]]]] = {
    "Casts": [
        ("SELECT '12'::INT, 1.5::STRING, CAST('2024-02-29' AS DATE)", [(12, "1.5", datetime.date(2024, 2, 29))]),
        ("SELECT try_cast('x' AS INT), try_cast('7' AS INT)", [(None, 7)]),
        ("SELECT CAST(3.7 AS INT), CAST(-3.7 AS INT)", [(3, -3)]),
        ("SELECT CAST(TRUE AS INT), CAST('yes' AS BOOLEAN), CAST(0 AS BOOLEAN)", [(1, True, False)]),
        ("SELECT CAST(12.345 AS DECIMAL(10,2))", [(D("12.35"),)]),
        ("SELECT string(12), int('5'), double('1.5'), boolean('false')", [("12", 5, 1.5, False)]),
        ("SELECT CAST('  12  ' AS INT)", [(12,)]),
        ("SELECT CAST(DATE '2024-01-31' AS STRING), CAST(TIMESTAMP '2024-01-31 10:00:00' AS DATE)",
         [("2024-01-31", datetime.date(2024, 1, 31))]),
    ],
    "Null functions": [
        ("SELECT coalesce(NULL, 2, 3), nvl(NULL, 1), nvl2(NULL, 1, 2), nullif(1, 1), ifnull(NULL, 'a')",
         [(2, 1, 2, None, "a")]),
        ("SELECT 1 <=> NULL AS a, NULL <=> NULL AS b, 1 IS DISTINCT FROM NULL AS c, isnull(NULL), isnotnull(1)",
         [(False, True, True, True, True)]),
        ("SELECT greatest(1, NULL, 3), least(1, NULL, 3)", [(3, 1)]),
        ("SELECT zeroifnull(NULL), nullifzero(0)", [(0, None)]),
    ],
    "Strings": [
        ("SELECT upper('ä'), lower('Ä'), initcap('hello world'), length('añb')", [("Ä", "ä", "Hello World", 3)]),
        ("SELECT substring('Spark SQL', 5), substring('Spark SQL', -3), substr('Spark SQL', 5, 1)",
         [("k SQL", "SQL", "k")]),
        ("SELECT left('abc', 2), right('abc', 2), lpad('7', 3, '0'), rpad('7', 3, 'x')", [("ab", "bc", "007", "7xx")]),
        ("SELECT trim('  a '), ltrim('  a'), rtrim('a  '), trim(BOTH 'x' FROM 'xax')", [("a", "a", "a", "a")]),
        ("SELECT split('a,b,c', ','), split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1)",
         [(["a", "b", "c"], "b", "c")]),
        ("SELECT concat('a', 'b'), concat_ws('-', 'a', NULL, 'b'), 'a' || 'b' AS c", [("ab", "a-b", "ab")]),
        ("SELECT replace('ABCabc', 'abc', 'DEF'), translate('AaBbCc', 'abc', '123')", [("ABCDEF", "A1B2C3")]),
        ("SELECT instr('SparkSQL', 'SQL'), locate('bar', 'foobarbar', 5), position('b' IN 'abc')", [(6, 7, 2)]),
        ("SELECT regexp_replace('100-200', '(\\\\d+)', 'num'), regexp_extract('100-200', '(\\\\d+)-(\\\\d+)', 2)",
         [("num-num", "200")]),
        ("SELECT regexp_like('Steven', 'Ste(v|ph)en'), 'abc' RLIKE 'b', regexp_count('aba', 'a')", [(True, True, 2)]),
        ("SELECT startswith('Spark', 'Sp'), endswith('Spark', 'rk'), contains('Spark', 'par')", [(True, True, True)]),
        ("SELECT 'abc' LIKE 'a%', 'ABC' ILIKE 'a%', 'a_c' LIKE 'a\\\\_c', 'a%' LIKE 'a|%' ESCAPE '|'",
         [(True, True, True, True)]),
        ("SELECT 'abc' LIKE ANY ('x%', 'a%'), 'abc' LIKE ALL ('a%', '%c'), 'ABC' ILIKE ANY ('a%', 'x')",
         [(True, True, True)]),
        ("SELECT reverse('abc'), repeat('ab', 2), ascii('A'), char(65), space(2)", [("cba", "abab", 65, "A", "  ")]),
        ("SELECT format_string('%d %s', 1, 'a'), format_number(12332.123456, 2)", [("1 a", "12,332.12")]),
        ("SELECT base64('Spark'), string(unbase64('U3Bhcms=')), hex(17), hex('Spark')",
         [("U3Bhcms=", "Spark", "11", "537061726B")]),
        ("SELECT md5('Spark'), sha2('Spark', 256), crc32('Spark')",
         [("8cde774d6f7333752ed72cacddb05126",
           "529bc3b07127ecb7e53a4dcf1991d9152c24537d919178022b2c42657f79a26b", 1557323817)]),
        ("SELECT levenshtein('kitten', 'sitting'), soundex('Miller')", [(3, "M460")]),
        ("SELECT overlay('Spark SQL' PLACING '_' FROM 6)", [("Spark_SQL",)]),
        ("SELECT 'it\\'s', \"double\", r'raw\\n', 'a' 'b'", [("it's", "double", "raw\\n", "ab")]),
        ("SELECT parse_url('http://spark.apache.org/path?query=1', 'HOST')", [("spark.apache.org",)]),
        ("SELECT substring_index('www.apache.org', '.', 2), find_in_set('ab', 'abc,b,ab,c,def')", [("www.apache", 3)]),
        ("SELECT charindex('bar', 'foobar'), octet_length('ä'), bit_length('a')", [(4, 2, 8)]),
    ],
    "Numbers": [
        ("SELECT 7 / 2, 7 DIV 2, 7 % 2, mod(-7, 2), pmod(-7, 2)", [(3.5, 3, 1, -1, 1)]),
        ("SELECT round(2.5), round(-2.5), round(123.456, -1)", [(D(3), D(-3), D(120))]),
        ("SELECT ceil(1.2), floor(-1.2), abs(-3), sign(-2.0), sqrt(4), power(2, 10)", [(D(2), D(-2), 3, -1.0, 2.0, 1024.0)]),
        ("SELECT try_divide(1, 0), try_add(2147483647, 1), try_multiply(2147483647, 2)", [(None, None, None)]),
        ("SELECT 1.10 + 2.205, 2 * 1.5", [(D("3.305"), D("3.0"))]),
        ("SELECT greatest(1.5, 2), least(3, 1.5)", [(D("2.0"), D("1.5"))]),
        ("SELECT bin(13), conv('100', 2, 10), shiftleft(2, 1), 3 & 5, 3 | 5, 3 ^ 5, ~ 0",
         [("1101", "4", 4, 1, 7, 6, -1)]),
        ("SELECT width_bucket(5.3, 0.2, 10.6, 5), factorial(5), log10(1000), exp(0), ln(1)", [(3, 120, 3.0, 1.0, 0.0)]),
        ("SELECT isnan(double('NaN')), double('NaN') = double('NaN'), 1e2, 1L, 2S, 3Y, 1.5D, 1BD",
         [(True, True, 100.0, 1, 2, 3, 1.5, D(1))]),
        ("SELECT to_number('$1,234.50', '$9,999.99')", [(D("1234.50"),)]),
    ],
    "Dates and times": [
        ("SELECT date_add(DATE '2024-02-28', 2), date_sub(DATE '2024-03-01', 1), datediff(DATE '2024-03-01', DATE '2024-02-01')",
         [(datetime.date(2024, 3, 1), datetime.date(2024, 2, 29), 29)]),
        ("SELECT add_months(DATE '2024-01-31', 1), last_day(DATE '2024-02-05'), months_between('2024-03-31', '2024-02-29')",
         [(datetime.date(2024, 2, 29), datetime.date(2024, 2, 29), 1.0)]),
        ("SELECT year(DATE '2024-05-06'), quarter(DATE '2024-05-06'), month(DATE '2024-05-06'), day(DATE '2024-05-06')",
         [(2024, 2, 5, 6)]),
        ("SELECT dayofweek(DATE '2024-05-06'), weekday(DATE '2024-05-06'), dayofyear(DATE '2024-05-06'), weekofyear(DATE '2024-05-06')",
         [(2, 0, 127, 19)]),
        ("SELECT date_format(DATE '2024-05-06', 'yyyy/MM/dd'), to_date('06.05.2024', 'dd.MM.yyyy')",
         [("2024/05/06", datetime.date(2024, 5, 6))]),
        ("SELECT date_trunc('MONTH', TIMESTAMP '2024-05-06 10:11:12') = TIMESTAMP '2024-05-01 00:00:00', trunc(DATE '2024-05-06', 'YEAR')",
         [(True, datetime.date(2024, 1, 1))]),
        ("SELECT extract(HOUR FROM TIMESTAMP '2024-05-06 10:11:12'), date_part('MINUTE', TIMESTAMP '2024-05-06 10:11:12')",
         [(10, 11)]),
        ("SELECT DATE '2024-05-06' + INTERVAL 1 MONTH, DATE '2024-05-06' - INTERVAL '2' DAY",
         [(datetime.date(2024, 6, 6), datetime.date(2024, 5, 4))]),
        ("SELECT DATE '2024-05-06' + 3, DATE '2024-05-06' - 1", [(datetime.date(2024, 5, 9), datetime.date(2024, 5, 5))]),
        ("SELECT string(TIMESTAMP '2024-05-06 10:00:00' + INTERVAL '1 2:30:00' DAY TO SECOND)", [("2024-05-07 12:30:00",)]),
        ("SELECT make_date(2024, 2, 29), next_day(DATE '2024-05-06', 'FRI')",
         [(datetime.date(2024, 2, 29), datetime.date(2024, 5, 10))]),
        ("SELECT unix_timestamp('1970-01-02 00:00:00'), from_unixtime(86400), to_unix_timestamp('1970-01-01 00:01:00')",
         [(86400, "1970-01-02 00:00:00", 60)]),
        ("SELECT string(to_timestamp('2024-05-06 10:11', 'yyyy-MM-dd HH:mm')), string(timestamp_seconds(60))",
         [("2024-05-06 10:11:00", "1970-01-01 00:01:00")]),
        ("SELECT string(from_utc_timestamp('2024-01-01 12:00:00', 'Asia/Tokyo')), string(to_utc_timestamp('2024-01-01 12:00:00', 'Asia/Tokyo'))",
         [("2024-01-01 21:00:00", "2024-01-01 03:00:00")]),
        ("SELECT timestampdiff(HOUR, TIMESTAMP '2024-01-01 00:00:00', TIMESTAMP '2024-01-02 01:00:00'), datediff(MONTH, DATE '2024-01-15', DATE '2024-03-15')",
         [(25, 2)]),
        ("SELECT string(timestampadd(DAY, 1, TIMESTAMP '2024-01-01 00:00:00')), string(dateadd(MONTH, 1, DATE '2024-01-31'))",
         [("2024-01-02 00:00:00", "2024-02-29 00:00:00")]),
        ("SELECT try_to_timestamp('nope', 'yyyy-MM-dd'), try_cast('2024-13-01' AS DATE)", [(None, None)]),
        ("SELECT string(convert_timezone('UTC', 'America/New_York', TIMESTAMP_NTZ '2024-01-01 12:00:00'))", [("2024-01-01 07:00:00",)]),
        ("SELECT dayname(DATE '2024-05-06'), monthname(DATE '2024-05-06')", [("Mon", "May")]),
    ],
    "Arrays, maps and structs": [
        ("SELECT array(1, 2)[0], element_at(array(1, 2), -1), try_element_at(array(1), 5), get(array(1), 9)", [(1, 2, None, None)]),
        ("SELECT size(array(1, 2)), cardinality(map('a', 1)), array_contains(array(1, 2), 2)", [(2, 1, True)]),
        ("SELECT array_distinct(array(1, 1, 2)), array_union(array(1), array(2)), array_except(array(1, 2), array(2))",
         [([1, 2], [1, 2], [1])]),
        ("SELECT sort_array(array(3, 1, 2)), array_sort(array(3, 1, 2)), array_max(array(3, 1)), array_min(array(3, 1))",
         [([1, 2, 3], [1, 2, 3], 3, 1)]),
        ("SELECT slice(array(1, 2, 3), 2, 2), array_join(array('a', 'b'), '-'), flatten(array(array(1), array(2)))",
         [([2, 3], "a-b", [1, 2])]),
        ("SELECT array_position(array(3, 2), 2), array_remove(array(1, 2), 2), array_repeat('a', 2), sequence(1, 3)",
         [(2, [1], ["a", "a"], [1, 2, 3])]),
        ("SELECT array_append(array(1), 2), array_prepend(array(2), 1), array_compact(array(1, NULL)), array_insert(array(1, 3), 2, 2)",
         [([1, 2], [1, 2], [1], [1, 2, 3])]),
        ("SELECT array_size(array(1)), arrays_overlap(array(1), array(1)), array_intersect(array(1, 2), array(2))",
         [(1, True, [2])]),
        ("SELECT map('a', 1)['a'], map_keys(map('a', 1)), map_values(map('a', 1))", [(1, ["a"], [1])]),
        ("SELECT map_from_arrays(array('a'), array(1))['a'], str_to_map('a:1,b:2')['b'], map_concat(map('a', 1), map('b', 2))['b']",
         [(1, "2", 2)]),
        ("SELECT named_struct('a', 1, 'b', 'x').b, struct(1 AS a).a", [("x", 1)]),
        ("SELECT s.* FROM (SELECT named_struct('a', 1, 'b', 2) AS s)", [(1, 2)]),
        ("SELECT explode(array(1, 2))", [(1,), (2,)]),
        ("SELECT posexplode(array('a', 'b'))", [(0, "a"), (1, "b")]),
        ("SELECT stack(2, 1, 'a', 2, 'b')", [(1, "a"), (2, "b")]),
        ("SELECT inline(array(struct(1, 'a'), struct(2, 'b')))", [(1, "a"), (2, "b")]),
    ],
    "Higher-order functions": [
        ("SELECT transform(array(1, 2), x -> x + 1), transform(array(1, 2), (x, i) -> x * i)", [([2, 3], [0, 2])]),
        ("SELECT filter(array(1, 2, 3), x -> x > 1), exists(array(1, 2), x -> x = 2), forall(array(1, 2), x -> x > 0)",
         [([2, 3], True, True)]),
        ("SELECT aggregate(array(1, 2, 3), 0, (acc, x) -> acc + x), reduce(array(1, 2), 0, (a, x) -> a + x, a -> a * 10)",
         [(6, 30)]),
        ("SELECT map_filter(map('a', 1, 'b', 2), (k, v) -> v > 1)['b']", [(2,)]),
        ("SELECT array_sort(array(1, 3, 2), (a, b) -> CASE WHEN a < b THEN 1 WHEN a > b THEN -1 ELSE 0 END)", [([3, 2, 1],)]),
    ],
    "JSON": [
        ("SELECT '{\"a\": {\"b\": [1, 2]}}':a.b[1], '{\"a\": 5}':a::INT", [("2", 5)]),
        ("SELECT get_json_object('{\"a\":\"b\"}', '$.a'), to_json(named_struct('a', 1))", [("b", '{"a":1}')]),
        ("SELECT from_json('{\"a\":1}', 'a INT').a", [(1,)]),
        ("SELECT json_array_length('[1,2,3]'), json_object_keys('{\"a\":1,\"b\":2}')", [(3, ["a", "b"])]),
        ("SELECT schema_of_json('{\"a\":1}')", [("STRUCT<a: BIGINT>",)]),
    ],
    "Aggregates": [
        ("SELECT count(*), count(v), count(DISTINCT v), sum(v), avg(v), min(v), max(v) FROM n", [(5, 4, 4, 10, 2.5, 1, 4)]),
        ("SELECT count_if(v > 1), sum(v) FILTER (WHERE v > 1), any_value(1), bool_or(v > 3), every(v > 0) FROM n",
         [(3, 9, 1, True, True)]),
        ("SELECT max_by(k, v), min_by(k, v), median(v) FROM n", [("c", "a", 2.5)]),
        ("SELECT sort_array(collect_list(v)), sort_array(collect_set(k)) FROM n", [([1, 2, 3, 4], ["a", "b", "c"])]),
        ("SELECT percentile(v, 0.5), percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM n", [(2.5, 2.5)]),
        ("SELECT string_agg(k, ',') WITHIN GROUP (ORDER BY k) FROM (SELECT DISTINCT k FROM n)", [("a,b,c",)]),
        ("SELECT try_sum(v), try_avg(v), bit_or(v) FROM n", [(10, 2.5, 7)]),
        ("SELECT round(stddev(v), 4), round(var_pop(v), 4), round(corr(v, v), 4) FROM n", [(1.291, 1.25, 1.0)]),
        ("SELECT approx_count_distinct(k) FROM n", [(3,)]),
    ],
    "GROUP BY": [
        ("SELECT k, sum(v) FROM n GROUP BY ALL ORDER BY k", [("a", 3), ("b", 3), ("c", 4)]),
        ("SELECT k, sum(v) FROM n GROUP BY 1 HAVING sum(v) > 3", [("c", 4)]),
        ("SELECT k, sum(v) AS s FROM n GROUP BY ROLLUP (k) ORDER BY k NULLS LAST", [("a", 3), ("b", 3), ("c", 4), (None, 10)]),
        ("SELECT k, sum(v) FROM n GROUP BY CUBE (k) ORDER BY k NULLS LAST", [("a", 3), ("b", 3), ("c", 4), (None, 10)]),
        ("SELECT k, sum(v), grouping(k) FROM n GROUP BY GROUPING SETS ((k), ()) ORDER BY 1 NULLS LAST",
         [("a", 3, 0), ("b", 3, 0), ("c", 4, 0), (None, 10, 1)]),
        ("SELECT upper(k) AS u, count(*) FROM n GROUP BY u ORDER BY u", [("A", 2), ("B", 2), ("C", 1)]),
        ("SELECT k, v, count(*) FROM n WHERE v > 2 GROUP BY k, v WITH ROLLUP ORDER BY k NULLS LAST, v NULLS LAST",
         [("b", 3, 1), ("b", None, 1), ("c", 4, 1), ("c", None, 1), (None, None, 2)]),
    ],
    "Window functions": [
        ("SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v NULLS LAST) FROM n ORDER BY 1, 3",
         [("a", 1, 1), ("a", 2, 2), ("b", 3, 1), ("b", None, 2), ("c", 4, 1)]),
        ("SELECT v, lag(v) OVER (ORDER BY v), lead(v, 1, 0) OVER (ORDER BY v) FROM n WHERE v IS NOT NULL ORDER BY v",
         [(1, None, 2), (2, 1, 3), (3, 2, 4), (4, 3, 0)]),
        ("SELECT v, sum(v) OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM n WHERE v IS NOT NULL ORDER BY v",
         [(1, 1), (2, 3), (3, 5), (4, 7)]),
        ("SELECT k, rank() OVER w, dense_rank() OVER w FROM n WINDOW w AS (ORDER BY k) ORDER BY k",
         [("a", 1, 1), ("a", 1, 1), ("b", 3, 2), ("b", 3, 2), ("c", 5, 3)]),
        ("SELECT k, ntile(2) OVER (ORDER BY k), percent_rank() OVER (ORDER BY k) FROM n WHERE v IS NOT NULL ORDER BY k, 2",
         [("a", 1, 0.0), ("a", 1, 0.0), ("b", 2, 2 / 3), ("c", 2, 1.0)]),
        ("SELECT first_value(v) OVER (ORDER BY v DESC), last(v) IGNORE NULLS OVER (ORDER BY v DESC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM n LIMIT 1",
         [(4, 1)]),
    ],
    "QUALIFY": [
        ("SELECT k, v FROM n QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC) = 1 ORDER BY k",
         [("a", 2), ("b", 3), ("c", 4)]),
        ("SELECT k, rank() OVER (ORDER BY k) AS r FROM n QUALIFY r = 5", [("c", 5)]),
        ("SELECT k, count(*) AS c FROM n GROUP BY k QUALIFY row_number() OVER (ORDER BY k) = 1", [("a", 2)]),
    ],
    "Joins": [
        ("SELECT a.k, b.w FROM (SELECT DISTINCT k FROM n) a LEFT JOIN m b USING (k) ORDER BY 1",
         [("a", 10), ("b", None), ("c", None)]),
        ("SELECT k FROM m LEFT ANTI JOIN n USING (k)", [("z",)]),
        ("SELECT k FROM m LEFT SEMI JOIN n USING (k)", [("a",)]),
        ("SELECT n.v, m.w FROM n CROSS JOIN m WHERE n.v = 4 ORDER BY w", [(4, 10), (4, 20)]),
        ("SELECT m.k, n.v FROM m FULL OUTER JOIN n ON m.k = n.k AND n.v = 1 WHERE m.k IS NOT NULL ORDER BY 1",
         [("a", 1), ("z", None)]),
        ("SELECT * FROM (SELECT 1 AS a, 2 AS b) NATURAL JOIN (SELECT 1 AS a, 3 AS c)", [(1, 2, 3)]),
    ],
    "Subqueries": [
        ("SELECT v FROM n WHERE v = (SELECT max(v) FROM n)", [(4,)]),
        ("SELECT k FROM m WHERE EXISTS (SELECT 1 FROM n WHERE n.k = m.k)", [("a",)]),
        ("SELECT k FROM m WHERE k NOT IN (SELECT k FROM n)", [("z",)]),
        ("SELECT k, (SELECT sum(v) FROM n WHERE n.k = m.k) FROM m ORDER BY k", [("a", 3), ("z", None)]),
    ],
    "LATERAL": [
        ("SELECT k, x FROM m LATERAL VIEW explode(array(1, 2)) t AS x WHERE k = 'a' ORDER BY x", [("a", 1), ("a", 2)]),
        ("SELECT k, x FROM m LATERAL VIEW OUTER explode(array()) t AS x WHERE k = 'a'", [("a", None)]),
        ("SELECT m.k, t.x FROM m, LATERAL (SELECT m.w + 1 AS x) t ORDER BY 1", [("a", 11), ("z", 21)]),
        ("SELECT m.k, x FROM m, LATERAL explode(array(1, 2)) AS t(x) WHERE m.k = 'a' ORDER BY x", [("a", 1), ("a", 2)]),
        ("SELECT 1 AS a, a + 1 AS b", [(1, 2)]),
    ],
    "PIVOT and UNPIVOT": [
        ("SELECT * FROM (SELECT k, v FROM n) PIVOT (sum(v) FOR k IN ('a' AS a, 'b' AS b))", [(3, 3)]),
        ("SELECT * FROM (SELECT 1 AS x, 2 AS y) UNPIVOT (v FOR c IN (x, y)) ORDER BY c", [("x", 1), ("y", 2)]),
    ],
    "SELECT clauses": [
        ("SELECT * EXCEPT (v) FROM n WHERE v = 1", [("a",)]),
        ("SELECT m.* EXCEPT (w) FROM m ORDER BY 1", [("a",), ("z",)]),
        ("SELECT DISTINCT k FROM n ORDER BY k DESC LIMIT 2 OFFSET 1", [("b",), ("a",)]),
        ("SELECT ALL v FROM n ORDER BY v NULLS FIRST LIMIT 1", [(None,)]),
        ("FROM n SELECT k WHERE v = 4", [("c",)]),
        ("VALUES (1, 'a'), (2, 'b')", [(1, "a"), (2, "b")]),
        ("SELECT * FROM VALUES (1), (2) AS t(x)", [(1,), (2,)]),
        ("SELECT * FROM range(3) ORDER BY id", [(0,), (1,), (2,)]),
        ("SELECT * FROM range(1, 6, 2) AS r(x) ORDER BY x", [(1,), (3,), (5,)]),
        ("SELECT k FROM n TABLESAMPLE (100 PERCENT) WHERE v = 4", [("c",)]),
        ("SELECT 1 AS `a b`, 2 AS `ü`", [(1, 2)]),
        ("SELECT CASE k WHEN 'a' THEN 1 ELSE 0 END, if(v > 1, 'x', 'y'), iff(v > 1, 1, 2), decode(k, 'a', 'A') FROM n WHERE v = 1",
         [(1, "y", 2, "A")]),
    ],
    "WITH": [
        ("WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT * FROM b", [(2,)]),
        ("WITH a(y) AS (SELECT 1) SELECT y FROM a", [(1,)]),
    ],
    "Set operations": [
        ("SELECT 1 UNION SELECT 1", [(1,)]),
        ("SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 2) ORDER BY x", [(1,), (2,)]),
        ("SELECT 1 INTERSECT SELECT 1", [(1,)]),
        ("SELECT 1 EXCEPT SELECT 2", [(1,)]),
        ("SELECT 2 MINUS SELECT 1", [(2,)]),
        ("SELECT explode(array(1, 1)) EXCEPT ALL SELECT 1", [(1,)]),
    ],
    "Pipe syntax": [
        ("FROM n |> WHERE v > 2 |> SELECT k |> ORDER BY k", [("b",), ("c",)]),
        ("FROM n |> AGGREGATE sum(v) AS s GROUP BY k |> ORDER BY k |> LIMIT 1", [("a", 3)]),
    ],
    "Named arguments": [
        ("SELECT mask('AbCD123', lowerChar => 'q', upperChar => 'Q', digitChar => 'd')", [("QqQQddd",)]),
    ],
    "IDENTIFIER": [
        ("SELECT k FROM IDENTIFIER('m') ORDER BY k", [("a",), ("z",)]),
        ("SELECT IDENTIFIER('k') FROM m ORDER BY 1", [("a",), ("z",)]),
    ],
    "Session functions": [
        ("SELECT current_catalog(), typeof(1), typeof('a'), typeof(1.5), typeof(array(1))",
         [("main", "int", "string", "decimal(2,1)", "array<int>")]),
        ("SELECT current_timestamp() = now(), current_date() = curdate()", [(True, True)]),
        ("SELECT assert_true(1 = 1), equal_null(NULL, NULL)", [(None, True)]),
    ],
}  # fmt: skip

CASES = [
    pytest.param(sql, rows, id=f"{feature}-{number}", marks=pytest.mark.feature("SQL", feature))
    for feature, cases in CORPUS.items()
    for number, (sql, rows) in enumerate(cases, 1)
]


@pytest.fixture(scope="module")
def reference(lakehouse: Lakehouse) -> Iterator[Client]:
    """A session with two small tables, for queries only."""
    session = lakehouse.open_session(None, None, {})
    client = Client(session)
    client.execute("CREATE SCHEMA corpus")
    client.execute("USE corpus")
    client.execute(
        "CREATE TABLE n AS SELECT * FROM VALUES ('a', 1), ('a', 2), ('b', 3), ('b', NULL), ('c', 4) AS t(k, v)"
    )
    client.execute("CREATE TABLE m AS SELECT * FROM VALUES ('a', 10), ('z', 20) AS t(k, w)")
    yield client
    client.execute("DROP SCHEMA corpus CASCADE")
    session.close()


@pytest.mark.parametrize(("sql", "rows"), CASES)
def test_a_query_returns_what_the_reference_says(reference: Client, sql: str, rows: list[tuple[Any, ...]]) -> None:
    assert reference.rows(sql) == rows
