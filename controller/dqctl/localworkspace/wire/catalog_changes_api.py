"""Unity Catalog's REST, as far as it changes something: each call is the SQL statement that does it."""

import itertools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sqlglot import exp
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.catalog import quoted
from dqctl.localworkspace.contract import Lakehouse, StatementError
from dqctl.localworkspace.wire.catalog_api import PATH, CatalogApi
from dqctl.localworkspace.wire.catalog_documents import Document
from dqctl.localworkspace.wire.failures import ApiError, invalid, json_object, not_implemented

# The calls for each kind of thing: its place below PATH, and its parents as the body names them.
_KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CATALOG": ("catalogs", ()),
    "SCHEMA": ("schemas", ("catalog_name",)),
    "VOLUME": ("volumes", ("catalog_name", "schema_name")),
}
_TAKEN = {"name", "comment", "catalog_name", "schema_name", "volume_type"}
_CODES: Mapping[str, tuple[int, str]] = {
    "NO_SUCH_CATALOG_EXCEPTION": (404, "CATALOG_DOES_NOT_EXIST"),
    "SCHEMA_NOT_FOUND": (404, "SCHEMA_DOES_NOT_EXIST"),
    "TABLE_OR_VIEW_NOT_FOUND": (404, "TABLE_DOES_NOT_EXIST"),
    "ROUTINE_NOT_FOUND": (404, "FUNCTION_DOES_NOT_EXIST"),
    "VOLUME_NOT_FOUND": (404, "VOLUME_DOES_NOT_EXIST"),
    "UNSUPPORTED_FEATURE": (501, "NOT_IMPLEMENTED"),
}


class CatalogChangesApi:
    """The routes below ``PATH`` that make, comment and remove things."""

    def __init__(self, lakehouse: Lakehouse, looks: CatalogApi) -> None:
        self._lakehouse = lakehouse
        self._looks = looks

    def routes(self) -> list[Route]:
        """The routes."""
        made = (self._of_kind(kind, path, parents) for kind, (path, parents) in _KINDS.items())
        return [
            *itertools.chain.from_iterable(made),
            Route(f"{PATH}/tables/{{name}}", self._drop_table, methods=["DELETE"]),
        ]

    def _of_kind(self, kind: str, path: str, parents: tuple[str, ...]) -> list[Route]:
        async def create(request: Request) -> Response:
            body = await _body(request, f"{kind.capitalize()}s with")
            if body.get("volume_type", "MANAGED") != "MANAGED":
                raise not_implemented("A volume that is not managed")
            name = ".".join(_text(body, each) for each in (*parents, "name"))
            comment = f" COMMENT {_literal(body['comment'])}" if body.get("comment") else ""
            await run_in_threadpool(self.execute, f"CREATE {kind} {quoted_name(name, len(parents) + 1)}{comment}")
            return JSONResponse(await run_in_threadpool(self._looks.described, kind, name))

        async def update(request: Request) -> Response:
            name, body = request.path_params["name"], await _body(request, f"Changing a {kind.lower()}'s")
            if set(body) - {"comment"}:
                raise not_implemented(f"Changing a {kind.lower()}'s {', '.join(sorted(set(body) - {'comment'}))}")
            await run_in_threadpool(self._looks.described, kind, name)
            if "comment" in body:
                statement = (
                    f"COMMENT ON {kind} {quoted_name(name, len(parents) + 1)} IS {_literal(body['comment'])}"
                )
                await run_in_threadpool(self.execute, statement)
            return JSONResponse(await run_in_threadpool(self._looks.described, kind, name))

        async def delete(request: Request) -> Response:
            name = request.path_params["name"]
            await run_in_threadpool(self._looks.described, kind, name)
            cascade = " CASCADE" if kind != "VOLUME" and request.query_params.get("force") == "true" else ""
            await run_in_threadpool(self.execute, f"DROP {kind} {quoted_name(name, len(parents) + 1)}{cascade}")
            return JSONResponse({})

        return [
            Route(f"{PATH}/{path}", create, methods=["POST"]),
            Route(f"{PATH}/{path}/{{name}}", update, methods=["PATCH"]),
            Route(f"{PATH}/{path}/{{name}}", delete, methods=["DELETE"]),
        ]

    async def _drop_table(self, request: Request) -> Response:
        table = await run_in_threadpool(self._looks.table_named, request.path_params["name"])
        await run_in_threadpool(self.execute, f"DROP {'VIEW' if table.is_view else 'TABLE'} {table.name}")
        return JSONResponse({})

    def execute(self, statement: str) -> pa.Table:
        """The rows of a statement; ``ApiError``, in Unity Catalog's words, when it fails."""
        session = self._lakehouse.open_session(None, None, {})
        try:
            return session.execute(statement).table
        except StatementError as error:
            if error.error_class.endswith("_ALREADY_EXISTS"):
                if error.error_class.startswith("VOLUME"):
                    raise ApiError(409, "RESOURCE_ALREADY_EXISTS", str(error)) from error
                raise ApiError(400, error.error_class, str(error)) from error
            status, code = _CODES.get(error.error_class, (400, "INVALID_PARAMETER_VALUE"))
            raise ApiError(status, code, str(error)) from error
        finally:
            session.close()


async def _body(request: Request, what: str) -> Document:
    """The body without what is empty; a field that would have no effect is refused, not ignored."""
    body = {key: value for key, value in (await json_object(request)).items() if value not in (None, {}, [])}
    if unknown := set(body) - _TAKEN:
        raise not_implemented(f"{what} {', '.join(sorted(unknown))}")
    return body


def _text(body: Document, name: str) -> str:
    value: Any = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"{name} is required")
    if "." in value:
        raise invalid(f"{name} contains a period")
    return value


def quoted_name(full_name: str, count: int | None) -> str:
    """A name of ``count`` parts in SQL (None: of one, whatever is in it); ``ApiError`` when it has others."""
    if count is None:
        return quoted(full_name)
    parts = full_name.split(".")
    if len(parts) != count:
        raise invalid(f"'{full_name}' does not have {count} parts")
    return ".".join(map(quoted, parts))


def _literal(value: Any) -> str:
    if not isinstance(value, str):
        raise invalid("comment is a text")
    return exp.Literal.string(value).sql("databricks")
