"""The warehouse's settings: the SQL configuration parameters that every new session begins with.

On Databricks an administrator sets them for all warehouses of a workspace, ``ANSI_MODE`` above all; clients such
as TestGen, which set none themselves, depend on it.
"""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.wire.failures import invalid, json_object

PATH = "/api/2.0/sql/config/warehouses"


class WarehouseSettings:
    """Kept in a file, so that they outlive the server."""

    def __init__(self, path: Path, lakehouse: Lakehouse) -> None:
        self._path = path
        self._lakehouse = lakehouse
        self._lock = threading.Lock()
        self._values = _read(path)

    def values(self) -> Mapping[str, str]:
        """The parameters that are set."""
        return dict(self._values)

    def replace(self, values: Mapping[str, str]) -> None:
        """Set exactly these; ``StatementError`` when one is not known, or its value does not fit."""
        session = self._lakehouse.open_session(None, None, {})
        try:
            for name, value in values.items():
                if not name.replace(".", "").replace("_", "").isalnum():
                    raise invalid(f"{name} is not the name of a parameter")
                session.execute(f"SET {name} = {value}")
        finally:
            session.close()
        with self._lock:
            new = self._path.with_suffix(".new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(dict(values), file)
            new.replace(self._path)
            self._values = dict(values)

    def routes(self) -> list[Route]:
        """The routes of ``w.warehouses.get_workspace_warehouse_config`` and its setter."""
        return [Route(PATH, self._get), Route(PATH, self._put, methods=["PUT"])]

    async def _get(self, _: Request) -> Response:
        pairs = [{"key": name, "value": value} for name, value in sorted(self._values.items())]
        return JSONResponse({"sql_configuration_parameters": {"configuration_pairs": pairs}})

    async def _put(self, request: Request) -> Response:
        body: Any = await json_object(request)
        try:
            pairs = body["sql_configuration_parameters"].get("configuration_pairs") or ()
            values = {str(pair["key"]): str(pair["value"]) for pair in pairs}
        except (KeyError, TypeError, AttributeError):
            raise invalid("sql_configuration_parameters is required") from None
        await run_in_threadpool(self.replace, values)
        return JSONResponse({})


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {str(name): str(value) for name, value in found.items()}
