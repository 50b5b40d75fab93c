"""REST of the workspace itself: who am I, and what the connectors ask for by themselves."""

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.tokens import Identity

WORKSPACE_ID = "1"


def base_url(request: Request) -> str:
    """The server as this client reaches it: through the proxy by name, or directly by port."""
    return f"https://{request.headers.get('host', '')}"


def routes(description: Callable[[], dict[str, Any]]) -> list[Route]:
    """The routes; ``description`` is what ``dqctl workspace status`` shows."""

    async def me(request: Request) -> Response:
        identity: Identity = request.state.identity
        body = {
            "id": WORKSPACE_ID,
            "userName": identity.user_name,
            "displayName": identity.user_name,
            "active": True,
            "groups": [{"display": "admins", "type": "direct"}],
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        }
        return JSONResponse(body, headers={"X-Databricks-Org-Id": WORKSPACE_ID})

    async def no_flags(_: Request) -> Response:
        return JSONResponse({"flags": [], "ttl_seconds": 900})

    async def telemetry(request: Request) -> Response:
        await request.body()  # thrown away, as is right
        return JSONResponse({"errors": [], "numSuccess": 0, "numProtoSuccess": 0, "numRealtimeSuccess": 0})

    async def status(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(description))

    return [
        Route("/api/2.0/preview/scim/v2/Me", me),
        Route("/api/2.0/connector-service/feature-flags/{client}/{version}", no_flags),
        Route("/telemetry-ext", telemetry, methods=["POST"]),
        Route("/telemetry-unauth", telemetry, methods=["POST"]),
        Route("/api/dqctl/status", status),
    ]
