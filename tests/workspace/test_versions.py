"""Versions of a table: RESTORE, CLONE, OPTIMIZE, VACUUM, and what any Delta reader makes of them."""

# ruff: noqa: E501 - statements as they are sent

import os
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from lakehouse_client import Client


@pytest.fixture
def t(client: Client) -> Client:
    client.execute("CREATE TABLE t (id INT, name STRING)")
    for number in (1, 2, 3):
        client.execute(f"INSERT INTO t VALUES ({number}, 'v{number}')")
    return client


def row(client: Client, statement: str) -> dict[str, Any]:
    (found,) = client.execute(statement).table.to_pylist()
    return dict(found)


def ids(client: Client, table: str = "t") -> list[int]:
    return [found for (found,) in client.rows(f"SELECT id FROM {table} ORDER BY id")]


def operations(client: Client, table: str = "t") -> list[str]:
    return client.execute(f"DESCRIBE HISTORY {table}").table.column("operation").to_pylist()


@pytest.mark.feature("SQL", "DESCRIBE HISTORY ... LIMIT")
def test_the_newest_versions_alone(t: Client) -> None:
    assert [version for version, *_ in t.rows("DESCRIBE HISTORY t LIMIT 2")] == [3, 2]
    assert len(t.rows("DESCRIBE HISTORY t LIMIT 100")) == len(t.rows("DESCRIBE HISTORY t")) == 4
    assert t.error("DESCRIBE HISTORY t LIMIT").sqlstate == "42601"


def place(client: Client, table: str = "t") -> Path:
    return Path(row(client, f"DESCRIBE DETAIL {table}")["location"].removeprefix("file:"))


@pytest.mark.feature("SQL", "RESTORE TABLE")
def test_restore_brings_an_older_version_back(t: Client) -> None:
    t.execute("DELETE FROM t WHERE id < 3")
    found = row(t, "RESTORE TABLE t TO VERSION AS OF 2")
    assert list(found) == [
        "table_size_after_restore", "num_of_files_after_restore", "num_removed_files", "num_restored_files",
        "removed_files_size", "restored_files_size",
    ]  # fmt: skip
    assert (found["num_of_files_after_restore"], found["num_removed_files"]) == (2, 1)
    assert ids(t) == [1, 2]
    assert operations(t)[0] == "RESTORE"
    assert t.error("RESTORE t TO VERSION AS OF 99").error_class == "DELTA_VERSION_NOT_FOUND"
    early = t.error("RESTORE TABLE t TO TIMESTAMP AS OF '2000-01-01'")
    assert early.error_class == "DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION"


@pytest.mark.feature("SQL", "SHALLOW and DEEP CLONE")
@pytest.mark.parametrize("kind", ["SHALLOW", "DEEP"])
def test_a_clone_is_a_table_of_its_own(t: Client, kind: str) -> None:
    found = row(t, f"CREATE TABLE c {kind} CLONE t VERSION AS OF 2")
    assert (found["source_num_of_files"], found["num_copied_files"]) == (2, 2 if kind == "DEEP" else 0)
    t.execute("INSERT INTO c VALUES (9, 'own')")
    t.execute("ALTER TABLE t ADD CONSTRAINT small CHECK (id < 100)")
    t.execute(f"CREATE TABLE d {kind} CLONE t")
    assert t.error("INSERT INTO d VALUES (100, 'large')").error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    t.execute("DROP TABLE t")
    assert ids(t, "c") == [1, 2, 9]
    assert operations(t, "c") == ["WRITE", "CLONE"]
    assert t.error(f"CREATE TABLE c {kind} CLONE c").error_class == "TABLE_OR_VIEW_ALREADY_EXISTS"
    t.execute(f"CREATE TABLE IF NOT EXISTS c {kind} CLONE c")
    t.execute(f"CREATE OR REPLACE TABLE c {kind} CLONE c VERSION AS OF 0")
    assert ids(t, "c") == [1, 2]


@pytest.mark.feature("SQL", "OPTIMIZE")
def test_optimize_makes_one_file_of_many_and_changes_no_row(t: Client) -> None:
    metrics = row(t, "OPTIMIZE t")["metrics"]
    assert (metrics["numFilesRemoved"], metrics["numFilesAdded"]) == (3, 1)
    assert ids(t) == [1, 2, 3]
    assert row(t, "DESCRIBE DETAIL t")["numFiles"] == 1
    assert operations(t)[0] == "OPTIMIZE"
    assert row(t, "OPTIMIZE t")["metrics"]["numFilesAdded"] == 0
    assert row(t, "OPTIMIZE t ZORDER BY (id)")["metrics"]["numFilesAdded"] == 1
    assert ids(t, "t VERSION AS OF 3") == [1, 2, 3]


@pytest.mark.feature("SQL", "VACUUM")
def test_vacuum_removes_what_no_version_in_retention_needs(t: Client) -> None:
    t.execute("OPTIMIZE t")
    old = time.time() - 10 * 86400
    litter = place(t) / "part-of-a-killed-write.parquet"
    litter.write_bytes(b"x")
    for file in place(t).glob("*.parquet"):
        os.utime(file, (old, old))
    assert [Path(found).name for (found,) in t.rows("VACUUM t DRY RUN")] == [litter.name]
    assert litter.exists()
    assert t.error("VACUUM t RETAIN 1 HOURS").error_class == "INVALID_PARAMETER_VALUE"
    t.execute("VACUUM t")
    assert not litter.exists()
    # The files that OPTIMIZE took away went today: they stay for a week, and time travel works.
    assert ids(t, "t VERSION AS OF 2") == [1, 2]
    assert operations(t)[:2] == ["VACUUM END", "VACUUM START"]


@pytest.mark.feature("SQL", "ANALYZE, and what is refused")
def test_statements_that_look_after_tables_name_what_is_missing(t: Client) -> None:
    t.execute("ANALYZE TABLE t COMPUTE STATISTICS FOR ALL COLUMNS")
    assert t.error("ANALYZE TABLE nope COMPUTE STATISTICS").error_class == "TABLE_OR_VIEW_NOT_FOUND"
    for refused in ("REORG TABLE t APPLY (PURGE)", "SELECT * FROM table_changes('t', 1)", "SELECT 'a' COLLATE UTF8_LCASE", "SELECT parse_json('1')"):  # fmt: skip
        assert t.error(refused).error_class == "UNSUPPORTED_FEATURE", refused


@pytest.mark.feature("SQL", "Tables for any Delta reader")
def test_delta_rs_reads_what_statements_wrote(t: Client) -> None:
    t.execute("UPDATE t SET name = 'q' WHERE id = 1")
    t.execute("MERGE INTO t USING (SELECT 2 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE")
    t.execute("INSERT WITH SCHEMA EVOLUTION INTO t SELECT 4 AS id, 'd' AS name, 1.5D AS extra")
    table = DeltaTable(str(place(t)))
    rows = sorted((found["id"], found["name"], found["extra"]) for found in table.to_pyarrow_table().to_pylist())
    assert rows == [(1, "q", None), (3, "v3", None), (4, "d", 1.5)]
    assert table.protocol().min_reader_version == 1
    assert [entry["operation"] for entry in table.history()][:3] == ["WRITE", "MERGE", "UPDATE"]


@pytest.mark.feature("SQL", "Tables of many versions")
def test_a_long_history_is_read_from_its_checkpoint(client: Client) -> None:
    client.execute("CREATE TABLE long (id INT)")
    for number in range(104):
        client.execute(f"INSERT INTO long VALUES ({number})")
    assert list((place(client, "long") / "_delta_log").glob("*100.checkpoint.parquet"))
    client.execute("DELETE FROM long WHERE id % 2 = 0")
    assert client.rows("SELECT count(*), min(id), max(id) FROM long") == [(52, 1, 103)]
    client.execute("RESTORE TABLE long TO VERSION AS OF 50")
    assert client.value("SELECT count(*) FROM long") == 50
