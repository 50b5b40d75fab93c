"""Secret scopes: named secrets with access lists, in one file that only its owner reads."""

import base64
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dqctl.localworkspace.tokens import Identity

# Databricks' limits (docs.databricks.com/security/secrets).
MOST_SCOPES = 1000
MOST_SECRETS = 1000
MOST_BYTES = 128 * 1024
_NAME = re.compile(r"[\w.@-]{1,128}")
_RANKS = {"READ": 1, "WRITE": 2, "MANAGE": 3}
_EVERYBODY = "users"


class SecretError(Exception):
    """Why a request for secrets fails, in Databricks' words; ``code`` is its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class SecretScopes:
    """All scopes of the workspace; safe to use from many threads.

    Who makes a scope may manage it; the workspace's owner, an administrator, may manage all. Every method raises
    ``SecretError``.
    """

    def __init__(self, file: Path, administrator: str, now: Callable[[], float] = time.time) -> None:
        self._file = file
        self._administrator = administrator
        self._now = now
        self._lock = threading.RLock()
        self._scopes: dict[str, Any] = _read(file)

    def create_scope(self, who: Identity, scope: str, managed_by: str = "") -> None:
        """Make a scope; ``managed_by`` "users" lets everybody manage it."""
        _check(scope, "Scope name")
        if managed_by not in ("", _EVERYBODY):
            raise SecretError("INVALID_PARAMETER_VALUE", f"initial_manage_principal is {_EVERYBODY} or nothing")
        with self._lock:
            if scope in self._scopes:
                raise SecretError("RESOURCE_ALREADY_EXISTS", f"Scope {scope} already exists!")
            if len(self._scopes) >= MOST_SCOPES:
                raise SecretError("RESOURCE_LIMIT_EXCEEDED", f"a workspace has at most {MOST_SCOPES} scopes")
            self._scopes[scope] = {"acls": {managed_by or who.user_name: "MANAGE"}, "secrets": {}}
            self._write()

    def delete_scope(self, who: Identity, scope: str) -> None:
        """Remove a scope with all that is in it."""
        with self._lock:
            self._scope(who, scope, "MANAGE")
            del self._scopes[scope]
            self._write()

    def scopes(self) -> list[dict[str, Any]]:
        """All scopes; their names are no secret."""
        with self._lock:
            return [{"name": name, "backend_type": "DATABRICKS"} for name in sorted(self._scopes)]

    def put(self, who: Identity, scope: str, key: str, value: bytes) -> None:
        """Set a secret."""
        _check(key, "Secret key")
        if len(value) > MOST_BYTES:
            raise SecretError("RESOURCE_LIMIT_EXCEEDED", f"a secret has at most {MOST_BYTES} bytes")
        with self._lock:
            found = self._scope(who, scope, "WRITE")["secrets"]
            if key not in found and len(found) >= MOST_SECRETS:
                raise SecretError("RESOURCE_LIMIT_EXCEEDED", f"a scope has at most {MOST_SECRETS} secrets")
            changed = int(self._now() * 1000)
            found[key] = {"value": base64.b64encode(value).decode(), "changed": changed}
            self._write()

    def get(self, who: Identity, scope: str, key: str) -> str:
        """A secret, in base64."""
        with self._lock:
            return str(self._secret(who, scope, key, "READ")["value"])

    def delete(self, who: Identity, scope: str, key: str) -> None:
        """Remove a secret."""
        with self._lock:
            self._secret(who, scope, key, "WRITE")
            del self._scopes[scope]["secrets"][key]
            self._write()

    def secrets(self, who: Identity, scope: str) -> list[dict[str, Any]]:
        """What is in a scope, without values."""
        with self._lock:
            found = self._scope(who, scope, "READ")["secrets"]
            return [{"key": key, "last_updated_timestamp": found[key]["changed"]} for key in sorted(found)]

    def put_acl(self, who: Identity, scope: str, principal: str, permission: str) -> None:
        """Permit something to somebody."""
        if permission not in _RANKS:
            raise SecretError("INVALID_PARAMETER_VALUE", f"permission is one of {', '.join(_RANKS)}")
        with self._lock:
            self._scope(who, scope, "MANAGE")["acls"][principal] = permission
            self._write()

    def delete_acl(self, who: Identity, scope: str, principal: str) -> None:
        """Take back what is permitted to somebody."""
        with self._lock:
            if self._scope(who, scope, "MANAGE")["acls"].pop(principal, None) is None:
                raise SecretError(
                    "RESOURCE_DOES_NOT_EXIST",
                    f"Failed to get secret acl for principal {principal} for scope {scope}.",
                )
            self._write()

    def acls(self, who: Identity, scope: str) -> list[dict[str, Any]]:
        """Who may do what."""
        with self._lock:
            found = self._scope(who, scope, "MANAGE")["acls"]
            return [{"principal": name, "permission": found[name]} for name in sorted(found)]

    def _scope(self, who: Identity, scope: str, permission: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self._scopes.get(scope)
        if found is None:
            raise SecretError("RESOURCE_DOES_NOT_EXIST", f"Scope {scope} does not exist!")
        acls: Mapping[str, str] = found["acls"]
        ranks = [_RANKS[acls[name]] for name in (who.user_name, _EVERYBODY) if name in acls]
        if who.user_name != self._administrator and max(ranks, default=0) < _RANKS[permission]:
            raise SecretError(
                "PERMISSION_DENIED",
                f"User {who.user_name} does not have {permission} permission on scope {scope}.",
            )
        return found

    def _secret(self, who: Identity, scope: str, key: str, permission: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self._scope(who, scope, permission)["secrets"].get(key)
        if found is None:
            raise SecretError(
                "RESOURCE_DOES_NOT_EXIST", f"Secret does not exist with scope: {scope} and key: {key}"
            )
        return found

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._scopes, file)
        new.replace(self._file)


def _check(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise SecretError(
            "INVALID_PARAMETER_VALUE",
            f"{what} consists of letters, digits, dashes, underscores, @ and periods, at most 128 of them",
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found
