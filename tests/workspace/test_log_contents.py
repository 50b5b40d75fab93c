"""What the Delta log has to hold: properties and CHECK constraints, for other programs, RESTORE and CLONE."""

import json
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client


def delta_table(client: Client, name: str = "t") -> DeltaTable:
    return DeltaTable(client.execute(f"DESCRIBE DETAIL {name}").table.column("location")[0].as_py())


def operations(client: Client, name: str = "t") -> list[str]:
    return [str(each) for each in client.execute(f"DESCRIBE HISTORY {name}").table.column("operation").to_pylist()]


def properties(client: Client, name: str = "t") -> dict[str, str]:
    return dict(client.rows(f"SHOW TBLPROPERTIES {name}"))


@pytest.mark.feature("SQL", "Table properties and CHECK constraints are in the Delta log, each change a version")
def test_each_change_is_a_version_that_other_programs_read(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, CONSTRAINT Low CHECK (id < 100)) TBLPROPERTIES ('team' = 'sales')")
    assert delta_table(client).metadata().configuration == {"team": "sales", "delta.constraints.low": "id < 100"}
    assert delta_table(client).protocol().min_writer_version == 3
    client.execute(
        "ALTER TABLE t SET TBLPROPERTIES ('team' = 'finance', 'delta.logRetentionDuration' = '60 days')"
    )
    client.execute("ALTER TABLE t ADD CONSTRAINT `high` CHECK (id > 0)")
    client.execute("ALTER TABLE t DROP CONSTRAINT LOW")
    client.execute("ALTER TABLE t UNSET TBLPROPERTIES ('team')")
    wanted = {"delta.logRetentionDuration": "60 days", "delta.constraints.high": "id > 0"}
    assert delta_table(client).metadata().configuration == wanted
    assert properties(client) == wanted
    assert operations(client) == [
        "UNSET TBLPROPERTIES", "DROP CONSTRAINT", "ADD CONSTRAINT", "SET TBLPROPERTIES", "CREATE TABLE",
    ]  # fmt: skip
    detail = client.execute("DESCRIBE DETAIL t").table
    assert detail.column("properties").to_pylist() == [[("delta.logRetentionDuration", "60 days")]]
    assert detail.column("minWriterVersion").to_pylist() == [3]


@pytest.mark.feature("SQL", "Other writers of Delta keep to CHECK constraints, and theirs hold here")
def test_another_writer_and_the_workspace_keep_to_each_others_constraints(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT)")
    client.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (id < 100)")
    other = delta_table(client)
    with pytest.raises(DeltaError, match="failed validation"):
        write_deltalake(other, pa.table({"id": pa.array([100], pa.int32())}), mode="append")
    write_deltalake(other, pa.table({"id": pa.array([7], pa.int32())}), mode="append")
    other.alter.add_constraint({"high": "id > 0"})
    other.alter.set_table_properties({"delta.appendOnly": "true"})
    assert client.error("INSERT INTO t VALUES (0)").error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    client.execute("INSERT INTO t VALUES (8)")
    assert client.rows("SELECT id FROM t ORDER BY id") == [(7,), (8,)]
    held = "SELECT constraint_name, check_clause FROM information_schema.check_constraints ORDER BY 1"
    schema = client.value("SELECT current_schema()")
    assert client.rows(held.replace("ORDER", f"WHERE constraint_schema = '{schema}' ORDER")) == [
        ("high", "id > 0"), ("low", "id < 100"),
    ]  # fmt: skip


@pytest.mark.feature("SQL", "delta.appendOnly")
def test_a_table_of_appends_alone(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT) TBLPROPERTIES ('delta.appendOnly' = 'true')")
    client.execute("INSERT INTO t VALUES (1)")
    client.execute("INSERT INTO t VALUES (2)")
    for statement in (
        "DELETE FROM t", "DELETE FROM t WHERE id = 1", "UPDATE t SET id = 3", "TRUNCATE TABLE t",
        "INSERT OVERWRITE t VALUES (4)",
        "MERGE INTO t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ):  # fmt: skip
        error = client.error(statement)
        assert (error.error_class, error.sqlstate) == ("DELTA_CANNOT_MODIFY_APPEND_ONLY", "42809")
    client.execute("OPTIMIZE t")
    client.execute("MERGE INTO t USING (SELECT 9 AS id) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT *")
    assert client.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (9,)]


@pytest.mark.feature("SQL", "RESTORE and CLONE bring back the properties and CHECK constraints of their version")
def test_restore_and_clone_have_those_of_their_version(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT) TBLPROPERTIES ('team' = 'sales')")
    client.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (id < 100)")
    client.execute("ALTER TABLE t SET TBLPROPERTIES ('team' = 'finance')")
    client.execute("ALTER TABLE t DROP CONSTRAINT low")
    client.execute("INSERT INTO t VALUES (500)")
    client.execute("CREATE TABLE c SHALLOW CLONE t VERSION AS OF 1 TBLPROPERTIES ('copy' = 'yes')")
    assert properties(client, "c") == {"team": "sales", "copy": "yes", "delta.constraints.low": "id < 100"}
    assert client.error("INSERT INTO c VALUES (500)").error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    client.execute("RESTORE TABLE t TO VERSION AS OF 2")
    assert properties(client) == {"team": "finance", "delta.constraints.low": "id < 100"}
    assert client.error("INSERT INTO t VALUES (500)").error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    client.execute("CREATE OR REPLACE TABLE t (id INT)")
    assert properties(client) == {}
    client.execute("INSERT INTO t VALUES (500)")


@pytest.mark.feature("SQL", "Properties that promise what is not done are kept from other readers")
def test_what_the_files_do_not_keep_is_no_part_of_the_log(client: Client) -> None:
    """A reader would look for names that columns are mapped to, or refuse the table."""
    promises = {
        "delta.columnMapping.mode": "name",
        "delta.enableDeletionVectors": "true",
        "delta.feature.x": "supported",
    }
    text = ", ".join(f"'{key}' = '{value}'" for key, value in promises.items())
    client.execute(f"CREATE TABLE t (id INT, n INT) TBLPROPERTIES ({text}, 'mine' = '1')")
    client.execute("ALTER TABLE t SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
    assert delta_table(client).metadata().configuration == {"mine": "1"}
    assert properties(client) == {**promises, "mine": "1", "delta.enableTypeWidening": "true"}
    client.execute("ALTER TABLE t UNSET TBLPROPERTIES ('delta.columnMapping.mode', 'mine')")
    assert client.error("ALTER TABLE t DROP COLUMN n").error_class == "DELTA_UNSUPPORTED_DROP_COLUMN"
    assert delta_table(client).metadata().configuration == {}


def test_no_constraint_comes_or_goes_as_a_property(client: Client) -> None:
    property_of = "TBLPROPERTIES ('delta.constraints.low' = 'id < 1')"
    assert client.error(f"CREATE TABLE t (id INT) {property_of}").error_class == "INVALID_PARAMETER_VALUE"
    client.execute("CREATE TABLE t (id INT, CONSTRAINT low CHECK (id < 100))")
    assert client.error(f"ALTER TABLE t SET {property_of}").error_class == "INVALID_PARAMETER_VALUE"
    unset = "ALTER TABLE t UNSET TBLPROPERTIES ('delta.constraints.low')"
    assert client.error(unset).error_class == "INVALID_PARAMETER_VALUE"


def old_directory(place: Path) -> Path:
    """A data directory of the version before properties were in the log, which dropped a table just now."""
    with zipfile.ZipFile(Path(__file__).with_name("data_directory_0_1.zip")) as found:
        found.extractall(place)
    saved: dict[str, Any] = json.loads((place / "catalog.json").read_text())
    saved["dropped"][0]["at"] = time.time()
    (place / "catalog.json").write_text(json.dumps(saved))
    return place


@pytest.mark.feature("SQL", "Data directories of earlier versions")
def test_what_an_older_catalog_kept_is_moved_into_the_logs(tmp_path: Path) -> None:
    place = old_directory(tmp_path / "data")
    shutil.copy(place / "catalog.json", tmp_path / "before.json")
    for attempt in range(3):
        lakehouse = open_lakehouse(place)
        client = Client(lakehouse.open_session(None, None, {}))
        assert properties(client, "orders") == {
            "team": "sales",
            "delta.columnMapping.mode": "name",
            "delta.deletedFileRetentionDuration": "interval 30 days",
            "delta.constraints.positive": "amount > 0",
            "delta.constraints.few": "id < 100",
        }
        assert delta_table(client, "orders").metadata().configuration == {
            key: value for key, value in properties(client, "orders").items() if "columnMapping" not in key
        }
        assert properties(client, "cloned") == properties(client, "orders")
        assert properties(client, "sold") == {"of": "a view"}
        assert properties(client, "plain") == {}
        assert operations(client, "plain") == ["WRITE"]
        assert operations(client, "orders") == ["SET TBLPROPERTIES", "WRITE", "WRITE"]
        broken = client.error("INSERT INTO orders VALUES (2, -1)")
        assert broken.error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
        assert client.rows("SELECT id, amount > 2 AS much FROM orders") == [(1, True)]
        named = "SELECT constraint_name FROM information_schema.table_constraints WHERE table_name = 'orders'"
        assert client.rows(f"{named} ORDER BY 1") == [("few",), ("pk",), ("positive",)]
        client.session.close()
        lakehouse.close()
        if attempt == 1:
            # As if the second opening had been killed between the log and the catalog.
            shutil.copy(tmp_path / "before.json", place / "catalog.json")
    lakehouse = open_lakehouse(place)
    client = Client(lakehouse.open_session(None, None, {}))
    client.execute("UNDROP TABLE dropped")
    assert properties(client, "dropped") == {"kept": "yes", "delta.constraints.small": "id < 10"}
    assert client.error("INSERT INTO dropped VALUES (10)").error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    client.session.close()
    lakehouse.close()


def test_a_table_whose_log_is_gone_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    place = old_directory(tmp_path / "data")
    (log,) = place.glob("tables/main/default/orders-*/_delta_log")
    shutil.rmtree(log)
    lakehouse = open_lakehouse(place)
    client = Client(lakehouse.open_session(None, None, {}))
    assert properties(client, "cloned")["delta.constraints.few"] == "id < 100"
    client.session.close()
    lakehouse.close()
    assert "Positive" in (place / "catalog.json").read_text()
