"""What was dropped is kept for a while, and no longer; catalogs of earlier versions open."""

import json
import time
from pathlib import Path

import pytest

from dqctl.localworkspace import retention
from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client


def opened(data_dir: Path) -> tuple[Lakehouse, Client]:
    lakehouse = open_lakehouse(data_dir)
    return lakehouse, Client(lakehouse.open_session(None, None, {}))


def folders(data_dir: Path) -> list[str]:
    return sorted(folder.name.partition("-")[0] for folder in (data_dir / "tables" / "main" / "default").iterdir())


def test_a_dropped_table_outlives_a_restart_and_goes_after_seven_days(tmp_path: Path) -> None:
    lakehouse, client = opened(tmp_path)
    for name in ("old", "new"):
        client.execute(f"CREATE TABLE {name} AS SELECT '{name}' AS which")
        client.execute(f"DROP TABLE {name}")
    lakehouse.close()
    saved = json.loads((tmp_path / "catalog.json").read_text())
    saved["dropped"][0]["at"] = time.time() - retention.SECONDS - 1
    (tmp_path / "catalog.json").write_text(json.dumps(saved))
    lakehouse, client = opened(tmp_path)
    assert folders(tmp_path) == ["new"]
    assert client.error("UNDROP TABLE old").sqlstate == "42P01"
    client.execute("UNDROP TABLE new")
    assert client.value("SELECT which FROM new") == "new"
    lakehouse.close()


def test_of_many_dropped_tables_the_newest_are_kept(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST", 2)
    for name in ("a", "b", "c"):
        client.execute(f"CREATE TABLE {name} (x INT)")
        client.execute(f"DROP TABLE {name}")
    assert [row[2] for row in client.rows("SHOW TABLES DROPPED")] == ["c", "b"]
    assert folders(tmp_path / "data") == ["b", "c"]
    client.execute("CREATE TABLE d (x INT)")
    client.execute("DROP TABLE d PURGE")
    assert folders(tmp_path / "data") == ["b", "c"]


def test_a_catalog_of_an_earlier_version_opens(tmp_path: Path) -> None:
    name = {"catalog": "main", "schema": "default", "name": "v"}
    column = {"name": "a", "type": "int", "nullable": True, "comment": None}
    view = {
        "name": name, "kind": "VIEW", "location": None, "comment": "kept", "properties": {"k": "v"},
        "clustering": [], "query": "SELECT 1 AS a", "columns": [column], "created_at": 1.0, "altered_at": 2.0,
    }  # fmt: skip
    schema = {"comment": None, "created_at": 1.0, "tables": {"v": view}, "volumes": {}}
    state = {
        "version": 1,
        "catalogs": {"main": {"comment": None, "created_at": 1.0, "schemas": {"default": schema}}},
    }
    (tmp_path / "catalog.json").write_text(json.dumps(state))
    lakehouse, client = opened(tmp_path)
    assert client.rows("SELECT a FROM v") == [(1,)]
    client.execute("ALTER VIEW v SET TAGS ('x' = 'y')")
    lakehouse.close()
    lakehouse, client = opened(tmp_path)
    assert client.rows("SELECT tag_name, tag_value FROM information_schema.table_tags") == [("x", "y")]
    assert client.rows("SHOW TBLPROPERTIES v") == [("k", "v")]
    lakehouse.close()
