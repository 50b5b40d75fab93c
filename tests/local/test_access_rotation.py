"""The stack's own credentials in TestGen's connections: they follow what dqctl signs in with, apply by apply."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl.errors import UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services import declare
from dqctl.services.apply import Applied, Change
from dqctl.settings import Settings, load

pytestmark = pytest.mark.local

SYSTEMS = """\
version: 1
systems:
  - name: lake
    connections:
      - name: own
        catalog: main
        schema: shop
        table_groups: [{name: lake-tables, suites: [{name: lake-suite}]}]
"""
WHERE = {"DATABRICKS_HOST": "ws.example.com", "DATABRICKS_WAREHOUSE_ID": "w"}


@pytest.fixture
def apply(installed_stack: Settings, tmp_path: Path) -> Callable[..., Applied]:
    file = tmp_path / "lake.yaml"
    file.write_text(SYSTEMS)

    def run(**environment: str) -> Applied:
        settings = load({"home": installed_stack.home}, WHERE | environment)
        return declare.apply_file(settings, file, environment={}, timeout=120, progress=silent)

    return run


def test_a_credential_that_is_exchanged_reaches_the_stored_connection_with_apply(
    installed_stack: Settings, apply: Callable[..., Applied], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> tuple[object, ...]:
        with open_runtime(installed_stack, silent).metadata() as connection:
            row = connection.execute(
                "SELECT project_host, http_path, project_user, connect_by_key, project_pw_encrypted"
                " FROM connections WHERE project_code = 'lake'"
            ).fetchone()
        assert row
        return tuple(row)

    token = tmp_path / "token"
    token.write_text("dapi-of-this-month\n")
    assert apply(DATABRICKS_TOKEN_FILE=str(token)).changed
    first = stored()
    assert first[:4] == ("ws.example.com", "/sql/1.0/warehouses/w", "token", False)
    assert b"dapi-of-this-month" not in bytes(first[4])  # type: ignore[call-overload]

    token.write_text("dapi-of-next-month\n")
    (update,) = apply(DATABRICKS_TOKEN_FILE=str(token)).plan.changes
    assert (update.change, update.name) == (Change.UPDATE, "own")
    assert [difference.column for difference in update.differences] == ["project_pw_encrypted"]
    assert "dapi" not in str(update)
    second = stored()
    assert second[:4] == first[:4]
    assert second[4] != first[4]
    assert not apply(DATABRICKS_TOKEN_FILE=str(token)).changed

    # A person's token is replaced by a service principal, out of a profile.
    profiles = tmp_path / "databrickscfg"
    profiles.write_text("[night]\nhost = https://ws.example.com\nclient_id = me\nclient_secret = dose-of-me\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(profiles))
    assert apply(DATABRICKS_CONFIG_PROFILE="night").changed
    third = stored()
    assert third[:4] == ("ws.example.com", "/sql/1.0/warehouses/w", "me", True)

    # What TestGen cannot be given changes nothing.
    with pytest.raises(UsageError, match=r"\(azure-cli\), and TestGen takes") as refused:
        apply(DATABRICKS_AUTH_TYPE="azure-cli")
    assert "OAuth secret" in refused.value.hint
    assert stored() == third
