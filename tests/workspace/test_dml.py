"""INSERT, UPDATE, DELETE and MERGE as a SQL warehouse does them: rows, counts, errors, and nothing half written."""

# ruff: noqa: E501 - statements as they are sent

from decimal import Decimal
from typing import Any

import pytest

from dqctl.localworkspace.contract import Parameter
from lakehouse_client import Client

Rows = list[tuple[Any, ...]]


@pytest.fixture
def t(client: Client) -> Client:
    client.execute("CREATE TABLE t (id INT NOT NULL, name STRING, n BIGINT)")
    client.execute("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30)")
    return client


def content(client: Client) -> Rows:
    return client.rows("SELECT * FROM t ORDER BY id, name")


def history(client: Client, name: str = "t") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.execute(f"DESCRIBE HISTORY {name}").table.to_pylist()
    return found


@pytest.mark.feature("SQL", "MERGE with all its clauses")
def test_merge_takes_the_first_clause_that_fits_a_row(t: Client) -> None:
    merged = t.execute("""
        MERGE INTO t AS d USING (SELECT * FROM VALUES (1, 'x', 1), (2, 'y', -1), (9, 'z', 2), (4, 'w', 0) AS s(id, name, n)) AS s
        ON d.id = s.id
        WHEN MATCHED AND s.n > 0 THEN UPDATE SET d.name = s.name, n = d.n + s.n
        WHEN MATCHED THEN DELETE
        WHEN NOT MATCHED AND s.id > 5 THEN INSERT (id, name) VALUES (s.id, upper(name))
        WHEN NOT MATCHED BY TARGET THEN INSERT *
        WHEN NOT MATCHED BY SOURCE AND n > 100 THEN DELETE
        WHEN NOT MATCHED BY SOURCE THEN UPDATE SET name = 'gone'""")
    assert merged.table.to_pylist() == [
        {"num_affected_rows": 5, "num_updated_rows": 2, "num_deleted_rows": 1, "num_inserted_rows": 2}
    ]
    assert merged.affected_rows == 5
    assert content(t) == [(1, "x", 11), (3, "gone", 30), (4, "w", 0), (9, "Z", None)]
    newest = history(t)[0]
    assert newest["operation"] == "MERGE"
    assert dict(newest["operationMetrics"])["numTargetRowsUpdated"] == "2"


@pytest.mark.feature("SQL", "MERGE from a query, a view or a CTE")
@pytest.mark.parametrize(
    "source",
    ["MERGE INTO t USING v AS s", "WITH s AS (SELECT * FROM v) MERGE INTO t USING s",
     "MERGE INTO t USING (WITH x AS (SELECT * FROM v) SELECT * FROM x) s"],
)  # fmt: skip
def test_merge_reads_its_source_from_anywhere(t: Client, source: str) -> None:
    t.execute(
        "CREATE VIEW v AS SELECT 2 AS id, 'new' AS name, 5L AS n, 'more' AS other UNION ALL SELECT 7, 'in', 6, 'x'"
    )
    t.execute(f"{source} ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")
    assert content(t) == [(1, "a", 10), (2, "new", 5), (3, "c", 30), (7, "in", 6)]


@pytest.mark.feature("SQL", "MERGE with an ambiguous match")
def test_merge_refuses_to_change_a_row_twice(t: Client) -> None:
    twice = "MERGE INTO t USING (SELECT 1 AS id, 'q' AS name UNION ALL SELECT 1, 'r') s ON t.id = s.id"
    error = t.error(f"{twice} WHEN MATCHED THEN UPDATE SET name = s.name")
    assert error.error_class == "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE"
    assert error.sqlstate == "21506"
    # Only one of them fulfils the clause; and to delete a row twice is to delete it.
    assert t.affected(f"{twice} WHEN MATCHED AND s.name = 'q' THEN UPDATE SET name = s.name") == 1
    assert t.affected(f"{twice} WHEN MATCHED THEN DELETE") == 1
    assert content(t) == [(2, "b", 20), (3, "c", 30)]


@pytest.mark.feature("SQL", "MERGE keeps rows that a source meets without a clause")
def test_a_row_that_many_rows_meet_and_none_changes_stays_one_row(t: Client) -> None:
    t.execute(
        "MERGE INTO t USING (SELECT explode(sequence(1, 4)) AS x) s ON t.id < s.x + 10 AND t.id = 2"
        " WHEN MATCHED AND s.x > 100 THEN DELETE WHEN NOT MATCHED AND s.x > 100 THEN INSERT (id) VALUES (s.x)"
    )
    assert content(t) == [(1, "a", 10), (2, "b", 20), (3, "c", 30)]
    assert len(history(t)) == 2


@pytest.mark.feature("SQL", "MERGE WITH SCHEMA EVOLUTION")
def test_merge_adds_the_columns_of_its_source(t: Client) -> None:
    t.execute(
        "MERGE WITH SCHEMA EVOLUTION INTO t USING (SELECT 1 AS id, 'x' AS name, 2.5 AS extra UNION ALL SELECT 8, 'y', 3.5) s"
        " ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    assert content(t) == [
        (1, "x", 10, Decimal("2.5")),
        (2, "b", 20, None),
        (3, "c", 30, None),
        (8, "y", None, Decimal("3.5")),
    ]
    assert t.rows("SELECT * FROM t VERSION AS OF 1 ORDER BY id")[0] == (1, "a", 10)
    error = t.error("MERGE INTO t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET *")
    assert error.error_class == "DELTA_MERGE_UNRESOLVED_EXPRESSION"


@pytest.mark.feature("SQL", "UPDATE with subqueries")
def test_update_with_subqueries_aliases_and_its_own_values(t: Client) -> None:
    assert t.execute(
        "UPDATE t SET name = (SELECT max(name) FROM t), n = n + 1 WHERE id IN (SELECT 2)"
    ).table.to_pylist() == [{"num_affected_rows": 1}]
    assert t.affected("UPDATE t AS x SET x.n = x.id, name = DEFAULT WHERE x.id = 1") == 1
    assert t.affected("UPDATE t SET n = 0 WHERE n > 1000") == 0
    assert content(t) == [(1, None, 1), (2, "c", 21), (3, "c", 30)]
    assert [entry["operation"] for entry in history(t)][:2] == ["UPDATE", "UPDATE"]
    assert t.error("UPDATE t SET n = 1, n = 2").error_class == "DUPLICATE_ASSIGNMENTS"


@pytest.mark.feature("SQL", "DELETE with subqueries")
def test_delete_with_subqueries_and_what_it_refuses(t: Client) -> None:
    assert t.affected("DELETE FROM t x WHERE EXISTS (SELECT 1 FROM t y WHERE y.id = x.id + 1 AND y.id = 2)") == 1
    assert t.affected("DELETE FROM t WHERE n > (SELECT avg(n) FROM t)") == 1
    assert t.affected("DELETE FROM t WHERE name = 'nobody'") == 0
    assert content(t) == [(2, "b", 20)]
    assert t.error("DELETE FROM t USING t AS s WHERE t.id = s.id").error_class == "PARSE_SYNTAX_ERROR"
    assert t.error("DELETE FROM t WHERE rand() > 0.5").error_class == "INVALID_NON_DETERMINISTIC_EXPRESSIONS"
    assert t.affected("DELETE FROM t") == 1


@pytest.mark.feature("SQL", "TRUNCATE TABLE")
def test_truncate_takes_all_rows_and_keeps_the_versions(t: Client) -> None:
    t.execute("TRUNCATE TABLE t")
    assert content(t) == []
    assert history(t)[0]["operation"] == "TRUNCATE"
    assert t.value("SELECT count(*) FROM t VERSION AS OF 1") == 3


@pytest.mark.feature("SQL", "INSERT with DEFAULT and partial column lists")
def test_insert_fills_what_a_statement_leaves_out(t: Client) -> None:
    t.execute("INSERT INTO t (n, id) VALUES (5, 4), (DEFAULT, 5)")
    t.execute("INSERT INTO t VALUES (6, DEFAULT, 7)")
    t.execute("WITH s AS (SELECT 8 AS id, 'cte' AS name) INSERT INTO t BY NAME SELECT name, id FROM s")
    assert content(t)[3:] == [(4, None, 5), (5, None, None), (6, None, 7), (8, "cte", None)]


@pytest.mark.feature("SQL", "INSERT ... REPLACE WHERE")
def test_replace_where_replaces_what_fulfils_any_condition(t: Client) -> None:
    assert t.affected("INSERT INTO t REPLACE WHERE length(name) = 1 AND n >= 20 SELECT 7, 'z', 99L") == 1
    assert content(t) == [(1, "a", 10), (7, "z", 99)]
    error = t.error("INSERT INTO t REPLACE WHERE id = 7 SELECT 8, 'z', 99L")
    assert (error.error_class, error.sqlstate) == ("DELTA_REPLACE_WHERE_MISMATCH", "44000")
    assert content(t) == [(1, "a", 10), (7, "z", 99)]


@pytest.mark.feature("SQL", "INSERT ... REPLACE USING")
def test_replace_using_replaces_rows_of_the_same_key(t: Client) -> None:
    t.execute(
        "INSERT INTO t REPLACE USING (id) SELECT * FROM VALUES (2, 'new', 1L), (2, 'twice', 2L), (9, 'in', 3L)"
    )
    assert content(t) == [(1, "a", 10), (2, "new", 1), (2, "twice", 2), (3, "c", 30), (9, "in", 3)]
    assert t.error("INSERT INTO t REPLACE ON t.id = s.id SELECT 1").error_class == "UNSUPPORTED_FEATURE"


@pytest.mark.feature("SQL", "INSERT OVERWRITE, in whole or a partition")
def test_insert_overwrite_spares_other_partitions(client: Client) -> None:
    client.execute("CREATE TABLE p (v INT, day STRING) PARTITIONED BY (day)")
    client.execute("INSERT INTO p VALUES (1, 'mon'), (2, 'tue')")
    client.execute("INSERT OVERWRITE p PARTITION (day = 'mon') SELECT 7")
    client.execute("INSERT INTO p PARTITION (day = 'wed') VALUES (8)")
    assert client.rows("SELECT * FROM p ORDER BY v") == [(2, "tue"), (7, "mon"), (8, "wed")]
    client.execute("INSERT OVERWRITE p VALUES (3, 'sun')")
    assert client.rows("SELECT * FROM p") == [(3, "sun")]
    assert client.error("INSERT INTO p PARTITION (v = 1) VALUES ('x')").error_class == "NON_PARTITION_COLUMN"


@pytest.mark.feature("SQL", "INSERT WITH SCHEMA EVOLUTION")
def test_insert_adds_columns_when_it_may(t: Client) -> None:
    statement = "INTO t SELECT 4 AS id, 'd' AS name, 40L AS n, TRUE AS flag"
    assert t.error(f"INSERT {statement}").error_class == "INSERT_COLUMN_ARITY_MISMATCH.TOO_MANY_DATA_COLUMNS"
    t.execute(f"INSERT WITH SCHEMA EVOLUTION {statement}")
    t.execute("INSERT WITH SCHEMA EVOLUTION INTO t BY NAME SELECT 5 AS id, 'late' AS remark")
    assert content(t)[2:] == [(3, "c", 30, None, None), (4, "d", 40, True, None), (5, None, None, None, "late")]


@pytest.mark.feature("SQL", "Casts of stored values, and their errors")
@pytest.mark.parametrize(
    ("statement", "error_class", "sqlstate"),
    [
        ("INSERT INTO t VALUES (3000000000, 'x', 1)", "CAST_OVERFLOW_IN_TABLE_INSERT", "22003"),
        ("INSERT INTO t VALUES (4, 'ok', 1), ('x', 'y', 2)", "CAST_INVALID_INPUT", "22018"),
        ("INSERT INTO t (name) VALUES ('x')", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
        ("UPDATE t SET id = NULL WHERE id = 3", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
        ("UPDATE t SET n = 'abc'", "CAST_INVALID_INPUT", "22018"),
        ("MERGE INTO t USING (SELECT 1 AS id, 'zz' AS n) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = s.n",
         "CAST_INVALID_INPUT", "22018"),
        ("MERGE INTO t USING (SELECT 7 AS k) s ON t.id = s.k WHEN NOT MATCHED THEN INSERT (name) VALUES ('x')",
         "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_changes_nothing(
    t: Client, statement: str, error_class: str, sqlstate: str
) -> None:
    error = t.error(statement)
    assert (error.error_class, error.sqlstate) == (error_class, sqlstate)
    assert content(t) == [(1, "a", 10), (2, "b", 20), (3, "c", 30)]
    assert len(history(t)) == 2


@pytest.mark.feature("SQL", "Casts of stored values, and their errors")
def test_values_become_the_columns_types(t: Client) -> None:
    t.execute("INSERT INTO t VALUES ('4', 5, 6.7)")
    t.execute(
        "MERGE INTO t USING (SELECT '1' AS id, 7 AS name, '8' AS n) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET *"
    )
    assert content(t) == [(1, "7", 8), (2, "b", 20), (3, "c", 30), (4, "5", 6)]


@pytest.mark.feature("SQL", "CHAR and VARCHAR lengths")
def test_text_that_is_too_long_is_refused(client: Client) -> None:
    client.execute("CREATE TABLE w (c CHAR(3), v VARCHAR(3))")
    client.execute("INSERT INTO w VALUES ('a', 'abc'), (NULL, NULL)")
    assert client.rows("SELECT c, v, length(c) FROM w ORDER BY v NULLS LAST") == [
        ("a  ", "abc", 3),
        (None, None, None),
    ]
    error = client.error("INSERT INTO w VALUES ('a', 'abcd')")
    assert (error.error_class, error.sqlstate) == ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")
    assert client.value("SELECT count(*) FROM w") == 2


@pytest.mark.feature("SQL", "IDENTIFIER with parameters")
def test_a_statement_takes_its_table_from_a_parameter(t: Client) -> None:
    table = Parameter("t", "STRING", "t")
    t.execute("INSERT INTO IDENTIFIER(:t) VALUES (4, 'd', 40)", table)
    assert t.value("SELECT max(id) FROM IDENTIFIER(:t)", table) == 4
