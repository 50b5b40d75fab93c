"""Catalogs, schemas, views, functions and volumes: made, changed, dropped, brought back, shown."""

import json
from collections.abc import Callable

import pytest

from dqctl.localworkspace.contract import Parameter
from lakehouse_client import Client


@pytest.mark.feature("SQL", "DROP and UNDROP TABLE, SHOW TABLES DROPPED")
def test_a_dropped_table_comes_back(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT) COMMENT 'kept'")
    client.execute("INSERT INTO t VALUES (1, 2)")
    client.execute("DROP TABLE t")
    assert client.error("SELECT * FROM t").sqlstate == "42P01"
    client.execute("CREATE TABLE t AS SELECT 'second' AS which")
    client.execute("DROP TABLE t")
    dropped = client.execute("SHOW TABLES DROPPED").table
    assert dropped.column("tableName").to_pylist() == ["t", "t"]
    assert client.execute("SHOW TABLES DROPPED LIMIT 1").table.num_rows == 1
    client.execute("UNDROP TABLE t")
    assert client.rows("SELECT * FROM t") == [("second",)]
    older = dropped.column("tableId").to_pylist()[1]
    assert client.error(f"UNDROP TABLE WITH ID '{older}'").sqlstate == "42P07"
    client.execute("ALTER TABLE t RENAME TO u")
    client.execute(f"UNDROP TABLE WITH ID '{older}'")
    assert client.rows("SELECT * FROM t") == [(1, 2)]
    # Keys are not part of what comes back.
    assert "PRIMARY KEY" not in client.value("SHOW CREATE TABLE t")
    assert client.rows("SHOW TABLES DROPPED") == []
    assert client.error("UNDROP TABLE t").sqlstate == "42P01"


@pytest.mark.feature("SQL", "DROP and UNDROP SCHEMA, CATALOG")
def test_a_dropped_schema_and_a_dropped_catalog_come_back_with_all_in_them(client: Client) -> None:
    client.execute("CREATE CATALOG dropping COMMENT 'c'")
    client.execute("CREATE SCHEMA dropping.s")
    client.execute("CREATE TABLE dropping.s.t AS SELECT 1 AS a")
    client.execute("CREATE VIEW dropping.s.v AS SELECT a + 1 AS b FROM dropping.s.t")
    assert client.error("DROP SCHEMA dropping.s").sqlstate == "2BP01"
    assert client.error("DROP CATALOG dropping").sqlstate == "2BP01"
    client.execute("DROP SCHEMA dropping.s CASCADE")
    assert client.error("SELECT * FROM dropping.s.t").sqlstate == "42P01"
    client.execute("UNDROP SCHEMA dropping.s")
    client.execute("DROP CATALOG dropping CASCADE")
    assert client.error("USE CATALOG dropping").sqlstate == "42704"
    client.execute("UNDROP CATALOG dropping")
    assert client.rows("SELECT b FROM dropping.s.v") == [(2,)]
    client.execute("DROP CATALOG dropping CASCADE")
    client.execute("DROP CATALOG IF EXISTS dropping")


@pytest.mark.feature("SQL", "Temporary views")
def test_a_temporary_view_is_of_its_session_alone(connect: Callable[..., Client]) -> None:
    one, other = connect(), connect()
    one.execute("CREATE TABLE t AS SELECT * FROM VALUES (1, 'x'), (2, 'y') AS v(a, b)")
    one.execute("CREATE TEMPORARY VIEW tmp AS SELECT a FROM t WHERE a > 1")
    one.execute("CREATE OR REPLACE TEMP VIEW renamed (n) AS SELECT * FROM tmp")
    assert one.rows("SELECT n, b FROM renamed JOIN t ON n = a") == [(2, "y")]
    assert ("", "tmp", True, False) in one.rows("SHOW VIEWS")
    assert one.rows("DESCRIBE tmp") == [("a", "int", None)]
    assert other.error("SELECT * FROM tmp").sqlstate == "42P01"
    assert one.error("CREATE TEMPORARY VIEW tmp AS SELECT 1 AS a").sqlstate == "42P07"
    assert one.error("CREATE TEMPORARY VIEW s.tmp AS SELECT 1 AS a").error_class.startswith("TEMP_VIEW_NAME")
    assert one.error("CREATE VIEW kept AS SELECT * FROM tmp").error_class == "INVALID_TEMP_OBJ_REFERENCE"
    one.execute("MERGE INTO t USING tmp ON t.a = tmp.a WHEN MATCHED THEN UPDATE SET b = 'merged'")
    assert one.rows("SELECT b FROM t WHERE a = 2") == [("merged",)]
    # In front of a table of the same name.
    one.execute("CREATE TEMPORARY VIEW t AS SELECT 'mine' AS which")
    assert one.rows("SELECT * FROM t") == [("mine",)]
    assert one.value("SELECT count(*) FROM tmp") == 1
    one.execute("DROP VIEW t")
    assert one.value("SELECT count(*) FROM t") == 2


@pytest.mark.feature("SQL", "Views keep the columns that they were made with")
def test_a_view_with_a_star_keeps_its_columns(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS a, 2 AS b")
    client.execute("CREATE VIEW plain AS SELECT * FROM t")
    client.execute("CREATE VIEW named (x COMMENT 'first', y) AS SELECT * FROM t")
    client.execute("ALTER TABLE t ADD COLUMN c INT FIRST")
    assert client.rows("SELECT * FROM plain") == [(1, 2)]
    assert client.rows("SELECT y, x FROM named") == [(2, 1)]
    client.execute("ALTER VIEW named AS SELECT b AS only FROM t")
    assert client.rows("SELECT * FROM named") == [(2,)]
    client.execute("COMMENT ON COLUMN named.only IS 'the last'")
    assert client.rows("DESCRIBE named") == [("only", "int", "the last")]
    assert client.error("CREATE VIEW twice AS SELECT 1 AS a, 2 AS A").error_class == "COLUMN_ALREADY_EXISTS"


@pytest.mark.feature("SQL", "Named arguments of functions made by CREATE FUNCTION")
def test_arguments_go_where_their_names_say(client: Client) -> None:
    client.execute("CREATE FUNCTION less(a INT, b INT) RETURNS INT RETURN a - b")
    assert client.rows("SELECT less(b => 1, a => 10) AS x, less(10, B => 2) AS y, less(3, 1) AS z") == [(9, 8, 2)]
    for wrong in ("less(1, c => 2)", "less(1, a => 2)"):
        assert client.error(f"SELECT {wrong}").sqlstate == "4274K"
    assert client.error("SELECT less(a => 2)").sqlstate == "42605"


@pytest.mark.feature("SQL", "CREATE FUNCTION ... RETURN (an expression)")
def test_a_function_in_sql_is_its_body(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT * FROM VALUES (1), (2) AS v(a)")
    client.execute("CREATE FUNCTION plus(a INT, b INT) RETURNS INT COMMENT 'adds' RETURN a + plus.b")
    client.execute("CREATE FUNCTION total() RETURNS BIGINT RETURN (SELECT sum(a) FROM t)")
    client.execute("CREATE FUNCTION twice(x INT) RETURNS INT RETURN plus(x, x)")
    schema = client.value("SELECT current_schema()")
    assert client.rows(f"SELECT plus(a, 10) AS p, main.{schema}.twice(a) AS q FROM t WHERE plus(a, 1) = 2") == [
        (11, 2)
    ]
    assert client.value("SELECT total() + 1") == 4
    assert client.rows("SHOW USER FUNCTIONS LIKE 'pl*'") == [(f"main.{schema}.plus",)]
    assert client.rows("DESCRIBE FUNCTION twice")[2] == ("Input:    x int",)
    assert client.error("SELECT plus(1)").error_class.startswith("WRONG_NUM_ARGS")
    assert client.error("CREATE FUNCTION plus(a INT) RETURNS INT RETURN a").error_class == "ROUTINE_ALREADY_EXISTS"
    assert client.error("CREATE FUNCTION py(a INT) RETURNS INT LANGUAGE PYTHON AS 'return a'").sqlstate == "0A000"
    client.execute("DROP FUNCTION plus")
    assert client.error("SELECT plus(1, 2)").sqlstate == "42883"
    client.execute("DROP FUNCTION IF EXISTS plus")


@pytest.mark.feature("SQL", "IDENTIFIER clause")
def test_a_name_can_be_a_text(client: Client) -> None:
    client.execute("CREATE TABLE `a-b` AS SELECT 1 AS `x y`")
    assert client.rows("SELECT IDENTIFIER('`x y`') FROM IDENTIFIER('`a-b`')") == [(1,)]
    client.execute("INSERT INTO IDENTIFIER('`a-b`') VALUES (2)")
    assert client.value("SELECT max(`x y`) FROM IDENTIFIER(:t)", Parameter("t", "STRING", "`a-b`")) == 2
    client.execute("ALTER TABLE IDENTIFIER('`a-b`') RENAME TO IDENTIFIER('plain')")
    client.execute("CREATE TABLE IDENTIFIER('made') (a INT)")
    assert [row[1] for row in client.rows("SHOW TABLES")] == ["made", "plain"]
    assert client.error("SELECT * FROM IDENTIFIER('a b')").sqlstate == "42601"


@pytest.mark.feature("SQL", "DESCRIBE TABLE EXTENDED ... AS JSON")
def test_a_table_is_described_for_programs(client: Client) -> None:
    client.execute(
        "CREATE TABLE t (id BIGINT PRIMARY KEY COMMENT 'key', d DECIMAL(10,2), v VARCHAR(5),"
        " n STRUCT<x: INT, y: ARRAY<MAP<STRING, TIMESTAMP>>>, p DATE) PARTITIONED BY (p) COMMENT 'a table'"
    )
    found = json.loads(client.value("DESCRIBE TABLE EXTENDED t AS JSON"))
    assert found["table_name"] == "t"
    assert (found["type"], found["provider"], found["comment"]) == ("MANAGED", "delta", "a table")
    assert found["partition_columns"] == ["p"]
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["id"] == {"name": "id", "type": {"name": "bigint"}, "nullable": False, "comment": "key"}
    assert columns["d"]["type"] == {"name": "decimal", "precision": 10, "scale": 2}
    assert columns["v"]["type"] == {"name": "varchar", "length": 5}
    assert [one["name"] for one in columns["n"]["type"]["fields"]] == ["x", "y"]
    inner = columns["n"]["type"]["fields"][1]["type"]
    assert inner["element_type"]["value_type"] == {"name": "timestamp_ltz"}
    assert client.error("DESCRIBE TABLE t AS JSON").sqlstate == "0A000"


@pytest.mark.feature("SQL", "SHOW TABLE EXTENDED")
def test_show_table_extended_says_what_dbt_looks_for(client: Client) -> None:
    client.execute("CREATE TABLE orders (id BIGINT NOT NULL, total DOUBLE) COMMENT 'all'")
    client.execute("CREATE VIEW orders_v AS SELECT id FROM orders")
    schema = client.value("SELECT current_schema()")
    shown = client.execute(f"SHOW TABLE EXTENDED IN main.{schema} LIKE 'ord*|x'").table
    assert shown.column_names == ["database", "tableName", "isTemporary", "information"]
    table, view = shown.column("information").to_pylist()
    for line in (f"Database: {schema}", "Type: MANAGED", "Provider: delta", " |-- id: long (nullable = false)"):
        assert line in table.splitlines()
    assert "Type: VIEW" in view.splitlines()


@pytest.mark.feature("SQL", "DESCRIBE EXTENDED, DESCRIBE a column, a query, a schema, a catalog, a volume")
def test_describe_has_sections(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT NOT NULL, p STRING, CONSTRAINT k PRIMARY KEY (id)) PARTITIONED BY (p)")
    rows = client.rows("DESCRIBE EXTENDED t")
    names = [row[0] for row in rows]
    for section in ("# Partition Information", "# Detailed Table Information", "# Constraints"):
        assert section in names
    assert ("k", "PRIMARY KEY (`id`)", "") in rows
    assert client.rows("DESCRIBE QUERY SELECT id, p FROM t") == [("id", "int", None), ("p", "string", None)]
    assert client.rows("DESCRIBE SELECT 1 AS a") == [("a", "int", None)]
    schema = client.value("SELECT current_schema()")
    client.execute(f"COMMENT ON SCHEMA {schema} IS 'here'")
    assert ("Comment", "here") in client.rows(f"DESCRIBE SCHEMA EXTENDED {schema}")
    assert ("Catalog Name", "main") in client.rows("DESCRIBE CATALOG EXTENDED main")
    client.execute("CREATE VOLUME files COMMENT 'f'")
    assert client.rows("DESCRIBE VOLUME files")[0][0] == "files"
    client.execute("ALTER VOLUME files RENAME TO papers")
    assert client.rows("SHOW VOLUMES") == [(schema, "papers")]


@pytest.mark.feature("SQL", "GRANT, REVOKE, SHOW GRANTS (recorded, not enforced)")
def test_grants_are_recorded_and_shown(client: Client) -> None:
    client.execute("CREATE TABLE t (a INT)")
    schema = client.value("SELECT current_schema()")
    client.execute("GRANT SELECT, MODIFY ON TABLE t TO `ann@example.com`")
    client.execute(f"GRANT USE SCHEMA ON SCHEMA {schema} TO readers")
    assert client.rows("SHOW GRANTS ON TABLE t") == [
        ("ann@example.com", "MODIFY", "TABLE", f"main.{schema}.t"),
        ("ann@example.com", "SELECT", "TABLE", f"main.{schema}.t"),
        ("readers", "USE SCHEMA", "SCHEMA", f"main.{schema}"),
    ]
    client.execute("REVOKE MODIFY ON TABLE t FROM `ann@example.com`")
    assert client.rows("SHOW GRANTS `ann@example.com` ON TABLE t")[0][1] == "SELECT"
    assert client.rows(
        "SELECT grantee, privilege_type FROM information_schema.table_privileges"
        " WHERE table_schema = current_schema()"
    ) == [("ann@example.com", "SELECT")]
    assert client.error("GRANT FLY ON TABLE t TO x").sqlstate == "42601"
    assert client.error("GRANT SELECT ON TABLE nope TO x").sqlstate == "42P01"
    client.execute("DROP TABLE t")
    client.execute("CREATE TABLE t (a INT)")
    assert client.rows(f"SHOW GRANTS `ann@example.com` ON SCHEMA {schema}") == []
    assert len(client.rows("SHOW GRANTS ON TABLE t")) == 1


@pytest.mark.feature("SQL", "information_schema, in a catalog and in system")
def test_information_schema_has_the_documented_relations(client: Client) -> None:
    client.execute("CREATE TABLE t (a DECIMAL(5,2) NOT NULL, b STRING)")
    schema = client.value("SELECT current_schema()")
    for relation in ("catalogs", "schemata", "tables", "columns", "views", "volumes", "routines", "table_tags",
                     "table_constraints", "check_constraints", "schema_tags", "catalog_privileges"):  # fmt: skip
        own = client.execute(f"SELECT * FROM information_schema.{relation}").table
        everywhere = client.execute(f"SELECT * FROM system.information_schema.{relation}").table
        assert own.schema == everywhere.schema
        assert own.num_rows <= everywhere.num_rows
        described = client.rows(f"DESCRIBE information_schema.{relation}")
        assert [row[0] for row in described] == own.column_names
    columns = client.rows(
        "SELECT column_name, ordinal_position, is_nullable, full_data_type, data_type, numeric_precision,"
        " numeric_scale FROM system.information_schema.columns WHERE table_catalog = 'main'"
        f" AND table_schema = '{schema}' AND table_name = 't' ORDER BY 2"
    )
    assert columns == [
        ("a", 0, "NO", "decimal(5,2)", "DECIMAL", 5, 2),
        ("b", 1, "YES", "string", "STRING", None, None),
    ]
    assert ("information_schema", "columns", False) in client.rows("SHOW TABLES IN information_schema")
    assert client.error("SELECT * FROM information_schema.nope").sqlstate == "42P01"


@pytest.mark.feature("SQL", "Error classes of what is not there")
@pytest.mark.parametrize(
    ("statement", "error_class", "sqlstate"),
    [
        ("SELECT * FROM nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("SELECT * FROM nope.nope.nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("CREATE TABLE nope.t (a INT)", "SCHEMA_NOT_FOUND", "42704"),
        ("USE SCHEMA nope", "SCHEMA_NOT_FOUND", "42704"),
        ("DROP SCHEMA nope", "SCHEMA_NOT_FOUND", "42704"),
        ("SHOW TABLES IN nope", "SCHEMA_NOT_FOUND", "42704"),
        ("USE CATALOG nope", "NO_SUCH_CATALOG_EXCEPTION", "42704"),
        ("DROP TABLE nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("DROP VOLUME nope", "VOLUME_NOT_FOUND", "42704"),
        ("DROP FUNCTION nope", "ROUTINE_NOT_FOUND", "42883"),
        ("DESCRIBE nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("SELECT nope(1)", "UNRESOLVED_ROUTINE", "42883"),
        ("CREATE TABLE t (a INT) PARTITIONED BY (nope)", "COLUMN_NOT_DEFINED_IN_TABLE", "42703"),
        ("CREATE TABLE t CLUSTER BY (nope) AS SELECT 1 AS a", "COLUMN_NOT_DEFINED_IN_TABLE", "42703"),
        ("SELECT * FRM x", "PARSE_SYNTAX_ERROR", "42601"),
        ("SELECT 1; SELECT 2", "PARSE_SYNTAX_ERROR", "42601"),
        ("SET nonsense = 1", "CONFIG_NOT_AVAILABLE", "42K0I"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_called_by_its_name(
    client: Client, statement: str, error_class: str, sqlstate: str
) -> None:
    found = client.error(statement)
    assert (found.error_class, found.sqlstate) == (error_class, sqlstate)


@pytest.mark.feature("SQL", "Comments and string literals")
def test_comments_and_literals_are_read_as_a_warehouse_does(client: Client) -> None:
    assert client.rows("/* a /* nested */ comment */ SELECT 1 -- and this one\n;") == [(1,)]
    assert client.rows(r"""SELECT 'it\'s', r'a\nb', 'a' 'b', "dq", 'a\tb', '\u00e9', 'it''s'""") == [
        ("it's", r"a\nb", "ab", "dq", "a\tb", "é", "its")
    ]


@pytest.mark.feature("SQL", "Refused: what a local workspace cannot keep")
@pytest.mark.parametrize(
    ("statement", "feature"),
    [
        ("CREATE MATERIALIZED VIEW v AS SELECT 1 AS a", "CREATE MATERIALIZED VIEW"),
        ("CREATE OR REFRESH STREAMING TABLE t AS SELECT 1 AS a", "CREATE STREAMING TABLE"),
        ("CREATE SCHEMA s MANAGED LOCATION 's3://bucket'", "CREATE SCHEMA with LOCATION"),
        ("CREATE EXTERNAL VOLUME v LOCATION 's3://bucket'", "CREATE EXTERNAL VOLUME"),
        ("CREATE TABLE t (a INT) USING parquet", "USING"),
        ("SHOW USERS", "SHOW USERS"),
        ("ALTER SCHEMA s SET LOCATION 'x'", "ALTER SCHEMA"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(client: Client, statement: str, feature: str) -> None:
    found = client.error(statement)
    assert found.sqlstate == "0A000"
    assert feature in str(found)
