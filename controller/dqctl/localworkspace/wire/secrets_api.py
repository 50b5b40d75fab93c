"""REST of secret scopes: ``/api/2.0/secrets/...``, as ``w.secrets`` of the SDK uses it."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.secret_scopes import SecretError, SecretScopes
from dqctl.localworkspace.tokens import Identity
from dqctl.localworkspace.wire.failures import ApiError, invalid, json_object

_STATUS = {"RESOURCE_DOES_NOT_EXIST": 404, "PERMISSION_DENIED": 403}
_PATH = "/api/2.0/secrets"

Given = dict[str, Any]
Answer = Callable[[Identity, Given], Given]


def routes(scopes: SecretScopes) -> list[Route]:
    """The routes over ``scopes``."""

    def put(who: Identity, given: Given) -> Given:
        scopes.put(who, _text(given, "scope"), _text(given, "key"), _value(given))
        return {}

    def get(who: Identity, given: Given) -> Given:
        key = _text(given, "key")
        return {"key": key, "value": scopes.get(who, _text(given, "scope"), key)}

    def create(who: Identity, given: Given) -> Given:
        if given.get("scope_backend_type", "DATABRICKS") != "DATABRICKS":
            raise invalid("the local workspace has no Azure Key Vault")
        scopes.create_scope(who, _text(given, "scope"), str(given.get("initial_manage_principal") or ""))
        return {}

    def put_acl(who: Identity, given: Given) -> Given:
        scopes.put_acl(who, _text(given, "scope"), _text(given, "principal"), _text(given, "permission"))
        return {}

    def delete_scope(who: Identity, given: Given) -> Given:
        scopes.delete_scope(who, _text(given, "scope"))
        return {}

    def delete(who: Identity, given: Given) -> Given:
        scopes.delete(who, _text(given, "scope"), _text(given, "key"))
        return {}

    def delete_acl(who: Identity, given: Given) -> Given:
        scopes.delete_acl(who, _text(given, "scope"), _text(given, "principal"))
        return {}

    return [
        _post("scopes/create", create),
        _post("scopes/delete", delete_scope),
        _get("scopes/list", lambda _, __: {"scopes": scopes.scopes()}),
        _post("put", put),
        _get("get", get),
        _get("list", lambda who, given: {"secrets": scopes.secrets(who, _text(given, "scope"))}),
        _post("delete", delete),
        _post("acls/put", put_acl),
        _get("acls/list", lambda who, given: {"items": scopes.acls(who, _text(given, "scope"))}),
        _post("acls/delete", delete_acl),
    ]


def _get(path: str, answer: Answer) -> Route:
    async def route(request: Request) -> Response:
        return await _answer(request, answer, dict(request.query_params))

    return Route(f"{_PATH}/{path}", route)


def _post(path: str, answer: Answer) -> Route:
    async def route(request: Request) -> Response:
        return await _answer(request, answer, await json_object(request))

    return Route(f"{_PATH}/{path}", route, methods=["POST"])


async def _answer(request: Request, answer: Answer, given: Given) -> Response:
    try:
        return JSONResponse(await run_in_threadpool(answer, request.state.identity, given))
    except SecretError as error:
        raise ApiError(_STATUS.get(error.code, 400), error.code, error.message) from error


def _text(given: Given, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"Missing required field: {name}")
    return value


def _value(given: Given) -> bytes:
    if ("string_value" in given) == ("bytes_value" in given):
        raise invalid("exactly one of string_value and bytes_value is required")
    if "string_value" in given:
        return str(given["string_value"]).encode()
    try:
        return base64.b64decode(str(given["bytes_value"]), validate=True)
    except binascii.Error:
        raise invalid("bytes_value is no base64") from None
