"""REST of the SQL warehouses: ``/api/2.0/sql/warehouses``, as ``w.warehouses`` of the SDK uses it."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.wire.failures import json_object
from dqctl.localworkspace.wire.warehouses import Warehouse, Warehouses

PATH = "/api/2.0/sql/warehouses"


def http_path(identifier: str) -> str:
    """Where clients find a warehouse."""
    return f"/sql/1.0/warehouses/{identifier}"


def routes(warehouses: Warehouses) -> list[Route]:
    """The routes over ``warehouses``."""

    async def list_all(request: Request) -> Response:
        return JSONResponse({"warehouses": [_described(request, each) for each in warehouses.all()]})

    async def create(request: Request) -> Response:
        given = await json_object(request)
        return JSONResponse({"id": (await run_in_threadpool(warehouses.create, given)).id})

    async def get(request: Request) -> Response:
        return JSONResponse(_described(request, warehouses.find(request.path_params["id"])))

    async def edit(request: Request) -> Response:
        given = await json_object(request)
        await run_in_threadpool(warehouses.edit, request.path_params["id"], given)
        return JSONResponse({})

    async def delete(request: Request) -> Response:
        await run_in_threadpool(warehouses.delete, request.path_params["id"])
        return JSONResponse({})

    async def start(request: Request) -> Response:
        warehouses.find(request.path_params["id"]).state.start()
        return JSONResponse({})

    async def stop(request: Request) -> Response:
        await run_in_threadpool(warehouses.stop, request.path_params["id"])
        return JSONResponse({})

    return [
        Route(PATH, list_all),
        Route(PATH, create, methods=["POST"]),
        Route(f"{PATH}/{{id}}", get),
        Route(f"{PATH}/{{id}}", delete, methods=["DELETE"]),
        Route(f"{PATH}/{{id}}/edit", edit, methods=["POST"]),
        Route(f"{PATH}/{{id}}/start", start, methods=["POST"]),
        Route(f"{PATH}/{{id}}/stop", stop, methods=["POST"]),
    ]


def _described(request: Request, warehouse: Warehouse) -> dict[str, Any]:
    host, _, port = request.headers.get("host", "").partition(":")
    state = warehouse.state.name
    return {
        **warehouse.settings,
        "id": warehouse.id,
        "state": state,
        "num_clusters": 1 if state == "RUNNING" else 0,
        "health": {"status": "HEALTHY"},
        "odbc_params": {
            "hostname": host,
            "path": http_path(warehouse.id),
            "protocol": "https",
            "port": int(port or 443),
        },
    }
