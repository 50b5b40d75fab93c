import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from dqctl.localworkspace.catalog import Catalog, Name, Schema, Table
from dqctl.localworkspace.contract import Lakehouse, Parameter, StatementError
from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client


def text(value: str) -> Parameter:
    return Parameter(None, "STRING", value)


def reopened(data_dir: Path) -> tuple[Lakehouse, Client]:
    lakehouse = open_lakehouse(data_dir)
    return lakehouse, Client(lakehouse.open_session(None, None, {}))


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    lakehouse, client = reopened(tmp_path)
    client.execute("CREATE CATALOG dev COMMENT 'for us'")
    client.execute("CREATE SCHEMA dev.s COMMENT 'a schema'")
    client.execute(
        "CREATE TABLE dev.s.t (a INT COMMENT 'one') COMMENT 'a table' CLUSTER BY (a) TBLPROPERTIES ('k'='v')"
    )
    client.execute("INSERT INTO dev.s.t VALUES (1), (2)")
    client.execute("CREATE VIEW dev.s.v AS SELECT sum(a) AS total FROM dev.s.t")
    client.execute("CREATE VOLUME dev.s.files")
    lakehouse.volume_file("/Volumes/dev/s/files/x.txt").write_text("kept")
    before = [
        client.rows(f"SELECT * FROM system.information_schema.{name}") for name in ("tables", "columns", "volumes")
    ]
    lakehouse.close()

    lakehouse, client = reopened(tmp_path)
    after = [
        client.rows(f"SELECT * FROM system.information_schema.{name}") for name in ("tables", "columns", "volumes")
    ]
    assert after == before
    assert client.value("SELECT total FROM dev.s.v") == 3
    assert lakehouse.volume_file("/Volumes/dev/s/files/x.txt").read_text() == "kept"
    assert ("k", "v") in client.rows("SHOW TBLPROPERTIES dev.s.t")
    lakehouse.close()


def test_any_delta_reader_opens_the_tables(tmp_path: Path) -> None:
    lakehouse, client = reopened(tmp_path)
    client.execute(
        "CREATE TABLE t (a INT NOT NULL COMMENT 'one', b DECIMAL(10,2), c TIMESTAMP_NTZ, d ARRAY<STRING>)"
    )
    client.execute("INSERT INTO t VALUES (1, 2.5, TIMESTAMP_NTZ'2020-01-01', array('x'))")
    (location,) = (tmp_path / "tables" / "main" / "default").iterdir()
    assert location.name.startswith("t-")
    table = DeltaTable(str(location))
    assert table.to_pyarrow_table().num_rows == 1
    assert table.schema().fields[0].metadata == {"comment": "one"}
    lakehouse.close()


def test_only_one_process_has_a_data_directory_open(tmp_path: Path) -> None:
    lakehouse = open_lakehouse(tmp_path)
    with pytest.raises(BlockingIOError):
        open_lakehouse(tmp_path)
    lakehouse.close()
    open_lakehouse(tmp_path).close()


def test_remains_of_a_crash_are_swept_away_and_nothing_else(tmp_path: Path) -> None:
    lakehouse, client = reopened(tmp_path)
    client.execute("CREATE TABLE kept (a INT)")
    lakehouse.close()
    half = tmp_path / "tables" / "main" / "default" / "half-123"
    (half / "_delta_log").mkdir(parents=True)
    (tmp_path / "catalog.new").write_text('{"version": 1, "cata')
    lakehouse, client = reopened(tmp_path)
    assert not half.exists()
    assert client.rows("SELECT * FROM kept") == []
    lakehouse.close()


@pytest.mark.parametrize("folder", ["with space", "ümlaut", "til~de"])
def test_a_data_directory_may_have_any_name(tmp_path: Path, folder: str) -> None:
    lakehouse, client = reopened(tmp_path / folder)
    client.execute("CREATE TABLE t AS SELECT 1 AS a")
    client.execute("UPDATE t SET a = 2")
    client.execute("CREATE VOLUME v")
    assert client.value("SELECT a FROM t") == 2
    lakehouse.close()
    lakehouse, client = reopened(tmp_path / folder)
    assert client.value("SELECT a FROM t") == 2
    lakehouse.close()


def test_a_percent_sign_in_the_path_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="percent sign"):
        open_lakehouse(tmp_path / "a%20b")


CRASHING = """
__file__ = "crashing"  # pyspark takes a main module without one for a doctest
import sys, itertools
from pathlib import Path
from dqctl.localworkspace.lakehouse import open_lakehouse
lakehouse = open_lakehouse(Path(sys.argv[1]))
session = lakehouse.open_session(None, None, {})
print("ready", flush=True)
for n in itertools.count():
    session.execute(f"CREATE OR REPLACE TABLE t{n % 3} AS SELECT {n} AS n, {n} AS same FROM range(1000)")
    session.execute(f"INSERT INTO t{n % 3} SELECT {n}, {n} FROM range(10)")
    session.execute(f"CREATE TABLE IF NOT EXISTS u{n} (a INT)")
    session.execute(f"DROP TABLE u{n}")
"""


def test_a_kill_at_any_moment_leaves_a_catalog_that_opens(tmp_path: Path) -> None:
    for delay in (0.05, 0.3, 0.7):
        process = subprocess.Popen(
            [sys.executable, "-c", CRASHING, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while not (tmp_path / "tables").exists():
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        lakehouse, client = reopened(tmp_path)
        for _, name, _ in client.rows("SHOW TABLES"):
            if name.startswith("t"):
                distinct, rows = client.rows(f"SELECT count(DISTINCT n), count(*) FROM {name}")[0]
                assert (distinct, rows) in ((1, 1000), (1, 1010))
        lakehouse.close()


def test_a_change_that_cannot_be_written_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(tmp_path, ["main"])
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        catalog.create_schema("main", "s", Schema())
    assert list(catalog.schemas("main")) == ["default"]
    monkeypatch.undo()
    assert list(Catalog(tmp_path, ["main"]).schemas("main")) == ["default"]


def test_names_are_found_in_any_case_and_kept_in_lower_case(client: Client) -> None:
    client.execute("CREATE SCHEMA Sales")
    client.execute("CREATE TABLE SALES.Orders (Id INT)")
    client.execute("INSERT INTO sales.ORDERS VALUES (1)")
    assert client.rows("SELECT ID FROM `main`.`SALES`.`orders`") == [(1,)]
    assert client.rows("SHOW TABLES IN sales") == [("sales", "orders", False)]
    assert client.rows("DESCRIBE sales.orders") == [("Id", "int", None)]


@pytest.mark.parametrize(
    "name", ["we`ird", "it's", 'a"b', "é😀", "select", "1st", "a-b", "a$b", "a;b", "--x", "%"]
)
def test_quoted_names_may_have_any_characters(client: Client, name: str) -> None:
    quoted = "`" + name.replace("`", "``") + "`"
    client.execute(f"CREATE SCHEMA {quoted}")
    client.execute(f"CREATE TABLE {quoted}.{quoted} ({quoted} INT)")
    client.execute(f"INSERT INTO {quoted}.{quoted} VALUES (1)")
    client.execute(f"CREATE VIEW {quoted}.v AS SELECT {quoted} FROM {quoted}.{quoted}")
    assert client.rows(f"SELECT {quoted}.{quoted}.{quoted} FROM {quoted}.{quoted}") == [(1,)]
    assert client.rows(f"SELECT {quoted} FROM main.{quoted}.v") == [(1,)]
    found = client.rows("SELECT column_name FROM information_schema.columns WHERE table_name = ?", text(name))
    assert found == [(name,)]
    client.execute(f"UPDATE {quoted}.{quoted} SET {quoted} = 2")
    client.execute(f"DROP SCHEMA {quoted} CASCADE")


@pytest.mark.parametrize("name", ["a.b", "a b", "a/b", "a\tb", "x" * 256])
def test_names_that_unity_catalog_refuses_are_refused(client: Client, name: str) -> None:
    assert client.error(f"CREATE SCHEMA `{name}`").error_class == "INVALID_PARAMETER_VALUE"
    assert client.error(f"CREATE TABLE `{name}` (a INT)").error_class == "INVALID_PARAMETER_VALUE"


def test_two_thousand_tables_do_not_slow_a_statement(tmp_path: Path) -> None:
    lakehouse, client = reopened(tmp_path)
    client.execute("CREATE TABLE t AS SELECT 1 AS a")
    lakehouse.close()
    saved = json.loads((tmp_path / "catalog.json").read_text())
    tables = saved["catalogs"]["main"]["schemas"]["default"]["tables"]
    for number in range(2000):
        tables[f"t{number}"] = {**tables["t"], "name": {**tables["t"]["name"], "name": f"t{number}"}}
    (tmp_path / "catalog.json").write_text(json.dumps(saved))
    lakehouse, client = reopened(tmp_path)
    client.execute("SELECT 1")
    seconds = []
    for _ in range(20):
        began = time.monotonic()
        client.execute("SELECT a FROM t1999")
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 0.25  # the quickest does not depend on the machine's load
    lakehouse.close()


def test_threads_that_change_the_catalog_lose_nothing(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, ["main"])

    def work(worker: int) -> None:
        for number in range(10):
            catalog.put(Table(Name("main", "default", f"t{worker}_{number}"), "VIEW", query="SELECT 1"))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Catalog(tmp_path, ["main"]).tables()) == 40


def test_a_volume_path_stays_in_its_volume(connect: Callable[..., Client], lakehouse: Lakehouse) -> None:
    connect().execute("CREATE VOLUME v")
    inside = lakehouse.volume_file("/Volumes/MAIN/default/v/a/b.txt")
    assert inside.parts[-2:] == ("a", "b.txt")
    for path in (
        "/Volumes/main/default/v/../x",
        "/etc/passwd",
        "/Volumes/main/default",
        "/Volumes/main/default/v/a/../../b",
    ):
        with pytest.raises(StatementError) as caught:
            lakehouse.volume_file(path)
        assert caught.value.error_class == "INVALID_PARAMETER_VALUE"
    with pytest.raises(StatementError, match="VOLUME_NOT_FOUND"):
        lakehouse.volume_file("/Volumes/main/default/other/x")
    (lakehouse.volume_file("/Volumes/main/default/v/a").parent / "out").symlink_to("/etc")
    with pytest.raises(StatementError, match="leads out"):
        lakehouse.volume_file("/Volumes/main/default/v/out/passwd")


def test_names_may_be_as_long_as_databricks_lets_them(tmp_path: Path) -> None:
    lakehouse, client = reopened(tmp_path)
    name = "n" * 255
    client.execute(f"CREATE SCHEMA {name}")
    client.execute(f"CREATE TABLE {name}.{name} AS SELECT 1 AS a")
    assert client.rows(f"SELECT * FROM {name}.{name}") == [(1,)]
    assert client.error(f"CREATE TABLE {name}.{name}n (a INT)").sqlstate == "22023"
    lakehouse.close()
