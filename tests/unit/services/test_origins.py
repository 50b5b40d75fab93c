"""Where Databricks' credentials come from, by the rules that they are read by."""

from pathlib import Path

import pytest

from dqctl.services.origins import databricks_origins
from dqctl.settings import load

SECRET = "dapi-never-shown-4711"


def origins(home: Path, **environment: str) -> dict[str, str | None]:
    settings = load({"home": home}, environment)
    return {each.name: each.origin for each in databricks_origins(settings, environment)}


@pytest.fixture(autouse=True)
def _no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DQCTL_CONFIG", raising=False)


def test_nothing_is_set(tmp_path: Path) -> None:
    assert set(origins(tmp_path).values()) == {None}


def test_a_variable_goes_before_a_file_and_no_value_is_told(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    (tmp_path / "settings.toml").write_text('databricks_host = "a.example.com"\ndatabricks_warehouse_id = "w"\n')
    found = origins(tmp_path, DATABRICKS_HOST="b.example.com", DATABRICKS_TOKEN_FILE=str(token))
    assert found["databricks_host"] == "variable DATABRICKS_HOST"
    assert found["databricks_token"] == f"file {token}, named by variable DATABRICKS_TOKEN_FILE"
    assert found["databricks_warehouse_id"] == f"file {tmp_path / 'settings.toml'}"
    assert found["databricks_client_id"] is None
    found = origins(tmp_path, DATABRICKS_TOKEN=SECRET, DATABRICKS_TOKEN_FILE=str(token))
    assert found["databricks_token"] == "variable DATABRICKS_TOKEN"
    assert SECRET not in str(found)


def test_a_local_workspace_brings_its_own_token_and_takes_the_hosts_place(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('databricks_host = "a.example.com"\n')
    found = origins(tmp_path, DQCTL_WORKSPACE=str(tmp_path / "ws"))
    assert found["workspace"] == "variable DQCTL_WORKSPACE"
    assert found["databricks_host"] is None
    assert found["databricks_token"] == f"file {tmp_path / 'ws/server/token'}, the local workspace's own"


def test_a_profile_says_where_and_as_whom(tmp_path: Path) -> None:
    file = tmp_path / "cfg"
    file.write_text(f"[night]\nhost = ws.example.com\ntoken = {SECRET}\nwarehouse_id = w\n")
    environment = {"DATABRICKS_CONFIG_FILE": str(file), "DATABRICKS_CONFIG_PROFILE": "night"}
    found = origins(tmp_path, **environment)
    assert found["databricks_config_profile"] == "variable DATABRICKS_CONFIG_PROFILE"
    named = f"profile night in {file}"
    assert (found["databricks_host"], found["databricks_token"], found["databricks_warehouse_id"]) == (named,) * 3
    found = origins(tmp_path, **environment, DQCTL_WAREHOUSE="Nightly", DATABRICKS_HOST="ws.example.com")
    assert found["databricks_host"] == "variable DATABRICKS_HOST"
    assert found["databricks_warehouse_id"] is None
    assert found["warehouse_name"] == "variable DQCTL_WAREHOUSE"
    assert SECRET not in str(found)
    assert origins(tmp_path, **environment | {"DATABRICKS_CONFIG_PROFILE": "gone"})["databricks_token"] is None


def test_a_way_that_only_variables_speak_of_is_told(tmp_path: Path) -> None:
    entra = {"ARM_CLIENT_ID": "a", "ARM_CLIENT_SECRET": SECRET}
    found = origins(tmp_path, **entra)
    assert found["databricks_auth_type"] == "azure-client-secret, by ARM_CLIENT_ID, ARM_CLIENT_SECRET"
    assert origins(tmp_path, **entra, DATABRICKS_TOKEN=SECRET)["databricks_auth_type"] is None
