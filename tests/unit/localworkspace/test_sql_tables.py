"""DDL, views, SHOW, DESCRIBE and information_schema."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse_client import Client

ALL_TYPES = """
CREATE TABLE all_types (
  a TINYINT, b SMALLINT, c INT, d BIGINT, e FLOAT, f DOUBLE, g DECIMAL(12,3), h STRING, i VARCHAR(5), j CHAR(2),
  k BOOLEAN, l DATE, m TIMESTAMP, n TIMESTAMP_NTZ, o BINARY, p ARRAY<INT>, q MAP<STRING,INT>,
  r STRUCT<x: INT, y: ARRAY<STRING>>, s DECIMAL
) USING DELTA
"""
TEXTS = [
    "tinyint", "smallint", "int", "bigint", "float", "double", "decimal(12,3)", "string", "varchar(5)", "char(2)",
    "boolean", "date", "timestamp", "timestamp_ntz", "binary", "array<int>", "map<string,int>",
    "struct<x:int,y:array<string>>", "decimal(10,0)",
]  # fmt: skip
NAMES = [
    "BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE", "DECIMAL", "STRING", "VARCHAR", "CHAR", "BOOLEAN", "DATE",
    "TIMESTAMP", "TIMESTAMP_NTZ", "BINARY", "ARRAY", "MAP", "STRUCT", "DECIMAL",
]  # fmt: skip


def test_every_type_is_described_as_databricks_does(client: Client) -> None:
    client.execute(ALL_TYPES)
    assert [row[1] for row in client.rows("DESCRIBE all_types")] == TEXTS
    found = client.rows(
        "SELECT full_data_type, data_type FROM information_schema.columns WHERE table_name = 'all_types'"
        " ORDER BY ordinal_position"
    )
    assert found == list(zip(TEXTS, NAMES, strict=True))
    numbers = (
        "SELECT numeric_precision, numeric_scale FROM information_schema.columns WHERE column_name IN ('d', 'g')"
    )
    assert client.rows(f"{numbers} ORDER BY column_name") == [(19, 0), (12, 3)]


def test_a_table_shows_all_that_it_was_created_with(client: Client) -> None:
    client.execute(
        "CREATE TABLE IF NOT EXISTS t (id BIGINT NOT NULL COMMENT 'it\\'s', name"
        " STRING, PRIMARY KEY (id)) USING DELTA"
        " CLUSTER BY (id) COMMENT 'a \\'table\\'' TBLPROPERTIES"
        " ('delta.enableDeletionVectors' = 'true', 'k' = 'v')"
    )
    statement = client.value("SHOW CREATE TABLE t")
    client.execute("DROP TABLE t")
    client.execute(statement)
    assert client.value("SHOW CREATE TABLE t") == statement
    assert "NOT NULL" in statement
    assert "CLUSTER BY (id)" in statement
    client.execute("INSERT INTO t VALUES (1, 'x')")
    assert client.affected("DELETE FROM t WHERE id = 1") == 1


def test_create_says_what_is_there_already(client: Client) -> None:
    client.execute("CREATE TABLE t (a INT)")
    assert client.error("CREATE TABLE t (a INT)").sqlstate == "42P07"
    assert client.error("CREATE VIEW t AS SELECT 1 AS a").sqlstate == "42P07"
    client.execute("CREATE TABLE IF NOT EXISTS t (b INT)")
    assert client.rows("DESCRIBE t") == [("a", "int", None)]
    assert client.error("DROP VIEW t").error_class == "EXPECT_VIEW_NOT_TABLE"
    assert client.error("CREATE TABLE u (a INT, A STRING)").error_class == "COLUMN_ALREADY_EXISTS"
    assert client.error("CREATE TABLE u AS SELECT 1 AS a, 2 AS a").error_class == "COLUMN_ALREADY_EXISTS"
    client.execute("DROP TABLE IF EXISTS u")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE IF NOT EXISTS {} (a INT)",
        "CREATE TABLE IF NOT EXISTS {} AS SELECT 1 AS a",
        "CREATE VIEW IF NOT EXISTS {} AS SELECT 1 AS a",
        "CREATE VOLUME IF NOT EXISTS {}",
        "CREATE SCHEMA IF NOT EXISTS {}",
        "CREATE CATALOG IF NOT EXISTS {}",
    ],
)
def test_sessions_that_all_create_what_is_not_there_all_have_it(
    connect: Callable[..., Client], tmp_path: Path, statement: str
) -> None:
    clients = [connect() for _ in range(4)]
    for number in range(10):
        start = threading.Barrier(len(clients))

        def create(one: Client, number: int = number, start: threading.Barrier = start) -> None:
            start.wait(30)
            one.execute(statement.format(f"thing_{number}"))

        with ThreadPoolExecutor(len(clients)) as pool:
            for done in [pool.submit(create, one) for one in clients]:
                done.result(30)
    # Who came second leaves nothing behind.
    folders = [path for kind in ("tables", "volumes") for path in (tmp_path / "data" / kind).glob("*/*/thing_*")]
    assert len(folders) == (10 if "TABLE" in statement or "VOLUME" in statement else 0)


def test_create_or_replace_keeps_the_history(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS a")
    client.execute("CREATE OR REPLACE TABLE t AS SELECT a + 1 AS b, 'x' AS c FROM t")
    client.execute("CREATE OR REPLACE TABLE t (d DATE NOT NULL COMMENT 'day')")
    assert client.rows("DESCRIBE t") == [("d", "date", "day")]
    assert client.rows("SELECT * FROM t VERSION AS OF 0") == [(1,)]
    assert client.rows("SELECT * FROM t VERSION AS OF 1") == [(2, "x")]
    assert len(client.rows("DESCRIBE HISTORY t")) == 3


def test_a_failed_create_leaves_neither_entry_nor_folder(client: Client, tmp_path: Path) -> None:
    assert client.error("CREATE TABLE t AS SELECT 1 / (id - 5000) AS a FROM range(10000)").sqlstate == "22012"
    assert client.rows("SHOW TABLES") == []
    assert list((tmp_path / "data").glob("tables/*/*/*")) == []


def test_like_and_clone(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS a")
    client.execute("CREATE TABLE empty LIKE t")
    client.execute("CREATE TABLE copied SHALLOW CLONE t")
    assert client.rows("SELECT * FROM empty") == []
    client.execute("INSERT INTO t VALUES (2)")
    assert client.rows("SELECT * FROM copied") == [(1,)]


def test_an_external_table_is_read_and_outlives_its_entry(client: Client, tmp_path: Path) -> None:
    location = tmp_path / "elsewhere"
    write_deltalake(str(location), pa.table({"a": [1, 2]}))
    client.execute(f"CREATE TABLE t USING DELTA LOCATION '{location}'")
    assert client.value("SELECT count(*) FROM t") == 2
    assert client.rows("SELECT table_type FROM information_schema.tables") == [("EXTERNAL",)]
    client.execute("DROP TABLE t")
    assert location.exists()


def test_alter_table(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS a")
    client.execute("ALTER TABLE t ADD COLUMNS (b STRING COMMENT 'two', c ARRAY<INT>)")
    client.execute("ALTER TABLE t ADD COLUMN d DATE")
    client.execute("ALTER TABLE t ALTER COLUMN a COMMENT 'one'")
    client.execute("ALTER TABLE t SET TBLPROPERTIES ('x' = 'y')")
    client.execute("ALTER TABLE t CLUSTER BY (b)")
    client.execute("ALTER TABLE t RENAME TO u")
    assert client.rows("DESCRIBE u") == [
        ("a", "int", "one"), ("b", "string", "two"), ("c", "array<int>", None), ("d", "date", None),
        ("# Clustering Information", "", ""), ("# col_name", "data_type", "comment"), ("b", "string", "two"),
    ]  # fmt: skip
    assert client.rows("SELECT * FROM u") == [(1, None, None, None)]
    assert client.rows("SHOW TBLPROPERTIES u") == [
        ("clusterByAuto", "false"), ("clusteringColumns", '[["b"]]'), ("x", "y"),
    ]  # fmt: skip
    assert client.error("ALTER TABLE u ADD COLUMN A INT").error_class == "FIELD_ALREADY_EXISTS"
    assert client.error("ALTER TABLE u DROP COLUMN a").sqlstate == "0AKDC"


def test_comments(client: Client) -> None:
    client.execute("CREATE SCHEMA s")
    client.execute("CREATE TABLE s.t (a INT)")
    client.execute("COMMENT ON SCHEMA s IS 'for s'")
    client.execute("COMMENT ON TABLE s.t IS 'for t'")
    client.execute("COMMENT ON COLUMN s.t.a IS 'for a'")
    assert client.rows("SELECT comment FROM information_schema.schemata WHERE schema_name = 's'") == [("for s",)]
    assert client.rows("SELECT comment FROM information_schema.tables") == [("for t",)]
    assert client.rows("SELECT comment FROM information_schema.columns") == [("for a",)]
    client.execute("COMMENT ON TABLE s.t IS NULL")
    assert client.rows("SELECT comment FROM information_schema.tables") == [(None,)]


def test_a_view_means_the_same_from_everywhere(client: Client) -> None:
    client.execute("CREATE SCHEMA s")
    client.execute("USE s")
    client.execute("CREATE TABLE t AS SELECT * FROM VALUES (1, 'x'), (2, 'y') AS v(a, b)")
    client.execute(
        "CREATE VIEW v (n COMMENT 'number', m) COMMENT 'a view' AS WITH t AS (SELECT * FROM t) SELECT a, b FROM t"
    )
    client.execute("CREATE VIEW w AS SELECT v.n, u.m FROM v JOIN s.v AS u ON v.n = u.n")
    client.execute("USE default")
    assert client.rows("SELECT v.m FROM s.v WHERE s.v.n = 2") == [("y",)]
    assert client.rows("SELECT * FROM s.w AS z ORDER BY z.n") == [(1, "x"), (2, "y")]
    assert client.rows("DESCRIBE s.v") == [("n", "int", "number"), ("m", "string", None)]
    client.execute("CREATE OR REPLACE VIEW s.v AS SELECT 7 AS n, 'z' AS m")
    assert client.rows("SELECT * FROM s.w") == [(7, "z")]
    assert client.error("CREATE OR REPLACE VIEW s.v AS SELECT * FROM s.v").error_class == "RECURSIVE_VIEW"
    assert client.rows("SHOW VIEWS IN s") == [("s", "v", False, False), ("s", "w", False, False)]


def test_names_resolve_as_written(client: Client) -> None:
    client.execute("CREATE SCHEMA s")
    client.execute("CREATE TABLE t AS SELECT 1 AS a, named_struct('b', 2) AS c")
    client.execute("CREATE TABLE s.t AS SELECT 10 AS a")
    assert client.rows("SELECT main.default.t.a AS p, default.t.a AS q, t.a, t.c.b AS r, c.b FROM t") == [
        (1, 1, 1, 2, 2)
    ]
    assert client.rows("SELECT default.t.a, s.t.a AS b FROM default.t CROSS JOIN s.t") == [(1, 10)]
    assert client.rows("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM s.t AS x WHERE x.a = default.t.a * 10)") == [
        (1,)
    ]
    both = "WITH t AS (SELECT 5 AS a) SELECT a FROM t UNION ALL SELECT a FROM default.t ORDER BY a"
    assert client.rows(both) == [(1,), (5,)]
    assert client.rows("SELECT (SELECT max(a) FROM s.t) AS m, x.a FROM t AS x") == [(10, 1)]


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SHOW CATALOGS", [("main",)]),
        ("SHOW SCHEMAS", [("default",), ("information_schema",), ("s",)]),
        ("SHOW SCHEMAS LIKE 's*|x'", [("s",)]),
        ("SHOW TABLES IN s", [("s", "t", False), ("s", "v", False)]),
        ("SHOW COLUMNS IN s.t", [("a",)]),
        ("SHOW VOLUMES IN s", [("s", "files")]),
        ("DESCRIBE SCHEMA s", [("Catalog Name", "main"), ("Namespace Name", "s"),
                               ("Comment", "c"), ("Owner", "local")]),
        ("SELECT table_name, table_type FROM information_schema.tables ORDER BY 1",
         [("t", "MANAGED"), ("v", "VIEW")]),
        ("SELECT volume_name FROM system.information_schema.volumes", [("files",)]),
        ("SELECT catalog_name FROM main.information_schema.catalogs", [("main",)]),
        ("SELECT view_definition FROM information_schema.views", [("SELECT a FROM `main`.`s`.`t`",)]),
        ("SELECT c.column_name FROM information_schema.columns c JOIN information_schema.tables t"
         " ON c.table_name = t.table_name WHERE t.table_type = 'MANAGED'", [("a",)]),
    ],
)  # fmt: skip
def test_show_and_information_schema(client: Client, statement: str, rows: list[tuple[object, ...]]) -> None:
    client.execute("CREATE SCHEMA s COMMENT 'c'")
    client.execute("CREATE TABLE s.t (a INT)")
    client.execute("CREATE VIEW s.v AS SELECT a FROM s.t")
    client.execute("CREATE VOLUME s.files")
    assert client.rows(statement) == rows


def test_describe_extended_and_detail(client: Client) -> None:
    client.execute("CREATE TABLE t COMMENT 'c' AS SELECT 1 AS a")
    extended = {row[0]: row[1] for row in client.rows("DESCRIBE TABLE EXTENDED t")}
    assert (extended["Catalog"], extended["Type"], extended["Provider"]) == ("main", "MANAGED", "delta")
    detail = client.execute("DESCRIBE DETAIL t").table.to_pylist()[0]
    assert (detail["format"], detail["numFiles"], detail["description"]) == ("delta", 1, "c")
    assert Path(detail["location"]).is_dir()
