from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dqctl.databricks.target import PersonalToken, ServicePrincipal, resolve_target
from dqctl.errors import MissingSetting, UsageError
from dqctl.settings import Settings

HOST = {"databricks_host": "adb-1.azuredatabricks.net", "databricks_warehouse_id": "abc123"}
TOKEN = {"databricks_token": SecretStr("dapi-secret")}


def settings(tmp_path: Path, **values: Any) -> Settings:
    return Settings(home=tmp_path, **values)


@dataclass(frozen=True)
class Running:
    token_file: Path
    ca_file: Path = Path("/data/ca.pem")
    data_dir: Path = Path("/data")
    address: str = "127.0.0.1"
    port: int = 8443
    http_path: str = "/sql/1.0/warehouses/local"


def test_warehouse_by_id_with_a_token(tmp_path: Path) -> None:
    target = resolve_target(settings(tmp_path, **HOST, **TOKEN, catalog="c", schema_name="s"))
    assert (target.host, target.port) == ("adb-1.azuredatabricks.net", 443)
    assert target.http_path == "/sql/1.0/warehouses/abc123"
    assert target.auth == PersonalToken(SecretStr("dapi-secret"))
    assert target.name == "adb-1.azuredatabricks.net/c.s"
    assert target.ca_file is None
    assert not target.direct


def test_http_path_wins_over_the_warehouse_id(tmp_path: Path) -> None:
    target = resolve_target(settings(tmp_path, **HOST, **TOKEN, http_path="/sql/protocolv1/o/1/2"))
    assert target.http_path == "/sql/protocolv1/o/1/2"


def test_service_principal(tmp_path: Path) -> None:
    values = {"databricks_client_id": "id", "databricks_client_secret": SecretStr("s3cret")}
    assert resolve_target(settings(tmp_path, **HOST, **values)).auth == ServicePrincipal("id", SecretStr("s3cret"))


@pytest.mark.parametrize(
    "extra", [{"databricks_client_id": "id"}, {"databricks_client_secret": SecretStr("s3cret")}]
)
def test_token_and_service_principal_at_once_are_refused(tmp_path: Path, extra: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="both set") as caught:
        resolve_target(settings(tmp_path, **HOST, **TOKEN, **extra))
    assert "DATABRICKS_TOKEN" in caught.value.hint


@pytest.mark.parametrize("token", ["", "  "])
def test_empty_token_is_no_token(tmp_path: Path, token: str) -> None:
    with pytest.raises(MissingSetting, match="databricks token or databricks client id"):
        resolve_target(settings(tmp_path, **HOST, databricks_token=SecretStr(token)))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, ["DATABRICKS_HOST", "DQCTL_WORKSPACE"]),
        ({"databricks_host": "h"}, ["DATABRICKS_WAREHOUSE_ID", "DQCTL_HTTP_PATH"]),
        (HOST, ["DATABRICKS_TOKEN", "DATABRICKS_TOKEN_FILE", "DATABRICKS_CLIENT_ID"]),
        ({**HOST, "databricks_client_id": "id"}, ["DATABRICKS_CLIENT_SECRET", "DATABRICKS_CLIENT_SECRET_FILE"]),
        ({**HOST, "databricks_client_secret": SecretStr("s")}, ["DATABRICKS_CLIENT_ID"]),
    ],
)
def test_what_is_missing_is_named_with_its_places(
    tmp_path: Path, values: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(MissingSetting) as caught:
        resolve_target(settings(tmp_path, **values))
    for name in named:
        assert name in caught.value.hint


def test_local_workspace_is_reached_by_its_address_with_its_own_authority(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("dapi-local\n", encoding="utf-8")
    target = resolve_target(settings(tmp_path, **HOST, **TOKEN, workspace=Path("/data")), Running(token_file))
    assert (target.host, target.port, target.ca_file) == ("127.0.0.1", 8443, Path("/data/ca.pem"))
    assert target.auth == PersonalToken(SecretStr("dapi-local"))
    assert target.name == "/data/main.data_quality"
    assert target.direct


def test_local_workspace_without_a_token_is_refused(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is empty"):
        resolve_target(settings(tmp_path), Running(token_file))


def test_secrets_do_not_show_in_a_target(tmp_path: Path) -> None:
    assert "dapi-secret" not in repr(resolve_target(settings(tmp_path, **HOST, **TOKEN)))
