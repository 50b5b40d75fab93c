"""Unity Catalog's REST, as far as looking around goes: catalogs, schemas, tables."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.contract import Session
from dqctl.localworkspace.wire.failures import invalid, not_found
from dqctl.localworkspace.wire.sessions import Sessions


class CatalogApi:
    """The routes below ``/api/2.1/unity-catalog``."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The routes."""
        base = "/api/2.1/unity-catalog"
        return [
            Route(f"{base}/catalogs", self._catalogs),
            Route(f"{base}/catalogs/{{name}}", self._catalog),
            Route(f"{base}/schemas", self._schemas),
            Route(f"{base}/schemas/{{name}}", self._schema),
            Route(f"{base}/tables", self._tables),
            Route(f"{base}/tables/{{name}}", self._table),
        ]

    async def _look(self, look: Callable[[Session], pa.Table]) -> list[dict[str, Any]]:
        def rows() -> list[dict[str, Any]]:
            session = self._sessions.lakehouse.open_session(None, None, {})
            try:
                return [{key.upper(): value for key, value in row.items()} for row in look(session).to_pylist()]
            finally:
                session.close()

        return await run_in_threadpool(rows)

    async def _all_catalogs(self) -> list[dict[str, Any]]:
        rows = await self._look(lambda session: session.get_catalogs())
        return [
            {"name": row["TABLE_CAT"], "full_name": row["TABLE_CAT"], "catalog_type": "MANAGED_CATALOG"}
            for row in rows
        ]

    async def _catalogs(self, _: Request) -> Response:
        return JSONResponse({"catalogs": await self._all_catalogs()})

    async def _catalog(self, request: Request) -> Response:
        return _one(await self._all_catalogs(), "name", request.path_params["name"], "Catalog")

    async def _all_schemas(self, catalog: str) -> list[dict[str, Any]]:
        rows = await self._look(lambda session: session.get_schemas(_literal(catalog), None))
        return [
            {
                "name": row["TABLE_SCHEM"],
                "catalog_name": catalog,
                "full_name": f"{catalog}.{row['TABLE_SCHEM']}",
            }
            for row in rows
        ]

    async def _schemas(self, request: Request) -> Response:
        catalog = _needed(request, "catalog_name")
        await self._must_exist(catalog)
        return JSONResponse({"schemas": await self._all_schemas(catalog)})

    async def _must_exist(self, catalog: str) -> None:
        if catalog not in [found["name"] for found in await self._all_catalogs()]:
            raise not_found(f"Catalog '{catalog}' does not exist.")

    async def _schema(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        return _one(await self._all_schemas(name.partition(".")[0]), "full_name", name, "Schema")

    async def _all_tables(self, catalog: str, schema: str) -> list[dict[str, Any]]:
        rows = await self._look(
            lambda session: session.get_tables(_literal(catalog), _literal(schema), None, None)
        )
        return [
            {
                "name": row["TABLE_NAME"],
                "catalog_name": catalog,
                "schema_name": schema,
                "full_name": f"{catalog}.{schema}.{row['TABLE_NAME']}",
                "table_type": "VIEW" if row["TABLE_TYPE"] == "VIEW" else "MANAGED",
                "data_source_format": "UNKNOWN_DATA_SOURCE_FORMAT" if row["TABLE_TYPE"] == "VIEW" else "DELTA",
                "comment": row.get("REMARKS") or None,
            }
            for row in rows
        ]

    async def _tables(self, request: Request) -> Response:
        catalog, schema = _needed(request, "catalog_name"), _needed(request, "schema_name")
        if schema not in [found["name"] for found in await self._all_schemas(catalog)]:
            raise not_found(f"Schema '{catalog}.{schema}' does not exist.")
        tables = await self._all_tables(catalog, schema)
        if request.query_params.get("omit_columns") != "true":
            await self._add_columns(tables, catalog, schema, None)
        return JSONResponse({"tables": tables})

    async def _table(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        catalog, _, rest = name.partition(".")
        tables = await self._all_tables(catalog, rest.partition(".")[0])
        found = _find(tables, "full_name", name, "Table")
        await self._add_columns([found], catalog, found["schema_name"], found["name"])
        return JSONResponse(found)

    async def _add_columns(
        self, tables: list[dict[str, Any]], catalog: str, schema: str, name: str | None
    ) -> None:
        rows = await self._look(
            lambda session: session.get_columns(
                _literal(catalog), _literal(schema), None if name is None else _literal(name), None
            )
        )
        for table in tables:
            own = [row for row in rows if row["TABLE_NAME"] == table["name"]]
            table["columns"] = [
                {
                    "name": row["COLUMN_NAME"],
                    "type_text": str(row["TYPE_NAME"]).lower(),
                    "type_name": str(row["TYPE_NAME"]).partition("(")[0],
                    "position": position,
                    "comment": row.get("REMARKS") or None,
                }
                for position, row in enumerate(own)
            ]


def _literal(name: str) -> str:
    """``name`` as a LIKE pattern that matches nothing else."""
    return name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


def _needed(request: Request, parameter: str) -> str:
    value = request.query_params.get(parameter)
    if not value:
        raise invalid(f"{parameter} is required")
    return value


def _find(items: list[dict[str, Any]], key: str, name: str, kind: str) -> dict[str, Any]:
    for item in items:
        if item[key] == name:
            return item
    raise not_found(f"{kind} '{name}' does not exist.")


def _one(items: list[dict[str, Any]], key: str, name: str, kind: str) -> Response:
    return JSONResponse(_find(items, key, name, kind))
