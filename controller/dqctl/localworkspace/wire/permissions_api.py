"""Grants and functions in Unity Catalog's REST. Grants are kept and shown, by SQL, and enforced for nobody."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.wire.catalog_api import PATH
from dqctl.localworkspace.wire.catalog_changes_api import CatalogChangesApi, quoted_name
from dqctl.localworkspace.wire.catalog_documents import Document
from dqctl.localworkspace.wire.failures import invalid, json_object, not_implemented

# How many parts the name of a thing has, by the kind of it that grants are on.
_PARTS = {"CATALOG": 1, "SCHEMA": 2, "TABLE": 3, "VOLUME": 3, "FUNCTION": 3}


class PermissionsApi:
    """The routes of grants, below ``PATH``."""

    def __init__(self, changes: CatalogChangesApi) -> None:
        self._changes = changes

    def routes(self) -> list[Route]:
        """The routes."""
        of_one = "permissions/{kind}/{name}"
        return [
            Route(f"{PATH}/{of_one}", self._get),
            Route(f"{PATH}/{of_one}", self._change, methods=["PATCH"]),
            Route(f"{PATH}/effective-{of_one}", self._effective),
        ]

    async def _get(self, request: Request) -> Response:
        kind, name = _thing(request)
        rows = await self._shown(request)
        return JSONResponse(_assignments([row for row in rows if _is_on(row, kind, name)]))

    async def _effective(self, request: Request) -> Response:
        kind, name = _thing(request)
        document: Document = {"privilege_assignments": []}
        by_principal: dict[str, list[Document]] = {}
        for row in await self._shown(request):
            inherited: Document = {}
            if not _is_on(row, kind, name):
                inherited = {"inherited_from_type": row["ObjectType"], "inherited_from_name": row["ObjectKey"]}
            privilege = {"privilege": row["ActionType"].replace(" ", "_"), **inherited}
            by_principal.setdefault(row["Principal"], []).append(privilege)
        document["privilege_assignments"] = [
            {"principal": principal, "privileges": found} for principal, found in by_principal.items()
        ]
        return JSONResponse(document)

    async def _change(self, request: Request) -> Response:
        kind, name = _thing(request)
        changes = (await json_object(request)).get("changes")
        if not isinstance(changes, list):
            raise invalid("changes is a list")
        on = f"ON {kind} {quoted_name(name, _PARTS[kind])}"
        statements = [
            f"{verb} {privilege} {on} {to} {_principal(change)}"
            for change in changes
            for word, verb, to in (("add", "GRANT", "TO"), ("remove", "REVOKE", "FROM"))
            for privilege in _privileges(change, word)
        ]
        for statement in statements:
            await run_in_threadpool(self._changes.execute, statement)
        return await self._get(request)

    async def _shown(self, request: Request) -> list[dict[str, str]]:
        kind, name = _thing(request)
        statement = f"SHOW GRANTS ON {kind} {quoted_name(name, _PARTS[kind])}"
        rows: list[dict[str, str]] = (await run_in_threadpool(self._changes.execute, statement)).to_pylist()
        only = request.query_params.get("principal")
        return [row for row in rows if only in (None, row["Principal"])]


def _thing(request: Request) -> tuple[str, str]:
    kind, name = request.path_params["kind"].upper(), request.path_params["name"].lower()
    if kind not in _PARTS:
        raise not_implemented(f"A grant on a {kind.lower()[:50]}")
    return kind, name


def _is_on(row: dict[str, str], kind: str, name: str) -> bool:
    """Whether a grant is on the thing itself, and not on what it is in."""
    return (row["ObjectType"], row["ObjectKey"]) == (kind, name)


def _assignments(rows: list[dict[str, str]]) -> Document:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["Principal"], []).append(row["ActionType"].replace(" ", "_"))
    return {"privilege_assignments": [{"principal": who, "privileges": what} for who, what in found.items()]}


def _principal(change: Any) -> str:
    principal = change.get("principal") if isinstance(change, dict) else None
    if not isinstance(principal, str) or not principal:
        raise invalid("a change has a principal")
    return quoted_name(principal, None)


def _privileges(change: Any, word: str) -> list[str]:
    given = (change.get(word) if isinstance(change, dict) else None) or []
    if not isinstance(given, list) or not all(
        isinstance(each, str) and each.replace("_", "").isascii() and each.replace("_", "").isalpha()
        for each in given
    ):
        raise invalid(f"{word} is a list of privileges")
    return [each.replace("_", " ") for each in given]
