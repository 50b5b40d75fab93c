"""Databricks' secret scopes, as a place where a secret may be.

Databricks documents ``secrets/get`` for notebooks and jobs alone: from elsewhere a workspace may refuse with
BAD_REQUEST whatever the permissions are (databricks-sdk 0.156, ``service/workspace.py``). The error says so.
"""

import base64
import binascii

from pydantic import SecretStr

from dqctl.databricks.rest import RestApi
from dqctl.errors import DatabricksRefused, EnvironmentFault, UsageError
from dqctl.redaction import register

_ELSEWHERE = "use {env: NAME} or {file: PATH}, which work everywhere"


def read_secret(rest: RestApi, scope: str, key: str) -> SecretStr:
    """The secret ``key`` of ``scope``.

    Raises ``UsageError`` when it is not there, is empty or no text, ``DatabricksRefused`` when it may not be read.
    """
    place = f"secret {key} of scope {scope} in {rest.target.host}"
    answer = rest.get("/api/2.0/secrets/get", scope=scope, key=key)
    if answer.status == 404:
        raise UsageError(
            f"{place} is not there: {answer.reason}",
            f"see: databricks secrets list-secrets {scope}; make it: databricks secrets put-secret {scope} {key}",
        )
    if answer.status in (401, 403):
        raise DatabricksRefused(
            f"{place} may not be read: {answer.reason}",
            f"have its owner run: databricks secrets put-acl {scope} <this principal> READ",
        )
    if answer.status == 400:
        raise UsageError(
            f"{place} is not told: {answer.reason}",
            f"Databricks documents this for notebooks and jobs alone; {_ELSEWHERE}",
        )
    if not answer.is_good:
        raise EnvironmentFault(f"{place} is not told: {answer.reason}", f"try again, or {_ELSEWHERE}")
    try:
        value = base64.b64decode(str(answer.document.get("value") or ""), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise UsageError(f"{place} is no text", "store a text in it") from None
    value = value.rstrip("\r\n")
    if not value:
        raise UsageError(f"{place} is empty", "store the secret in it")
    register(value)
    return SecretStr(value)
