"""REST of personal access tokens: ``/api/2.0/token/...``, as ``w.tokens`` of the SDK uses it."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.tokens import QuotaExceeded, Tokens
from dqctl.localworkspace.wire.failures import ApiError, invalid, json_object

_PATH = "/api/2.0/token"
_LONGEST = 2 * 365 * 86_400  # seconds; Databricks lets none last longer than two years


def routes(tokens: Tokens) -> list[Route]:
    """The routes over ``tokens``."""

    async def create(request: Request) -> Response:
        body = await json_object(request)
        comment = body.get("comment") or ""
        if not isinstance(comment, str):
            raise invalid("comment is a text")
        seconds = _lifetime(body.get("lifetime_seconds"))
        try:
            value, about = await run_in_threadpool(tokens.make, request.state.identity, comment, seconds)
        except QuotaExceeded as error:
            raise ApiError(400, "QUOTA_EXCEEDED", str(error)) from error
        return JSONResponse({"token_value": value, "token_info": about})

    async def delete(request: Request) -> Response:
        identity, token_id = request.state.identity, str((await json_object(request)).get("token_id"))
        if not await run_in_threadpool(tokens.revoke, identity, token_id):
            if any(each["token_id"] == token_id for each in tokens.listed(identity)):
                raise invalid("The local workspace's own token cannot be deleted.")
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"Token with ID {token_id} does not exist!")
        return JSONResponse({})

    async def listed(request: Request) -> Response:
        return JSONResponse({"token_infos": tokens.listed(request.state.identity)})

    return [
        Route(f"{_PATH}/create", create, methods=["POST"]),
        Route(f"{_PATH}/delete", delete, methods=["POST"]),
        Route(f"{_PATH}/list", listed),
    ]


def _lifetime(given: Any) -> int | None:
    """Seconds; None for a token that lasts until it is deleted."""
    if given in (None, -1):
        return None
    if not isinstance(given, int) or isinstance(given, bool) or not 0 < given <= _LONGEST:
        raise invalid(f"lifetime_seconds is between 1 and {_LONGEST}")
    return given
