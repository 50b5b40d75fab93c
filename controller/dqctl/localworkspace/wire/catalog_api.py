"""Unity Catalog's REST: looking around in catalogs, schemas, tables, volumes and functions, in pages.

What changes something goes through SQL (``catalog_changes_api``), so that there is one way of doing it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Catalog, Name, Table, Volume
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.metadata import matching
from dqctl.localworkspace.wire.catalog_documents import (
    METASTORE,
    METASTORE_ID,
    Document,
    catalog_document,
    schema_document,
    table_document,
    volume_document,
)
from dqctl.localworkspace.wire.failures import ApiError, invalid
from dqctl.localworkspace.wire.pages import page
from dqctl.localworkspace.wire.workspace_api import WORKSPACE_ID

PATH = "/api/2.1/unity-catalog"
_MOST = 1000  # on a page

Look = Callable[[Request], Document]


class CatalogApi:
    """The routes below ``PATH`` that change nothing."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            _route("metastore_summary", lambda _: METASTORE),
            _route("current-metastore-assignment", self._assignment),
            _route("catalogs", self._catalogs),
            _route("catalogs/{name}", lambda request: self.catalog_named(request.path_params["name"])),
            _route("schemas", self._schemas),
            _route("schemas/{name}", lambda request: self.schema_named(request.path_params["name"])),
            _route("tables", self._tables),
            _route("table-summaries", self._summaries),
            _route("tables/{name}", self._one_table),
            _route("tables/{name}/exists", self._exists),
            _route("volumes", self._volumes),
            _route("volumes/{name}", self._one_volume),
        ]

    def catalog_named(self, name: str) -> Document:
        """A catalog; ``ApiError`` when it is not there."""
        entry = self._catalog.catalogs().get(name.lower())
        if entry is None:
            raise missing("CATALOG", name)
        return catalog_document(name.lower(), entry)

    def schema_named(self, full_name: str) -> Document:
        """A schema; ``ApiError`` when it is not there."""
        catalog, name = _parts(full_name, 2, "SCHEMA")
        return self._schema(catalog, name)

    def table_named(self, full_name: str) -> Table:
        """A table or view; ``ApiError`` when it is not there."""
        found = self._catalog.find(Name(*_parts(full_name, 3, "TABLE")))
        if found is None:
            raise missing("TABLE", full_name)
        return found

    def volume_named(self, full_name: str) -> Volume:
        """A volume; ``ApiError`` when it is not there."""
        try:
            return self._catalog.volume(Name(*_parts(full_name, 3, "VOLUME")))
        except StatementError:
            raise missing("VOLUME", full_name) from None

    def described(self, kind: str, full_name: str) -> Document:
        """What REST says of one that is there; ``kind`` is CATALOG, SCHEMA, TABLE or VOLUME."""
        if kind == "CATALOG":
            return self.catalog_named(full_name)
        if kind == "SCHEMA":
            return self.schema_named(full_name)
        if kind == "TABLE":
            return table_document(self._catalog, self.table_named(full_name), columns=True)
        return volume_document(self._catalog, self.volume_named(full_name))

    def _assignment(self, _: Request) -> Document:
        first = next(iter(self._catalog.catalogs()), "")
        return {
            "metastore_id": METASTORE_ID,
            "workspace_id": int(WORKSPACE_ID),
            "default_catalog_name": "main" if "main" in self._catalog.catalogs() else first,
        }

    def _catalogs(self, request: Request) -> Document:
        found = [catalog_document(name, entry) for name, entry in self._catalog.catalogs().items()]
        return _page(request, "catalogs", found)

    def _schemas(self, request: Request) -> Document:
        catalog = needed(request, "catalog_name")
        self.catalog_named(catalog)
        return _page(request, "schemas", [self._schema(catalog, name) for name in self._names(catalog)])

    def _tables(self, request: Request) -> Document:
        catalog, schema = needed(request, "catalog_name"), needed(request, "schema_name")
        self._schema(catalog, schema)
        found, token = _paged(request, self._catalog.tables(catalog, schema), lambda each: each.name.name)
        columns = request.query_params.get("omit_columns") != "true"
        documents = [table_document(self._catalog, each, columns=columns) for each in found]
        return {"tables": documents} | _next(token)

    def _summaries(self, request: Request) -> Document:
        catalog = needed(request, "catalog_name")
        self.catalog_named(catalog)
        schemas, tables = (
            matching(request.query_params.get(f"{what}_name_pattern")) for what in ("schema", "table")
        )
        found = [
            {"full_name": ".".join((each.name.catalog, each.name.schema, each.name.name)), "table_type": each.kind}
            for each in self._catalog.tables(catalog)
            if schemas(each.name.schema) and tables(each.name.name)
        ]
        return _page(request, "tables", found, "full_name")

    def _one_table(self, request: Request) -> Document:
        return self.described("TABLE", request.path_params["name"])

    def _exists(self, request: Request) -> Document:
        parts = request.path_params["name"].lower().split(".")
        return {"table_exists": len(parts) == 3 and self._catalog.find(Name(*parts)) is not None}

    def _volumes(self, request: Request) -> Document:
        catalog, schema = needed(request, "catalog_name"), needed(request, "schema_name")
        self._schema(catalog, schema)
        found = [
            volume_document(self._catalog, each)
            for each in self._catalog.volumes(catalog)
            if each.name.schema == schema.lower()
        ]
        return _page(request, "volumes", found)

    def _one_volume(self, request: Request) -> Document:
        return self.described("VOLUME", request.path_params["name"])

    def _names(self, catalog: str) -> list[str]:
        return [*self._catalog.schemas(catalog), INFORMATION_SCHEMA]

    def _schema(self, catalog: str, name: str) -> Document:
        self.catalog_named(catalog)
        content = self._catalog.schemas(catalog).get(name.lower())
        if content is None and name.lower() != INFORMATION_SCHEMA:
            raise missing("SCHEMA", f"{catalog}.{name}")
        return schema_document(catalog.lower(), name.lower(), content)


def missing(kind: str, name: str) -> ApiError:
    """What Unity Catalog says when there is no such ``kind`` (CATALOG, SCHEMA, TABLE, VOLUME)."""
    return ApiError(404, f"{kind}_DOES_NOT_EXIST", f"{kind.capitalize()} '{name}' does not exist.")


def needed(request: Request, parameter: str) -> str:
    """A parameter of the query that has to be there."""
    value = request.query_params.get(parameter)
    if not value:
        raise invalid(f"{parameter} is required")
    return value


def _route(path: str, look: Look) -> Route:
    async def answer(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(look, request))

    return Route(f"{PATH}/{path}", answer)


def _parts(full_name: str, count: int, kind: str) -> list[str]:
    parts = full_name.lower().split(".")
    if len(parts) != count:
        raise invalid(f"'{full_name}' is not a valid name of a {kind.lower()}: it has {count} parts")
    return parts


def _paged(request: Request, items: Sequence[Any], name: Callable[[Any], str]) -> tuple[list[Any], str | None]:
    # Without max_results everything comes, as clients of before there were pages expect it.
    most = _MOST if request.query_params.get("max_results") else max(1, len(items))
    return page(request, "max_results", items, name, most)


def _page(request: Request, what: str, documents: list[Document], key: str = "name") -> Document:
    found, token = _paged(request, documents, lambda each: str(each[key]))
    return {what: found} | _next(token)


def _next(token: str | None) -> Document:
    return {"next_page_token": token} if token else {}
