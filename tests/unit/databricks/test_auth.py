"""As whom dqctl signs in: exactly one way, or an error that names every place."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dqctl.databricks.auth import FAMILIES, PersonalToken, SdkAuth, ServicePrincipal, families_in
from dqctl.databricks.target import Target, resolve_target
from dqctl.errors import MissingSetting, UsageError
from dqctl.settings import load

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
WHERE = {"DATABRICKS_HOST": "ws.example.com", "DATABRICKS_WAREHOUSE_ID": "w"}
PAT = {"DATABRICKS_TOKEN": "dapi-0123456789"}
M2M = {"DATABRICKS_CLIENT_ID": "me", "DATABRICKS_CLIENT_SECRET": "dose-0123456789"}
TOKEN = PersonalToken(SecretStr("dapi-0123456789"))
PRINCIPAL = ServicePrincipal("me", SecretStr("dose-0123456789"))
ENTRA = {"ARM_CLIENT_ID": "a", "ARM_CLIENT_SECRET": "b", "ARM_TENANT_ID": "c"}
Resolve = Callable[..., Target]

PROFILES = """\
[DEFAULT]
token = dapi-of-the-default-section

[pat]
host = https://ws.example.com/
token = dapi-100%-of-a-profile

[m2m]
host = ws.example.com
client_id = me
client_secret = dose-of-a-profile
warehouse_id = of-the-profile

[cli]
host = https://ws.example.com
auth_type = databricks-cli

[entra]
host = https://ws.example.com
azure_client_id = a
azure_client_secret = b

[both]
host = https://ws.example.com
token = dapi-x
client_id = me
client_secret = dose-x

[browser]
host = https://ws.example.com
auth_type = external-browser

[nobody]
host = https://ws.example.com
token =

[homeless]
token = dapi-x
"""


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    file = tmp_path / "databrickscfg"
    file.write_text(PROFILES)

    def run(*variables: dict[str, str], **more: str) -> Target:
        environment = {"DATABRICKS_CONFIG_FILE": str(file)}
        for each in (*variables, more):
            environment |= each
        return resolve_target(load({"home": tmp_path}, environment), environment=environment)

    return run


def profile(name: str) -> dict[str, str]:
    return {"DATABRICKS_CONFIG_PROFILE": name}


@pytest.mark.parametrize(
    ("variables", "auth"),
    [
        (WHERE | PAT, TOKEN),
        (WHERE | M2M, PRINCIPAL),
        (WHERE | PAT | M2M | {"DATABRICKS_AUTH_TYPE": "oauth-m2m"}, PRINCIPAL),
        (WHERE | PAT | M2M | {"DATABRICKS_AUTH_TYPE": "pat"}, TOKEN),
        (WHERE | ENTRA, SdkAuth("azure-client-secret")),
        (WHERE | PAT | ENTRA, TOKEN),
        (WHERE | PAT | {"DATABRICKS_AUTH_TYPE": "azure-cli"}, SdkAuth("azure-cli")),
        (WHERE | {"DATABRICKS_OIDC_TOKEN_ENV": "T", "DATABRICKS_CLIENT_ID": "me"}, SdkAuth("env-oidc")),
        (WHERE | profile("pat"), PersonalToken(SecretStr("dapi-100%-of-a-profile"))),
        (profile("m2m"), ServicePrincipal("me", SecretStr("dose-of-a-profile"))),
        (WHERE | profile("cli"), SdkAuth("databricks-cli", "cli")),
        (WHERE | profile("cli") | PAT, SdkAuth("databricks-cli", "cli")),
        (
            WHERE | profile("cli") | PAT | {"DATABRICKS_AUTH_TYPE": "pat"},
            TOKEN,
        ),
        (WHERE | profile("entra"), SdkAuth("azure-client-secret", "entra")),
        (WHERE | profile("both") | {"DATABRICKS_AUTH_TYPE": "pat"}, PersonalToken(SecretStr("dapi-x"))),
        (WHERE | profile("nobody") | PAT, TOKEN),
        (WHERE | profile("nobody") | ENTRA, SdkAuth("azure-client-secret", "nobody")),
    ],
)
def test_exactly_one_way_is_chosen(resolve: Resolve, variables: dict[str, str], auth: Any) -> None:
    assert resolve(variables).auth == auth


@pytest.mark.parametrize(
    ("variables", "message", "hint"),
    [
        (WHERE | PAT | M2M, "both set", "DATABRICKS_AUTH_TYPE"),
        (WHERE | profile("pat") | PAT, "profile pat in .* has credentials", "DATABRICKS_AUTH_TYPE"),
        (WHERE | profile("m2m") | PAT, "profile m2m in .* has credentials", "unset DATABRICKS_TOKEN"),
        (WHERE | profile("both"), "credentials of pat and oauth-m2m", "auth_type"),
        (WHERE | profile("browser"), "opens a browser", "databricks-cli"),
        (WHERE | {"DATABRICKS_AUTH_TYPE": "external-browser"} | PAT, "opens a browser", "service principal"),
        (WHERE | {"DATABRICKS_AUTH_TYPE": "kerberos"}, "'kerberos' is none", "oauth-m2m"),
        (WHERE | profile("nobody"), "nothing about how to sign in", "auth_type"),
        (WHERE | profile("nowhere"), "no profile nowhere", "it has: .*pat, m2m"),
        (profile("homeless") | {"DATABRICKS_WAREHOUSE_ID": "w"}, "has no host", "DATABRICKS_HOST"),
    ],
)
def test_what_is_not_clear_is_refused(
    resolve: Resolve, variables: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        resolve(variables)
    assert not isinstance(refused.value, MissingSetting)
    assert re.search(hint, refused.value.hint)
    assert "dapi" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        (WHERE, ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CONFIG_PROFILE")),
        (WHERE | {"DATABRICKS_TOKEN": " "}, ("DATABRICKS_TOKEN_FILE",)),
        (WHERE | M2M | {"DATABRICKS_AUTH_TYPE": "pat"}, ("DATABRICKS_TOKEN",)),
        (WHERE | PAT | {"DATABRICKS_AUTH_TYPE": "oauth-m2m"}, ("DATABRICKS_CLIENT_ID",)),
        (WHERE | {"ARM_CLIENT_ID": "a"}, ("DATABRICKS_TOKEN",)),
        ({}, ("DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE", "DQCTL_WORKSPACE")),
        ({"DATABRICKS_HOST": "h"}, ("DATABRICKS_WAREHOUSE_ID", "DQCTL_WAREHOUSE", "DQCTL_HTTP_PATH")),
    ],
)
def test_what_is_missing_names_every_place(
    resolve: Resolve, variables: dict[str, str], names: tuple[str, ...]
) -> None:
    with pytest.raises(MissingSetting) as missing:
        resolve(variables)
    assert all(f"variable {name}" in missing.value.hint or name in missing.value.hint for name in names)


def test_credentials_of_a_profile_are_not_shown_to_another_host(resolve: Resolve) -> None:
    with pytest.raises(UsageError, match=r"is for ws\.example\.com, and the host is set to evil\.example\.com"):
        resolve(profile("pat"), DATABRICKS_HOST="evil.example.com", DATABRICKS_WAREHOUSE_ID="w")


def test_a_profile_brings_host_and_warehouse_and_others_go_before_them(resolve: Resolve) -> None:
    assert resolve(profile("m2m")).host == "ws.example.com"
    assert resolve(profile("m2m")).http_path == "/sql/1.0/warehouses/of-the-profile"
    assert resolve(profile("m2m"), DATABRICKS_WAREHOUSE_ID="w").http_path == "/sql/1.0/warehouses/w"
    named = resolve(profile("m2m"), DQCTL_WAREHOUSE="Nightly")
    assert (named.http_path, named.warehouse_name) == ("", "Nightly")


def test_no_profile_is_taken_that_nobody_named(resolve: Resolve) -> None:
    # The SDK would take DEFAULT: whose ever that is, it may be production's.
    with pytest.raises(MissingSetting):
        resolve()
    assert resolve(WHERE | profile("DEFAULT")).auth == PersonalToken(SecretStr("dapi-of-the-default-section"))


def test_a_file_of_profiles_that_is_broken_does_not_show_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "cfg"
    file.write_text("[a]\ntoken dapi-very-secret\n")
    environment = {"DATABRICKS_CONFIG_FILE": str(file), "DATABRICKS_CONFIG_PROFILE": "a"}
    with pytest.raises(UsageError, match="no file of profiles") as broken:
        resolve_target(load({"home": tmp_path}, environment), environment=environment)
    assert "dapi-very-secret" not in broken.value.message + broken.value.hint


def test_a_file_of_profiles_that_is_not_there_is_named(tmp_path: Path) -> None:
    environment = {"DATABRICKS_CONFIG_FILE": str(tmp_path / "cfg"), "DATABRICKS_CONFIG_PROFILE": "a"}
    with pytest.raises(UsageError, match=str(tmp_path / "cfg")):
        resolve_target(load({"home": tmp_path}, environment), environment=environment)


def test_every_way_of_the_sdk_is_known_here_or_left_out_for_a_reason() -> None:
    from databricks.sdk.credentials_provider import DefaultCredentials

    reasons = {
        "basic": "Databricks ended passwords",
        "external-browser": "nobody sits there",
        "runtime": "inside of Databricks only",
        "runtime-oauth": "inside of Databricks only",
        "model-serving": "inside of Databricks only",
    }
    ways = {provider.auth_type() for provider in DefaultCredentials()._auth_providers}
    assert ways == {family.auth_type for family in FAMILIES} | set(reasons)


def test_variables_of_the_table_are_those_of_the_sdk() -> None:
    from databricks.sdk.core import Config

    variables = {attribute.name: attribute.env for attribute in Config.attributes()}
    for family in FAMILIES:
        assert tuple(variables[key] for key in family.keys) == family.variables
    assert families_in(ENTRA) == ("azure-client-secret",)
    assert families_in(PAT | M2M) == ()


def test_the_table_in_the_documentation_is_the_one_in_the_code() -> None:
    section = OPERATIONS.read_text(encoding="utf-8").partition("### How dqctl signs in")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"
    ]
    assert rows == [
        [
            f"`{family.auth_type}`",
            family.what,
            ", ".join(f"`{name}`" for name in family.variables) or "`DATABRICKS_AUTH_TYPE`",
            family.testgen or "nothing",
        ]
        for family in FAMILIES
    ]
