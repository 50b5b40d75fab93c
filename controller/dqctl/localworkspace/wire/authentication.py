"""Every request carries a token, except those that cannot have one yet or are signed themselves."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dqctl.localworkspace.tokens import Tokens
from dqctl.localworkspace.wire import presigned, staging
from dqctl.localworkspace.wire.failures import ApiError, answer_failure

_OPEN = ("/.well-known/", "/oidc/", "/telemetry-unauth")


class Authentication:
    """ASGI middleware; puts the ``Identity`` into the request's state. Refusals are worded as Databricks' are."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            self._check(request)
        except ApiError as error:
            response = await answer_failure(request, error)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, request: Request) -> None:
        path = request.scope["path"]
        if path.startswith((*_OPEN, f"{presigned.PATH}/")):  # the latter are checked by whoever answers them
            return
        if path.startswith(f"{staging.PATH}/"):
            self._check_presigned(request, path.removeprefix(staging.PATH))
            return
        kind, _, credential = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not credential:
            raise ApiError(
                401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API."
            )
        identity = self._tokens.identify(credential.strip())
        if identity is None:
            raise ApiError(403, "PERMISSION_DENIED", "Invalid access token.")
        request.scope.setdefault("state", {})["identity"] = identity

    def _check_presigned(self, request: Request, path: str) -> None:
        query = request.query_params
        permitted = staging.is_permitted(
            self._tokens.signer,
            request.method,
            path,
            query.get("operation", ""),
            query.get("expires", ""),
            query.get("signature", ""),
        )
        if not permitted:
            raise ApiError(403, "PERMISSION_DENIED", "The presigned URL is not valid, or not valid any more.")
