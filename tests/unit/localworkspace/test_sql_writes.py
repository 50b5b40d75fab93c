"""INSERT and its like: what is stored, what is counted, and that no writer loses another's rows."""

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from dqctl.localworkspace.contract import Lakehouse, Parameter, StatementError
from lakehouse_client import Client


@pytest.fixture
def table(client: Client) -> Client:
    client.execute("CREATE TABLE t (id INT NOT NULL, name STRING, run_id STRING, amount DECIMAL(10,2))")
    client.execute("INSERT INTO t VALUES (1, 'a', 'r1', 1.5), (2, 'b', 'r1', 2.5), (3, 'c', 'r2', 3.5)")
    return client


def stage(lakehouse: Lakehouse, client: Client, name: str, rows: dict[str, list[object]]) -> str:
    client.execute("CREATE VOLUME IF NOT EXISTS files")
    path = f"/Volumes/main/default/files/{name}"
    place = lakehouse.volume_file(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), place)
    return path


def commits(client: Client, name: str = "t") -> int:
    return len(client.rows(f"DESCRIBE HISTORY {name}"))


def test_insert_with_a_partial_column_list_fills_the_rest_with_null(table: Client) -> None:
    result = table.execute("INSERT INTO t (name, id) VALUES ('x', 9), ('y', '10')")
    assert result.table.to_pylist() == [{"num_affected_rows": 2, "num_inserted_rows": 2}]
    assert result.affected_rows == 2
    assert table.rows("SELECT * FROM t WHERE id > 8 ORDER BY id") == [(9, "x", None, None), (10, "y", None, None)]


def test_insert_by_name_and_from_a_common_table_expression(table: Client) -> None:
    table.execute("INSERT INTO t BY NAME SELECT 'n' AS name, 7 AS id")
    table.execute("WITH t AS (SELECT id + 100 AS id FROM t) INSERT INTO t (id) SELECT id FROM t")
    assert table.value("SELECT count(*) FROM t") == 8


def test_insert_from_json_parameter(table: Client) -> None:
    rows = '[{"id": 11, "name": "it\'s", "amount": 0.1}, {"id": 12, "name": null, "amount": null}]'
    table.execute(
        "INSERT INTO t (id, name, amount) SELECT r.id, r.name, r.amount FROM"
        " (SELECT explode(from_json(:p, 'array<struct<id:int,name:string,amount:decimal(10,2)>>')) AS r)",
        Parameter("p", "STRING", rows),
    )
    table.execute(
        "INSERT INTO t (id, name) SELECT inline(from_json(:p, 'array<struct<id:int,name:string>>'))",
        Parameter("p", "STRING", rows),
    )
    expected = [(11, "it's", Decimal("0.10")), (11, "it's", None), (12, None, None), (12, None, None)]
    assert table.rows("SELECT id, name, amount FROM t WHERE id > 10 ORDER BY id, amount DESC") == expected


@pytest.mark.parametrize(
    ("statement", "error_class"),
    [
        ("INSERT INTO t VALUES (1)", "INSERT_COLUMN_ARITY_MISMATCH.NOT_ENOUGH_DATA_COLUMNS"),
        ("INSERT INTO t (id) VALUES (1, 2)", "INSERT_COLUMN_ARITY_MISMATCH.TOO_MANY_DATA_COLUMNS"),
        ("INSERT INTO t (nope) VALUES (1)", "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION"),
        ("INSERT INTO t (name) VALUES ('x')", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED"),
        ("INSERT INTO t (id) VALUES ('x')", "CAST_INVALID_INPUT"),
        ("INSERT INTO t REPLACE WHERE run_id = 'r1' SELECT 9, 'x', 'r9', 1", "DELTA_REPLACE_WHERE_MISMATCH"),
        ("INSERT INTO t REPLACE WHERE length(run_id) = 3 SELECT 9, 'x', 'r1', 1", "DELTA_REPLACE_WHERE_MISMATCH"),
        ("INSERT INTO t REPLACE WHERE nope = 2 SELECT 9, 'x', 'r1', 1", "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION"),
        ("UPDATE t SET id = NULL", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED"),
        ("INSERT INTO v VALUES (1)", "EXPECT_TABLE_NOT_VIEW"),
    ],
)
def test_a_write_that_fails_leaves_the_table_as_it_was(table: Client, statement: str, error_class: str) -> None:
    table.execute("CREATE VIEW v AS SELECT id FROM t")
    before = table.rows("SELECT * FROM t ORDER BY id")
    assert table.error(statement).error_class == error_class
    assert table.rows("SELECT * FROM t ORDER BY id") == before
    assert commits(table) == 2


def test_replace_where_is_one_commit_that_spares_other_rows(lakehouse: Lakehouse, table: Client) -> None:
    path = stage(lakehouse, table, "run.parquet", {"id": [7], "name": ["z"], "run_id": ["r1"], "amount": [0.5]})
    statement = (
        f"INSERT INTO t REPLACE WHERE RUN_ID = 'r1' SELECT * FROM read_files('{path}', format => 'parquet')"
    )
    for _ in range(2):
        table.execute(statement)
        assert table.rows("SELECT id, run_id FROM t ORDER BY id") == [(3, "r2"), (7, "r1")]
    assert commits(table) == 4
    table.execute("INSERT INTO t REPLACE WHERE run_id = 'r1' SELECT * FROM t WHERE false")
    assert table.rows("SELECT id FROM t") == [(3,)]


def test_replace_where_takes_parameters(table: Client) -> None:
    run = "it's \\ r1"
    for number in ("1", "2"):
        table.execute(
            "INSERT INTO t (id, run_id) REPLACE WHERE run_id = :run SELECT :n, :run",
            Parameter("run", "STRING", run),
            Parameter("n", "INT", number),
        )
    assert table.rows("SELECT id FROM t WHERE run_id = ?", Parameter(None, "STRING", run)) == [(2,)]


def test_concurrent_replacements_lose_nothing(connect: Callable[..., Client], table: Client) -> None:
    failures: list[StatementError] = []

    def publish(run: int) -> None:
        client = connect()
        try:
            for attempt in range(4):
                client.execute(
                    f"INSERT INTO t (id, name, run_id) REPLACE WHERE run_id = 'run{run}' "
                    f"SELECT CAST(id AS INT), 'v{attempt}', 'run{run}' FROM range({run + 5})"
                )
        except StatementError as error:
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(run,)) for run in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = table.rows("SELECT run_id, count(*), min(name) FROM t WHERE run_id LIKE 'run%' GROUP BY 1 ORDER BY 1")
    assert found == [(f"run{run}", run + 5, "v3") for run in range(4)]
    assert table.value("SELECT count(*) FROM t WHERE run_id LIKE 'r_'") == 3


def test_writers_of_every_kind_take_turns(connect: Callable[..., Client], table: Client) -> None:
    failures: list[StatementError] = []

    def work(number: int) -> None:
        client = connect()
        try:
            for round_ in range(3):
                client.execute(f"INSERT INTO t (id) VALUES ({1000 + number * 10 + round_})")
                client.execute(f"UPDATE t SET name = 'w{number}' WHERE id = {1000 + number * 10 + round_}")
                client.execute(f"DELETE FROM t WHERE id = {1000 + number * 10 + round_ - 1}")
        except StatementError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert table.rows("SELECT id, name FROM t WHERE id >= 1000 ORDER BY id") == [
        (1000 + number * 10 + 2, f"w{number}") for number in range(3)
    ]


def test_a_conflict_with_a_foreign_writer_can_be_retried(table: Client, tmp_path: Path) -> None:
    from dqctl.localworkspace.errors import from_engine

    (location,) = (tmp_path / "data" / "tables" / "main" / "default").iterdir()
    first, second = DeltaTable(str(location)), DeltaTable(str(location))
    first.delete("id = 1")
    with pytest.raises(Exception, match=r"onflict|oncurrent|Failed to commit") as caught:
        second.delete("id = 1")
    error = from_engine(caught.value)
    assert (error.error_class, error.sqlstate) == ("DELTA_CONCURRENT_APPEND", "2D521")


def test_affected_rows_are_those_that_changed(table: Client) -> None:
    assert table.affected("UPDATE t SET name = 'q' WHERE id = 1") == 1
    assert table.affected("UPDATE t SET name = 'q' WHERE id > 100") == 0
    assert table.affected("DELETE FROM t WHERE id = 2") == 1
    assert table.affected("DELETE FROM t WHERE id IN (SELECT 3)") == 1
    assert table.affected("DELETE FROM t WHERE id IN (SELECT 3)") == 0
    assert table.rows("SELECT id, name FROM t") == [(1, "q")]
    merged = table.execute(
        "MERGE INTO t USING (SELECT 1 AS id, 'm' AS name UNION ALL SELECT 5, 'n') AS s ON t.id = s.id"
        " WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
    )
    assert merged.table.to_pylist() == [
        {"num_affected_rows": 2, "num_updated_rows": 1, "num_deleted_rows": 0, "num_inserted_rows": 1}
    ]
    assert table.affected("DELETE FROM t") == 2
    assert table.rows("SELECT * FROM t") == []


def test_delete_with_a_subquery_keeps_rows_for_which_it_is_unknown(table: Client) -> None:
    table.execute("INSERT INTO t (id, run_id) VALUES (4, NULL)")
    assert table.affected("DELETE FROM t WHERE run_id IN (SELECT 'r1')") == 2
    assert table.rows("SELECT id FROM t ORDER BY id") == [(3,), (4,)]


def test_merge_from_staged_files(lakehouse: Lakehouse, table: Client) -> None:
    path = stage(
        lakehouse,
        table,
        "m.parquet",
        {"id": [1, 8], "name": ["new", "new"], "run_id": ["r1", "r8"], "amount": [1.0, 2.0]},
    )
    table.execute(
        f"MERGE INTO t USING read_files('{path}', format => 'parquet') AS s ON t.id <=> s.id"
        " WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    assert table.rows("SELECT id, name FROM t ORDER BY id") == [(1, "new"), (2, "b"), (3, "c"), (8, "new")]


def test_copy_into_loads_each_file_once(lakehouse: Lakehouse, table: Client) -> None:
    stage(lakehouse, table, "in/a.parquet", {"id": [21], "name": ["x"]})
    stage(lakehouse, table, "in/_hidden.parquet", {"id": [99], "name": ["x"]})
    copy = "COPY INTO t FROM '/Volumes/main/default/files/in' FILEFORMAT = PARQUET"
    assert [table.affected(copy), table.affected(copy)] == [1, 0]
    stage(lakehouse, table, "in/b.parquet", {"name": ["y"], "id": [22]})
    assert table.affected(copy) == 1
    assert table.affected(f"{copy} COPY_OPTIONS ('force' = 'true')") == 2
    assert table.rows("SELECT id, name, run_id FROM t WHERE id > 20 ORDER BY id") == [
        (21, "x", None), (21, "x", None), (22, "y", None), (22, "y", None),
    ]  # fmt: skip


def test_read_files_reads_csv_with_options(lakehouse: Lakehouse, client: Client) -> None:
    client.execute("CREATE VOLUME files")
    lakehouse.volume_file("/Volumes/main/default/files/a.csv").write_text("a;b\n1;x\n2;\n")
    statement = "SELECT a, b FROM read_files('/Volumes/main/default/files/a.csv', format => 'csv',"
    statement += " header => 'true', sep => ';')"
    assert client.rows(statement) == [(1, "x"), (2, None)]
    missing = client.error("SELECT * FROM read_files('/Volumes/main/default/files/none.csv', format => 'csv')")
    assert missing.error_class == "CLOUD_FILE_SOURCE_FILE_NOT_FOUND"
    outside = client.error("SELECT * FROM read_files('/etc/passwd', format => 'text')")
    assert outside.error_class == "INVALID_PARAMETER_VALUE"


def test_time_travel(table: Client) -> None:
    table.execute("TRUNCATE TABLE t")
    assert table.value("SELECT count(*) FROM t") == 0
    assert table.value("SELECT count(*) FROM t VERSION AS OF 1") == 3
    assert table.value("SELECT count(*) FROM t@v1") == 3
    assert table.rows("SELECT x.id FROM t VERSION AS OF 1 AS x WHERE x.id = 1") == [(1,)]
    assert table.error("SELECT * FROM t VERSION AS OF 99").error_class == "DELTA_VERSION_NOT_FOUND"
    early = table.error("SELECT * FROM t TIMESTAMP AS OF '2000-01-01'")
    assert (early.error_class, early.sqlstate) == ("DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION", "42816")


def test_two_thousand_literal_rows_in_one_statement(table: Client) -> None:
    values = ", ".join(f"({number}, 'name {number}', 'bulk', {number}.25)" for number in range(2000))
    assert table.affected(f"INSERT INTO t VALUES {values}") == 2000
    assert table.value("SELECT count(DISTINCT name) FROM t WHERE run_id = 'bulk'") == 2000


def test_nan_beside_a_number_stays_nan(client: Client) -> None:
    # Statistics leave NaN out: the engine would take the column for a constant.
    client.execute("CREATE TABLE odd (a DOUBLE)")
    client.execute("INSERT INTO odd VALUES (0.1D), (double('NaN'))")
    found = client.execute("SELECT CAST(a AS STRING) AS a FROM odd").table.column("a").to_pylist()
    assert sorted(found) == ["0.1", "NaN"]
