"""The real databricks-sqlalchemy, unchanged: tables, the ORM, reflection, pandas."""

import json
from pathlib import Path
from typing import Any

import pytest

from dqctl.localworkspace.endpoint import Endpoint
from workspaces import connector_python, foreign_environment, run_python

pytestmark = pytest.mark.local

PROBE = Path(__file__).parent / "sqlalchemy_probe.py"


@pytest.fixture(scope="module")
def found(endpoint: Endpoint) -> dict[str, Any]:
    python = connector_python("databricks-sqlalchemy==2.0.10,pyarrow")
    arguments = (endpoint.host, str(endpoint.token_file), "alchemy")
    output = run_python(python, PROBE, foreign_environment(endpoint), *arguments, timeout=250)
    said: dict[str, Any] = json.loads(output.splitlines()[-1])
    return said


@pytest.mark.feature("Clients", "databricks-sqlalchemy: create_all, the ORM, drop_all")
def test_objects_come_and_go(found: dict[str, Any]) -> None:
    assert found["row"] == [1, "10.25", "2024-02-29", "2024-02-29 12:30:00.000250", True]
    assert found["joined"] == [["Ada", 2], ["Zoë", 0]]
    assert found["left"] == 1
    assert found["dropped"] == ["extra", "frame"]
    assert found["error"] is True


@pytest.mark.feature("Clients", "databricks-sqlalchemy: reflection of tables, views, columns, comments and keys")
def test_what_there_is_can_be_asked_for(found: dict[str, Any]) -> None:
    assert found["tables"] == ["customers", "orders"]
    assert found["views"] == ["ones"]
    assert found["schemas"] is True
    assert found["has"] == [True, False]
    assert found["columns"] == {
        "id": ["BIGINT", False, None],
        "name": ["VARCHAR", False, "as they write it"],
        "limit": ["NUMERIC(12, 2)", False, None],
        "since": ["DATE", True, None],
        "seen": ["DATETIME", True, None],
        "active": ["BOOLEAN", True, None],
    }
    assert found["comment"] == "who buys"
    assert found["key"] == ["id"]
    assert found["foreign"] == [["customer"], "customers", ["id"]]
    assert list(found["autoload"]) == ["id", "customer", "placed"]


@pytest.mark.feature("Clients", "databricks-sqlalchemy: pandas' to_sql and read_sql, arrays")
def test_frames_and_arrays_come_back(found: dict[str, Any]) -> None:
    assert found["frame"] == [False, True]
    assert found["array"] == [["a", "b"]]
