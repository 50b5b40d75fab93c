"""OAuth for service principals (M2M), and the documents by which clients find it.

``PUT /api/dqctl/oauth`` with ``{"token_lifetime": 5}`` has tokens last so many seconds, until the server ends.
"""

import base64
import binascii
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.tokens import Tokens
from dqctl.localworkspace.wire.failures import invalid, json_object
from dqctl.localworkspace.wire.workspace_api import WORKSPACE_ID, base_url

_LONGEST = 86_400


def routes(tokens: Tokens) -> list[Route]:
    """The routes, all but the last without authentication."""

    async def configuration(request: Request) -> Response:
        return JSONResponse({"oidc_endpoint": f"{base_url(request)}/oidc", "workspace_id": WORKSPACE_ID})

    async def metadata(request: Request) -> Response:
        issuer = f"{base_url(request)}/oidc"
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/v1/authorize",
                "token_endpoint": f"{issuer}/v1/token",
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "scopes_supported": ["all-apis"],
            }
        )

    async def issue(request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode("latin-1")).items()}
        if form.get("grant_type") != "client_credentials":
            return _refused(400, "unsupported_grant_type", "only client_credentials is supported")
        client_id, secret = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
        issued = tokens.issue(client_id, secret)
        if issued is None:
            return _refused(401, "invalid_client", "Client authentication failed")
        body = {
            "access_token": issued,
            "token_type": "Bearer",
            "expires_in": tokens.lifetime,
            "scope": "all-apis",
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def lifetime(request: Request) -> Response:
        seconds = (await json_object(request)).get("token_lifetime")
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= _LONGEST:
            raise invalid(f"token_lifetime is between 1 and {_LONGEST} seconds")
        tokens.lifetime = seconds
        return JSONResponse({"token_lifetime": seconds})

    return [
        Route("/.well-known/databricks-config", configuration),
        Route("/oidc/.well-known/oauth-authorization-server", metadata),
        Route("/oidc/.well-known/openid-configuration", metadata),
        Route("/oidc/v1/token", issue, methods=["POST"]),
        Route("/api/dqctl/oauth", lifetime, methods=["PUT"]),
    ]


def _basic(request: Request) -> tuple[str, str] | None:
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(client_id), unquote(secret)


def _refused(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)
