"""The Statement Execution API: results inline or behind external links, in chunks, with polling and cancellation.

Its sessions (``/api/2.0/sql/sessions``) are what databricks-sql-connector uses when it is told ``use_sea=True``.
"""

import datetime
import functools
import re
import uuid
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.catalog import quoted
from dqctl.localworkspace.contract import Parameter, Result, Session, StatementError
from dqctl.localworkspace.tokens import Signer
from dqctl.localworkspace.wire import presigned
from dqctl.localworkspace.wire.failures import invalid, json_object, not_found
from dqctl.localworkspace.wire.parameters import check_limits
from dqctl.localworkspace.wire.sessions import Operation, Sessions, State, UnknownHandle
from dqctl.localworkspace.wire.statement_results import (
    COMPRESSIONS,
    INLINE_BYTES,
    MEDIA_TYPES,
    Chunk,
    chunks_of,
    limited,
    manifest,
    rows_of,
    written,
)
from dqctl.localworkspace.wire.warehouses import Warehouses
from dqctl.localworkspace.wire.workspace_api import base_url

STATEMENTS = "/api/2.0/sql/statements"
SESSIONS = "/api/2.0/sql/sessions"

_WAITING = 128  # requests at a time
_DEFAULT_WAIT, _MIN_WAIT, _MAX_WAIT = 10, 5, 50
_INLINE = "INLINE"
_DISPOSITIONS = (_INLINE, "EXTERNAL_LINKS", "INLINE_OR_EXTERNAL_LINKS")
_TOO_MUCH = (
    "Inline byte limit exceeded. Statements executed with disposition=INLINE can have a result size of at most "
    f"{INLINE_BYTES} bytes. Please execute the statement with disposition=EXTERNAL_LINKS if you want to download "
    "the full result."
)


class StatementsApi:
    """The routes below ``STATEMENTS`` and ``SESSIONS``, and those of the external links.

    A statement that names no session has one of its own.
    """

    def __init__(self, sessions: Sessions, warehouses: Warehouses, signer: Signer) -> None:
        self._sessions = sessions
        self._warehouses = warehouses
        self._signer = signer

    @functools.cached_property
    def _waiting(self) -> anyio.CapacityLimiter:
        # Not the threads that answer everything else: a client that waits must not keep others from cancelling.
        return anyio.CapacityLimiter(_WAITING)

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(STATEMENTS, self._execute, methods=["POST"]),
            Route(f"{STATEMENTS}/", self._execute, methods=["POST"]),
            Route(f"{STATEMENTS}/{{id}}", self._get),
            Route(f"{STATEMENTS}/{{id}}", self._close, methods=["DELETE"]),
            Route(f"{STATEMENTS}/{{id}}/cancel", self._cancel, methods=["POST"]),
            Route(f"{STATEMENTS}/{{id}}/result/chunks/{{chunk:int}}", self._chunk),
            Route(f"{presigned.PATH}/results/{{id}}/{{chunk:int}}", self._linked),
            Route(SESSIONS, self._open_session, methods=["POST"]),
            Route(f"{SESSIONS}/{{id}}", self._close_session, methods=["DELETE"]),
        ]

    async def _execute(self, request: Request) -> Response:
        body = await json_object(request)
        if not isinstance(body.get("statement"), str):
            raise invalid("statement is required")
        self._warehouse(body)
        form, disposition = body.get("format") or "JSON_ARRAY", body.get("disposition") or _INLINE
        if form not in tuple(MEDIA_TYPES) or disposition not in _DISPOSITIONS:
            raise invalid(f"format is one of {_listed(MEDIA_TYPES)}, disposition one of {_listed(_DISPOSITIONS)}")
        if disposition == _INLINE and form != "JSON_ARRAY":
            raise invalid("The format field must be JSON_ARRAY when the disposition field is INLINE.")
        compression = body.get("result_compression") or "NONE"
        if compression not in COMPRESSIONS:
            raise invalid(f"result_compression is one of {_listed(COMPRESSIONS)}")
        if body.get("on_wait_timeout", "CONTINUE") not in ("CONTINUE", "CANCEL"):
            raise invalid("on_wait_timeout is one of CONTINUE, CANCEL")
        wait = _seconds(str(body.get("wait_timeout", f"{_DEFAULT_WAIT}s")))
        failure = getattr(request.state, "failure", None)
        operation = await run_in_threadpool(self._started, body, failure)
        inline = disposition == _INLINE
        operation.wire_format |= {
            "format": form, "inline": inline, "compression": "NONE" if inline else compression,
        }  # fmt: skip
        settled = await anyio.to_thread.run_sync(operation.wait, wait, limiter=self._waiting)
        if wait and not settled and body.get("on_wait_timeout") == "CANCEL":
            await run_in_threadpool(operation.cancel)
        return await self._answer(request, operation)

    def _started(self, body: dict[str, Any], failure: StatementError | None) -> Operation:
        statement: str = body["statement"]
        parameters = [_parameter(each) for each in body.get("parameters") or ()]
        place = [(word, _name(body, word.lower())) for word in ("CATALOG", "SCHEMA") if body.get(word.lower())]
        rows, size = _limit(body, "row_limit"), _limit(body, "byte_limit")
        check_limits(statement, parameters)
        given = body.get("session_id")
        client = (
            self._sessions.get(_handle(given))
            if given
            else self._sessions.open(None, None, {}, body["warehouse_id"])
        )
        shape: dict[str, Any] = {"truncated": False}

        def work(session: Session) -> Result:
            try:
                if failure is not None:
                    raise failure
                for word, name in place:
                    session.execute(f"USE {word} {quoted(name)}")
                result = session.execute(statement, parameters)
            finally:
                if not given:
                    self._sessions.end(client.id)
            if result.staging is not None:
                raise StatementError("UNSUPPORTED_FEATURE", "Volume operations need a SQL connector.", "0A000")
            kept = limited(result.table, rows, size)
            shape["truncated"] = kept.num_rows < result.table.num_rows
            return Result(kept, result.affected_rows)

        operation = self._sessions.start(client.id, work)
        operation.wire_format = shape
        return operation

    async def _answer(self, request: Request, operation: Operation) -> Response:
        return JSONResponse(await run_in_threadpool(self._described, base_url(request), operation))

    def _operation(self, request: Request) -> Operation:
        statement_id = request.path_params["id"]
        try:
            found = self._sessions.operation(_handle(statement_id))
            if "inline" in found.wire_format:  # else it is a connector's, by Thrift
                return found
        except UnknownHandle:
            pass
        raise not_found(f"The statement {statement_id} was not found.")

    async def _get(self, request: Request) -> Response:
        return await self._answer(request, self._operation(request))

    async def _cancel(self, request: Request) -> Response:
        await run_in_threadpool(self._operation(request).cancel)
        return JSONResponse({})

    async def _close(self, request: Request) -> Response:
        await run_in_threadpool(self._sessions.close_operation, self._operation(request).id)
        return JSONResponse({})

    def _found_chunk(self, request: Request) -> tuple[Operation, Chunk]:
        operation, index = self._operation(request), request.path_params["chunk"]
        if operation.state is not State.SUCCEEDED or operation.result is None:
            raise invalid(f"The statement is {operation.state.value} and has no result.")
        chunks = chunks_of(operation.result.table)
        if index >= len(chunks):
            raise invalid(f"There is no chunk {index}: the result has {len(chunks)}.")
        return operation, chunks[index]

    async def _chunk(self, request: Request) -> Response:
        operation, chunk = self._found_chunk(request)
        return JSONResponse(await run_in_threadpool(self._delivered, base_url(request), operation, chunk))

    async def _linked(self, request: Request) -> Response:
        if refused := presigned.refusal(self._signer, request):
            return refused
        operation, chunk = self._found_chunk(request)
        form, compression = operation.wire_format["format"], operation.wire_format["compression"]
        if operation.result is None:  # closed meanwhile
            raise not_found("The result is gone.")
        content = await run_in_threadpool(written, operation.result.table, chunk, form, compression)
        return Response(content, media_type=MEDIA_TYPES[form])

    def _described(self, base: str, operation: Operation) -> dict[str, Any]:
        state, result = operation.state, operation.result
        answer: dict[str, Any] = {"statement_id": str(uuid.UUID(operation.id)), "status": {"state": state.value}}
        if state is State.FAILED and operation.error is not None:
            answer["status"] |= _failure("BAD_REQUEST", str(operation.error), operation.error.sqlstate)
        if state is State.SUCCEEDED and result is not None:
            if operation.wire_format["inline"] and result.table.nbytes > INLINE_BYTES:
                answer["status"] = {"state": State.FAILED.value, **_failure("BAD_REQUEST", _TOO_MUCH, "54000")}
                return answer
            form, truncated, compression = (
                operation.wire_format[each] for each in ("format", "truncated", "compression")
            )
            answer["manifest"] = manifest(result.table, form, truncated=truncated, compression=compression)
            answer["result"] = self._delivered(base, operation, chunks_of(result.table)[0])
        return answer

    def _delivered(self, base: str, operation: Operation, chunk: Chunk) -> dict[str, Any]:
        """The rows of a chunk, or where they are."""
        if operation.result is None:
            raise not_found("The result is gone.")
        table, statement_id = operation.result.table, str(uuid.UUID(operation.id))
        about: dict[str, Any] = {
            "chunk_index": chunk.index, "row_offset": chunk.offset, "row_count": chunk.rows,
        }  # fmt: skip
        if chunk.index + 1 < len(chunks_of(table)):
            about["next_chunk_index"] = chunk.index + 1
            about["next_chunk_internal_link"] = f"{STATEMENTS}/{statement_id}/result/chunks/{chunk.index + 1}"
        if operation.wire_format["inline"]:
            return about | {"data_array": rows_of(table, chunk)}
        expiration = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=presigned.LIFETIME)
        signer = presigned.Presigner(self._signer, base)
        link = {
            **about,
            "byte_count": table.slice(chunk.offset, chunk.rows).nbytes,
            "external_link": signer.url("GET", f"/results/{statement_id}/{chunk.index}"),
            "expiration": expiration.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return {"external_links": [link]}

    async def _open_session(self, request: Request) -> Response:
        body = await json_object(request)
        warehouse = self._warehouse(body)
        settings = body.get("session_confs") or {}
        if not isinstance(settings, dict):
            raise invalid("session_confs is an object")
        catalog, schema = (_name(body, each) if body.get(each) else None for each in ("catalog", "schema"))
        given = {str(name): str(value) for name, value in settings.items()}
        client = await run_in_threadpool(self._sessions.open, catalog, schema, given, warehouse)
        return JSONResponse({"session_id": str(uuid.UUID(client.id))})

    async def _close_session(self, request: Request) -> Response:
        await run_in_threadpool(self._sessions.close, _handle(request.path_params["id"]))
        return JSONResponse({})

    def _warehouse(self, body: dict[str, Any]) -> str:
        identifier = body.get("warehouse_id")
        if not isinstance(identifier, str) or not identifier:
            raise invalid("warehouse_id is required")
        found = self._warehouses.find(identifier)
        found.state.used()
        return found.id


def _seconds(wait_timeout: str) -> int:
    found = re.fullmatch(r"([0-9]{1,2})s", wait_timeout)
    seconds = int(found[1]) if found else -1
    if seconds == 0 or _MIN_WAIT <= seconds <= _MAX_WAIT:
        return seconds
    raise invalid(f"wait_timeout must be 0s or between {_MIN_WAIT}s and {_MAX_WAIT}s, not {wait_timeout}")


def _parameter(given: Any) -> Parameter:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str | None):
        raise invalid("every parameter is an object, its name a text")
    kind, value = given.get("type") or "STRING", given.get("value")
    if not isinstance(kind, str) or isinstance(value, dict | list):
        raise invalid(f"type and value of the parameter {given.get('name', '?')} are texts")
    # Without a name it is the next question mark's: the API's reference is silent, Databricks' kernel sends such.
    return Parameter(given.get("name"), kind, None if value is None else str(value))


def _limit(body: dict[str, Any], name: str) -> int | None:
    given = body.get(name)
    if isinstance(given, str) and re.fullmatch("[0-9]{1,18}", given):  # JSON's form of 64-bit numbers
        given = int(given)
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise invalid(f"{name} is a number that is not negative")
    return given


def _name(body: dict[str, Any], what: str) -> str:
    if not isinstance(body[what], str):
        raise invalid(f"{what} is a name")
    return str(body[what])


def _handle(identifier: Any) -> str:
    """An id in the form in which sessions and operations are kept."""
    try:
        return uuid.UUID(str(identifier)).hex
    except ValueError:
        raise UnknownHandle(f"{identifier} is no id") from None


def _failure(code: str, message: str, sqlstate: str) -> dict[str, Any]:
    return {"error": {"error_code": code, "message": message}, "sql_state": sqlstate}


def _listed(words: Any) -> str:
    return ", ".join(words)
