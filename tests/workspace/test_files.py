"""COPY INTO and read_files: files of volumes, each loaded once, in every format that there is."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dqctl.localworkspace.contract import Lakehouse
from lakehouse_client import Client

# ruff: noqa: E501 - statements as they are sent


@pytest.fixture
def volume(lakehouse: Lakehouse, client: Client) -> tuple[str, Path]:
    """A volume with some files: its path, and its folder on disk."""
    schema = client.session.schema
    client.execute("CREATE VOLUME files")
    path = f"/Volumes/main/{schema}/files"
    place: Path = lakehouse.volume_file(path)
    for folder in ("csv", "json", "parquet", "days/day=1", "days/day=2"):
        (place / folder).mkdir(parents=True)
    (place / "csv/a.csv").write_text("id,name,amount\n1,x,1.5\n2,,2.5\n")
    (place / "csv/b.csv").write_text("id,name,amount\n3,007,3.5\n")
    (place / "csv/_hidden.csv").write_text("id,name,amount\n9,h,9\n")
    (place / "plain.csv").write_text("1;x\n2;y\n")
    (place / "bad.csv").write_text("id,name,amount\n4,x,1\nzz,x,1\n")
    (place / "lines.txt").write_text("one\ntwo\n")
    (place / "json/a.json").write_text('{"id": 1, "name": "a", "o": {"k": 1}}\n{"id": 2, "more": true}\n')
    pq.write_table(pa.table({"id": [5], "name": ["p"]}), place / "parquet/1.parquet")
    pq.write_table(pa.table({"name": ["q"], "id": [6]}), place / "parquet/2.parquet")
    for day in (1, 2):
        pq.write_table(pa.table({"v": [day * 10]}), place / f"days/day={day}/f.parquet")
    return path, place


@pytest.fixture
def t(client: Client) -> Client:
    client.execute("CREATE TABLE t (id INT, name STRING, amount DECIMAL(10,2))")
    return client


def content(client: Client) -> list[tuple[Any, ...]]:
    return client.rows("SELECT * FROM t ORDER BY id")


CSV = "FILEFORMAT = CSV FORMAT_OPTIONS ('header' = 'true')"


@pytest.mark.feature("SQL", "COPY INTO, idempotent by file")
def test_copy_into_loads_each_file_once(t: Client, volume: tuple[str, Path]) -> None:
    path, place = volume
    copy = f"COPY INTO t FROM '{path}/csv' {CSV}"
    assert t.execute(copy).table.to_pylist() == [
        {"num_affected_rows": 3, "num_inserted_rows": 3, "num_skipped_corrupt_files": 0}
    ]
    (place / "csv/a.csv").write_text("id,name,amount\n100,changed,1\n")  # loaded is loaded
    assert t.affected(copy) == 0
    (place / "csv/c.csv").write_text("id,name,amount\n4,late,4\n")
    assert t.affected(copy) == 1
    assert content(t) == [
        (1, "x", Decimal("1.50")), (2, None, Decimal("2.50")), (3, "007", Decimal("3.50")), (4, "late", Decimal("4.00")),
    ]  # fmt: skip
    assert t.affected(f"{copy} COPY_OPTIONS ('force' = 'true')") == 3
    assert t.execute("DESCRIBE HISTORY t").table.column("operation").to_pylist()[0] == "COPY INTO"


@pytest.mark.feature("SQL", "COPY INTO of chosen files")
def test_copy_into_takes_files_and_patterns(t: Client, volume: tuple[str, Path]) -> None:
    path, _ = volume
    assert (
        t.affected(
            f"COPY INTO t FROM '{path}/csv' FILEFORMAT = CSV FILES = ('b.csv') FORMAT_OPTIONS ('header' = 'true')"
        )
        == 1
    )
    assert (
        t.affected(
            f"COPY INTO t FROM '{path}/csv' FILEFORMAT = CSV PATTERN = '[ab].csv' FORMAT_OPTIONS ('header' = 'true')"
        )
        == 2
    )
    missing = t.error(f"COPY INTO t FROM '{path}/csv' FILEFORMAT = CSV FILES = ('no.csv')")
    assert missing.error_class == "CLOUD_FILE_SOURCE_FILE_NOT_FOUND"
    assert t.error(f"COPY INTO t FROM '{path}/csv' FILEFORMAT = AVRO").error_class == "UNSUPPORTED_FEATURE"


@pytest.mark.feature("SQL", "COPY INTO from a SELECT")
def test_copy_into_casts_in_its_source(t: Client, volume: tuple[str, Path]) -> None:
    path, _ = volume
    t.execute(
        f"COPY INTO t FROM (SELECT _c0::INT AS id, upper(_c1) AS name FROM '{path}/plain.csv') FILEFORMAT = CSV"
        " FORMAT_OPTIONS ('delimiter' = ';')"
    )
    t.execute(f"COPY INTO t FROM '{path}/parquet' FILEFORMAT = PARQUET")
    assert content(t) == [(1, "X", None), (2, "Y", None), (5, "p", None), (6, "q", None)]


@pytest.mark.feature("SQL", "COPY INTO with mergeSchema")
def test_copy_into_adds_columns_only_when_it_may(t: Client, volume: tuple[str, Path]) -> None:
    copy = f"COPY INTO t FROM '{volume[0]}/json' FILEFORMAT = JSON"
    error = t.error(copy)
    assert (error.error_class, error.sqlstate) == ("COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE", "42KDG")
    t.execute(f"{copy} COPY_OPTIONS ('mergeSchema' = 'true')")
    assert t.rows("SELECT id, name, o.k, more FROM t ORDER BY id") == [(1, "a", 1, None), (2, None, None, True)]


@pytest.mark.feature("SQL", "CREATE TABLE without columns, filled by COPY INTO with mergeSchema")
def test_a_table_without_columns_gets_those_of_the_files(client: Client, volume: tuple[str, Path]) -> None:
    client.execute("CREATE TABLE IF NOT EXISTS late COMMENT 'to come'")
    for read in ("SELECT * FROM late", "SELECT count(*) FROM late l", "DELETE FROM late WHERE id = 1"):
        error = client.error(read)
        assert (error.error_class, error.sqlstate) == ("DELTA_READ_TABLE_WITHOUT_COLUMNS", "428GU")
    assert client.rows("DESCRIBE late") == client.rows("SHOW COLUMNS IN late") == []
    assert "late\nUSING" in client.value("SHOW CREATE TABLE late")
    assert client.execute("DESCRIBE DETAIL late").table.column("numFiles").to_pylist() == [0]
    assert client.value("SELECT count(*) FROM information_schema.columns WHERE table_name = 'late'") == 0
    assert client.error("INSERT INTO late VALUES (1)").error_class.startswith("INSERT_COLUMN_ARITY_MISMATCH")
    copy = f"COPY INTO late FROM '{volume[0]}/csv' {CSV}"
    assert client.error(copy).error_class == "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE"
    copy = f"{copy} COPY_OPTIONS ('mergeSchema' = 'true')"
    assert (client.affected(copy), client.affected(copy)) == (3, 0)
    assert client.rows("SELECT * FROM late ORDER BY id") == [
        ("1", "x", "1.5"),
        ("2", None, "2.5"),
        ("3", "007", "3.5"),
    ]
    client.execute("RESTORE TABLE late TO VERSION AS OF 0")
    assert client.rows("DESCRIBE late") == []
    operations = client.execute("DESCRIBE HISTORY late").table.column("operation").to_pylist()
    assert operations == ["RESTORE", "COPY INTO", "CREATE TABLE"]


@pytest.mark.parametrize(
    "fill",
    [
        "INSERT WITH SCHEMA EVOLUTION INTO late SELECT 1 AS a, 'x' AS b",
        "MERGE WITH SCHEMA EVOLUTION INTO late USING (SELECT 1 AS a, 'x' AS b) s ON false WHEN NOT MATCHED THEN INSERT *",
        "ALTER TABLE late ADD COLUMNS (a INT, b STRING)",
    ],
)
def test_a_table_without_columns_gets_them_by_what_else_adds_columns(client: Client, fill: str) -> None:
    client.execute("CREATE TABLE late")
    client.execute(fill)
    if fill.startswith("ALTER"):
        client.execute("INSERT INTO late VALUES (1, 'x')")
    assert client.rows("SELECT a, b FROM late") == [(1, "x")]


def test_a_list_of_no_columns_is_no_list(client: Client) -> None:
    assert client.error("CREATE TABLE late ()").error_class == "PARSE_SYNTAX_ERROR"


@pytest.mark.feature("SQL", "COPY INTO ... VALIDATE")
def test_copy_into_validates_without_loading(t: Client, volume: tuple[str, Path]) -> None:
    found = t.rows(
        f"COPY INTO t FROM '{volume[0]}/csv' FILEFORMAT = CSV VALIDATE 2 ROWS FORMAT_OPTIONS ('header' = 'true')"
    )
    assert len(found) == 2
    assert content(t) == []
    assert t.error(f"COPY INTO t FROM '{volume[0]}/bad.csv' {CSV}").error_class == "CAST_INVALID_INPUT"
    assert content(t) == []


@pytest.mark.feature("SQL", "read_files")
@pytest.mark.parametrize(
    ("call", "rows"),
    [
        ("'{}/csv', header => true", [(1, "x", 1.5), (2, None, 2.5), (3, "007", 3.5)]),
        ("'{}/csv/{{a,b}}.csv', format => 'csv', header => true, schema => 'id BIGINT, name STRING, amount STRING'",
         [(1, "x", "1.5"), (2, None, "2.5"), (3, "007", "3.5")]),
        ("'{}/csv', format => 'csv', header => 'true', schemaHints => 'amount STRING', fileNamePattern => 'b*'", [(3, "7", "3.5")]),
        ("'{}/plain.csv', format => 'csv', sep => ';'", [(1, "x"), (2, "y")]),
        ("'{}/parquet/?.parquet'", [(5, "p"), (6, "q")]),
        ("'{}/days', format => 'parquet'", [(10, 1), (20, 2)]),
        ("'{}/lines.txt'", [("one",), ("two",)]),
    ],
)  # fmt: skip
def test_read_files_reads(
    client: Client, volume: tuple[str, Path], call: str, rows: list[tuple[Any, ...]]
) -> None:
    found = client.rows(f"SELECT * FROM read_files({call.format(volume[0])}) ORDER BY 1")
    assert [tuple(map(_plain, row)) for row in found] == [tuple(map(_plain, row)) for row in rows]


def _plain(value: Any) -> Any:
    # Engines differ in whether the text of a path or of a column of digits is a number.
    return int(value) if isinstance(value, str) and value.isdecimal() else value


@pytest.mark.feature("SQL", "read_files with _metadata")
def test_read_files_says_where_a_row_is_from(client: Client, volume: tuple[str, Path]) -> None:
    path, place = volume
    found = client.rows(
        f"SELECT *, _metadata.file_path AS p, f._metadata.file_size AS s FROM read_files('{path}/parquet') AS f ORDER BY id"
    )
    size = (place / "parquet/1.parquet").stat().st_size
    assert found[0] == (5, "p", f"dbfs:{path}/parquet/1.parquet", size)
    assert [row[2] for row in found] == [f"dbfs:{path}/parquet/{name}.parquet" for name in (1, 2)]


@pytest.mark.feature("SQL", "Files as tables: csv.`...`, json.`...`, parquet.`...`, text.`...`, delta.`...`")
def test_files_are_relations_by_their_path(client: Client, volume: tuple[str, Path]) -> None:
    path, _ = volume
    assert client.value(f"SELECT count(*) FROM csv.`{path}/plain.csv`") == 2
    assert client.rows(f"SELECT j.id FROM json.`{path}/json` AS j ORDER BY 1") == [(1,), (2,)]
    assert client.rows(f"SELECT id FROM parquet.`{path}/parquet` WHERE name = 'q'") == [(6,)]
    assert client.rows(f"SELECT value FROM text.`{path}/lines.txt` ORDER BY 1") == [("one",), ("two",)]
    assert client.error(f"SELECT * FROM delta.`{path}/parquet`").error_class == "DELTA_TABLE_NOT_FOUND"
    for outside in ("csv.`/etc/passwd`", "delta.`/etc`"):
        assert client.error(f"SELECT * FROM {outside}").error_class == "UNSUPPORTED_FEATURE"
    assert client.error(f"SELECT * FROM parquet.`{path}/../../x`").error_class == "INVALID_PARAMETER_VALUE"


@pytest.mark.feature("SQL", "read_files of what is not there")
def test_read_files_names_what_it_cannot_read(client: Client, volume: tuple[str, Path]) -> None:
    def error(call: str) -> str:
        return client.error(f"SELECT * FROM read_files({call})").error_class

    path, _ = volume
    assert error(f"'{path}/none'") == "CLOUD_FILE_SOURCE_FILE_NOT_FOUND"
    assert error(f"'{path}/*.orc'") == "CLOUD_FILE_SOURCE_FILE_NOT_FOUND"
    assert error(f"'{path}/csv', format => 'xml'") == "UNSUPPORTED_FEATURE"
    assert error("'/etc/passwd'") == "INVALID_PARAMETER_VALUE"
