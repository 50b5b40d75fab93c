"""REST of the workspace itself: who am I, the warehouse, and what the connectors ask for by themselves."""

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.tokens import Identity
from dqctl.localworkspace.wire.disturbances import Disturbances
from dqctl.localworkspace.wire.failures import ApiError

WORKSPACE_ID = "1"
WAREHOUSE_ID = "local"
HTTP_PATH = f"/sql/1.0/warehouses/{WAREHOUSE_ID}"


def base_url(request: Request) -> str:
    """The server as this client reaches it: through the proxy by name, or directly by port."""
    return f"https://{request.headers.get('host', '')}"


def check_warehouse(warehouse_id: str) -> None:
    """``ApiError`` when there is no such warehouse."""
    if warehouse_id != WAREHOUSE_ID:
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {warehouse_id} does not exist.")


def routes(description: Callable[[], dict[str, Any]], disturbances: Disturbances) -> list[Route]:
    """The routes; ``description`` is what ``dqctl workspace status`` shows."""
    state = disturbances.warehouse

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

    async def warehouses(request: Request) -> Response:
        return JSONResponse({"warehouses": [_warehouse(request, state.name)]})

    async def warehouse(request: Request) -> Response:
        check_warehouse(request.path_params["id"])
        return JSONResponse(_warehouse(request, state.name))

    async def start(request: Request) -> Response:
        check_warehouse(request.path_params["id"])
        state.start()
        return JSONResponse({})

    async def stop(request: Request) -> Response:
        check_warehouse(request.path_params["id"])
        state.stop()
        await run_in_threadpool(disturbances.end_sessions)
        return JSONResponse({})

    async def no_flags(_: Request) -> Response:
        return JSONResponse({"flags": [], "ttl_seconds": 900})

    async def telemetry(request: Request) -> Response:
        await request.body()  # thrown away, as is right
        return JSONResponse({"errors": [], "numSuccess": 0, "numProtoSuccess": 0, "numRealtimeSuccess": 0})

    async def status(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(description))

    return [
        Route("/api/2.0/preview/scim/v2/Me", me),
        Route("/api/2.0/sql/warehouses", warehouses),
        Route("/api/2.0/sql/warehouses/{id}", warehouse),
        Route("/api/2.0/sql/warehouses/{id}/start", start, methods=["POST"]),
        Route("/api/2.0/sql/warehouses/{id}/stop", stop, methods=["POST"]),
        Route("/api/2.0/connector-service/feature-flags/{client}/{version}", no_flags),
        Route("/telemetry-ext", telemetry, methods=["POST"]),
        Route("/telemetry-unauth", telemetry, methods=["POST"]),
        Route("/api/dqctl/status", status),
    ]


def _warehouse(request: Request, state: str) -> dict[str, Any]:
    host, _, port = request.headers.get("host", "").partition(":")
    return {
        "id": WAREHOUSE_ID,
        "name": "local",
        "state": state,
        "cluster_size": "2X-Small",
        "warehouse_type": "PRO",
        "enable_serverless_compute": True,
        "auto_stop_mins": 0,
        "min_num_clusters": 1,
        "max_num_clusters": 1,
        "num_clusters": 1,
        "health": {"status": "HEALTHY"},
        "odbc_params": {"hostname": host, "path": HTTP_PATH, "protocol": "https", "port": int(port or 443)},
    }
