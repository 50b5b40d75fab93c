"""What connections become in TestGen's table."""

import pytest
from pydantic import SecretStr

from dqctl.errors import UsageError
from dqctl.testgen.systems.document import parse
from dqctl.testgen.systems.flavors import PASSWORD, WorkspaceAccess
from dqctl.testgen.systems.references import Sources

TOKEN = SecretStr("dapi-of-the-stack")
ACCESS = WorkspaceAccess("ws.example.com", "/sql/1.0/warehouses/own", token=TOKEN)


def connection(**keys):
    lines = "".join(f"        {key}: {value}\n" for key, value in keys.items())
    text = f"version: 1\nsystems:\n  - name: s\n    connections:\n      - name: c\n{lines}"
    return parse(text, "f").systems[0].connections[0]


def sources(tmp_path, **environment):
    return Sources(environment=environment, base=tmp_path)


def test_databricks_is_the_default_and_uses_the_stacks_workspace(tmp_path):
    columns = connection(catalog="main").columns(sources(tmp_path), ACCESS)
    assert columns.plain["sql_flavor"] == columns.plain["sql_flavor_code"] == "databricks"
    assert columns.plain["project_host"] == "ws.example.com"
    assert columns.plain["http_path"] == "/sql/1.0/warehouses/own"
    assert columns.plain["project_db"] == "main"
    assert columns.plain["project_user"] == "token"
    assert columns.plain["connect_by_key"] is False
    assert columns.secret == {PASSWORD: TOKEN}


def test_a_service_principal_signs_in_by_key(tmp_path):
    access = WorkspaceAccess("h", "/p", client_id="me", client_secret=SecretStr("psst"))
    columns = connection(catalog="main").columns(sources(tmp_path), access)
    assert columns.plain["connect_by_key"] is True
    assert columns.plain["project_user"] == "me"
    assert columns.secret[PASSWORD].get_secret_value() == "psst"


def test_another_workspace_needs_nothing_of_the_stack(tmp_path):
    made = connection(
        catalog="main", host="https://other.example.com", warehouse="w1", credentials="{token: {env: TOKEN}}"
    )
    columns = made.columns(sources(tmp_path, TOKEN="other-token"), None)
    assert columns.plain["project_host"] == "other.example.com"
    assert columns.plain["http_path"] == "/sql/1.0/warehouses/w1"
    assert columns.secret[PASSWORD].get_secret_value() == "other-token"


def test_the_stacks_credentials_are_not_handed_to_another_host(tmp_path):
    made = connection(catalog="main", host="evil.example.com", warehouse="w1")
    with pytest.raises(UsageError, match="another host"):
        made.columns(sources(tmp_path), ACCESS)


def test_a_connection_to_no_workspace_says_what_to_set(tmp_path):
    with pytest.raises(UsageError, match="none is set") as raised:
        connection(catalog="main").columns(sources(tmp_path), None)
    assert "DATABRICKS_HOST" in raised.value.hint


def test_credentials_that_testgen_cannot_use_are_refused(tmp_path):
    with pytest.raises(UsageError, match="tokens and service principals"):
        connection(catalog="main").columns(sources(tmp_path), WorkspaceAccess("h", "/p"))


def test_a_secret_file_is_looked_for_beside_the_systems_file(tmp_path):
    (tmp_path / "token").write_text("from-file\n")
    made = connection(catalog="main", credentials="{token: {file: token}}")
    assert made.columns(sources(tmp_path), ACCESS).secret[PASSWORD].get_secret_value() == "from-file"


def test_a_variable_that_is_not_set_is_named(tmp_path):
    made = connection(catalog="main", credentials="{token: {env: NO_SUCH}}")
    with pytest.raises(UsageError, match="NO_SUCH, which is not set"):
        made.columns(sources(tmp_path), ACCESS)


def test_a_secret_outside_ascii_is_refused_before_testgen_stumbles(tmp_path):
    made = connection(
        flavor="postgresql", host="h", database="d", user="u", password="{env: PW}", schema="s", max_threads=8
    )
    with pytest.raises(UsageError, match="outside ASCII") as raised:
        made.columns(sources(tmp_path, PW="geh\u00f6rt"), None)
    assert "geh" not in raised.value.message


def test_a_port_is_text_in_testgens_table(tmp_path):
    made = connection(flavor="postgresql", host="h", port=5433, database="d", user="u", password="{env: PW}")
    columns = made.columns(sources(tmp_path, PW="x"), None)
    assert columns.plain["project_port"] == "5433"
    assert columns.plain["sql_flavor"] == "postgresql"
