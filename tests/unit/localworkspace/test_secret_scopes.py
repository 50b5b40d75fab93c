"""Secret scopes of the local workspace: who may do what, limits, and the file."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from dqctl.localworkspace import secret_scopes
from dqctl.localworkspace.secret_scopes import SecretError, SecretScopes
from dqctl.localworkspace.tokens import Identity

OWNER, ANNE, BOB = (Identity(f"{name}@example.com") for name in ("owner", "anne", "bob"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


@pytest.fixture
def scopes(file: Path) -> SecretScopes:
    made = SecretScopes(file, OWNER.user_name, now=lambda: 12.5)
    made.create_scope(ANNE, "annes")
    return made


def refused(code: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(SecretError) as error:
        call(*arguments)
    assert error.value.code == code
    return error.value.message


def test_what_is_put_is_there_after_a_restart_and_private(scopes: SecretScopes, file: Path) -> None:
    scopes.put(ANNE, "annes", "k", b"\x00secret")
    again = SecretScopes(file, OWNER.user_name)
    assert base64.b64decode(again.get(ANNE, "annes", "k")) == b"\x00secret"
    assert again.secrets(ANNE, "annes") == [{"key": "k", "last_updated_timestamp": 12500}]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_permission_allows_what_it_says_and_no_more(scopes: SecretScopes) -> None:
    scopes.put(ANNE, "annes", "k", b"v")
    assert "bob@example.com does not have READ" in refused("PERMISSION_DENIED", scopes.get, BOB, "annes", "k")
    scopes.put_acl(ANNE, "annes", BOB.user_name, "READ")
    assert scopes.get(BOB, "annes", "k")
    refused("PERMISSION_DENIED", scopes.put, BOB, "annes", "k", b"w")
    scopes.put_acl(ANNE, "annes", BOB.user_name, "WRITE")
    scopes.put(BOB, "annes", "k", b"w")
    refused("PERMISSION_DENIED", scopes.delete_scope, BOB, "annes")
    assert scopes.acls(ANNE, "annes") == [
        {"principal": "anne@example.com", "permission": "MANAGE"},
        {"principal": "bob@example.com", "permission": "WRITE"},
    ]
    scopes.delete_acl(ANNE, "annes", BOB.user_name)
    refused("PERMISSION_DENIED", scopes.secrets, BOB, "annes")
    refused("RESOURCE_DOES_NOT_EXIST", scopes.delete_acl, ANNE, "annes", BOB.user_name)


def test_the_administrator_manages_all_and_everybody_what_is_for_users(scopes: SecretScopes) -> None:
    scopes.put(OWNER, "annes", "k", b"v")
    scopes.create_scope(ANNE, "open", "users")
    scopes.put(BOB, "open", "k", b"v")
    scopes.delete_scope(BOB, "open")
    assert scopes.scopes() == [{"name": "annes", "backend_type": "DATABRICKS"}]


def test_what_is_not_there_is_told_as_databricks_does(scopes: SecretScopes) -> None:
    assert refused("RESOURCE_DOES_NOT_EXIST", scopes.get, ANNE, "no", "k") == "Scope no does not exist!"
    assert "scope: annes and key: k" in refused("RESOURCE_DOES_NOT_EXIST", scopes.get, ANNE, "annes", "k")
    refused("RESOURCE_DOES_NOT_EXIST", scopes.delete, ANNE, "annes", "k")
    assert refused("RESOURCE_ALREADY_EXISTS", scopes.create_scope, BOB, "annes") == "Scope annes already exists!"


@pytest.mark.parametrize("name", ["", "a b", "ä/b", "x" * 129])
def test_odd_names_are_refused(scopes: SecretScopes, name: str) -> None:
    refused("INVALID_PARAMETER_VALUE", scopes.create_scope, ANNE, name)
    refused("INVALID_PARAMETER_VALUE", scopes.put, ANNE, "annes", name, b"v")


def test_the_limits_hold(scopes: SecretScopes, monkeypatch: pytest.MonkeyPatch) -> None:
    scopes.put(ANNE, "annes", "k", b"x" * 128 * 1024)
    refused("RESOURCE_LIMIT_EXCEEDED", scopes.put, ANNE, "annes", "k", b"x" * (128 * 1024 + 1))
    monkeypatch.setattr(secret_scopes, "MOST_SECRETS", 1)
    monkeypatch.setattr(secret_scopes, "MOST_SCOPES", 1)
    scopes.put(ANNE, "annes", "k", b"again")
    refused("RESOURCE_LIMIT_EXCEEDED", scopes.put, ANNE, "annes", "another", b"v")
    refused("RESOURCE_LIMIT_EXCEEDED", scopes.create_scope, ANNE, "another")


def test_what_was_refused_changed_nothing(scopes: SecretScopes, file: Path) -> None:
    before = json.loads(file.read_text())
    refused("PERMISSION_DENIED", scopes.put, BOB, "annes", "k", b"v")
    refused("INVALID_PARAMETER_VALUE", scopes.put_acl, ANNE, "annes", "bob", "ADMIN")
    refused("INVALID_PARAMETER_VALUE", scopes.create_scope, ANNE, "new", "admins")
    assert json.loads(file.read_text()) == before
