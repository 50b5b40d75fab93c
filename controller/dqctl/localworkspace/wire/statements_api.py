"""The Statement Execution API: small results, inline, as JSON."""

import re
from typing import Any

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.contract import Parameter, Result, Session, StatementError
from dqctl.localworkspace.wire.arrow_values import plain_type, text
from dqctl.localworkspace.wire.failures import ApiError, invalid, not_found, not_implemented
from dqctl.localworkspace.wire.parameters import check_limits
from dqctl.localworkspace.wire.sessions import Operation, Sessions, State, UnknownHandle
from dqctl.localworkspace.wire.warehouses import Warehouses

INLINE_BYTES = 25 * 1024 * 1024
_DEFAULT_WAIT, _MIN_WAIT, _MAX_WAIT = 10, 5, 50

_TYPE_NAMES = (
    (pa.types.is_boolean, "BOOLEAN"), (pa.types.is_int8, "BYTE"), (pa.types.is_int16, "SHORT"),
    (pa.types.is_int32, "INT"), (pa.types.is_integer, "LONG"), (pa.types.is_float32, "FLOAT"),
    (pa.types.is_floating, "DOUBLE"), (pa.types.is_decimal, "DECIMAL"), (pa.types.is_date, "DATE"),
    (pa.types.is_timestamp, "TIMESTAMP"), (pa.types.is_binary, "BINARY"), (pa.types.is_map, "MAP"),
    (pa.types.is_list, "ARRAY"), (pa.types.is_struct, "STRUCT"), (pa.types.is_null, "NULL"),
)  # fmt: skip
_SQL_NAMES = {"BYTE": "TINYINT", "SHORT": "SMALLINT", "LONG": "BIGINT", "NULL": "VOID"}


class StatementsApi:
    """The routes below ``/api/2.0/sql/statements``. Each statement has a session of its own."""

    def __init__(self, sessions: Sessions, warehouses: Warehouses) -> None:
        self._sessions = sessions
        self._warehouses = warehouses

    def routes(self) -> list[Route]:
        """The routes."""
        base = "/api/2.0/sql/statements"
        return [
            Route(base, self._execute, methods=["POST"]),
            Route(f"{base}/", self._execute, methods=["POST"]),
            Route(f"{base}/{{id}}", self._get),
            Route(f"{base}/{{id}}/cancel", self._cancel, methods=["POST"]),
            Route(f"{base}/{{id}}/result/chunks/{{chunk:int}}", self._chunk),
        ]

    async def _execute(self, request: Request) -> Response:
        try:
            body = await request.json()
        except ValueError:
            raise invalid("the body is no JSON") from None
        if not isinstance(body, dict) or not isinstance(body.get("statement"), str):
            raise invalid("statement is required")
        self._warehouses.find(str(body.get("warehouse_id", ""))).state.used()
        if body.get("disposition", "INLINE") != "INLINE" or body.get("format", "JSON_ARRAY") != "JSON_ARRAY":
            raise not_implemented("A disposition other than INLINE with JSON_ARRAY")
        wait = _seconds(str(body.get("wait_timeout", f"{_DEFAULT_WAIT}s")))
        failure = getattr(request.state, "failure", None)
        return JSONResponse(await run_in_threadpool(self._run, body, wait, failure))

    def _run(self, body: dict[str, Any], wait: int, failure: StatementError | None) -> dict[str, Any]:
        parameters = [_parameter(each) for each in body.get("parameters") or ()]
        statement: str = body["statement"]
        limit = body.get("row_limit")

        check_limits(statement, parameters)
        client = self._sessions.open(body.get("catalog"), body.get("schema"), {}, body["warehouse_id"])

        def work(session: Session) -> Result:
            try:
                if failure is not None:
                    raise failure
                result = session.execute(statement, parameters)
            finally:
                self._sessions.end(client.id)
            if result.staging is not None:
                raise StatementError("UNSUPPORTED_FEATURE", "Volume operations need a SQL connector.", "0A000")
            return Result(result.table.slice(0, limit), result.affected_rows) if limit else result

        operation = self._sessions.start(client.id, work)
        if not operation.wait(wait) and body.get("on_wait_timeout") == "CANCEL":
            operation.cancel()
        return _described(operation)

    def _operation(self, request: Request) -> Operation:
        statement_id = request.path_params["id"]
        try:
            return self._sessions.operation(statement_id)
        except UnknownHandle:
            raise not_found(f"The statement {statement_id} was not found.") from None

    async def _get(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(_described, self._operation(request)))

    async def _cancel(self, request: Request) -> Response:
        await run_in_threadpool(self._operation(request).cancel)
        return JSONResponse({})

    async def _chunk(self, request: Request) -> Response:
        operation = self._operation(request)
        if operation.state is not State.SUCCEEDED or request.path_params["chunk"] != 0:
            raise invalid("there is no such chunk")
        described = await run_in_threadpool(_described, operation)
        return JSONResponse(described["result"])


def _seconds(wait_timeout: str) -> int:
    found = re.fullmatch(r"(\d{1,2})s", wait_timeout)
    seconds = int(found[1]) if found else -1
    if seconds == 0 or _MIN_WAIT <= seconds <= _MAX_WAIT:
        return seconds
    raise invalid(f"wait_timeout must be 0s or between {_MIN_WAIT}s and {_MAX_WAIT}s, not {wait_timeout}")


def _parameter(given: Any) -> Parameter:
    if not isinstance(given, dict) or "name" not in given:
        raise invalid("every parameter needs a name")
    value = given.get("value")
    return Parameter(given["name"], given.get("type", "STRING"), None if value is None else str(value))


def _described(operation: Operation) -> dict[str, Any]:
    status: dict[str, Any] = {"state": operation.state.value}
    answer: dict[str, Any] = {"statement_id": operation.id, "status": status}
    if operation.state is State.FAILED and operation.error is not None:
        status["error"] = {"error_code": "BAD_REQUEST", "message": str(operation.error)}
        status["sql_state"] = operation.error.sqlstate
    if operation.state is State.SUCCEEDED and operation.result is not None:
        try:
            answer |= _rows(operation.result.table)
        except ApiError as error:
            answer["status"] = {
                "state": "FAILED",
                "error": {"error_code": error.error_code, "message": error.message},
            }
    return answer


def _rows(table: pa.Table) -> dict[str, Any]:
    if table.nbytes > INLINE_BYTES:
        raise invalid(f"Inline results are limited to {INLINE_BYTES} bytes; use a SQL connector for more.")
    kinds = [plain_type(field.type) for field in table.schema]
    columns = [
        [None if value is None else text(value, kind) for value in column.to_pylist()]
        for column, kind in zip(table.columns, kinds, strict=True)
    ]
    chunk = {"chunk_index": 0, "row_offset": 0, "row_count": table.num_rows}
    described = [
        _column(field.name, position, kind)
        for position, (field, kind) in enumerate(zip(table.schema, kinds, strict=True))
    ]
    return {
        "manifest": {
            "format": "JSON_ARRAY",
            "schema": {"column_count": table.num_columns, "columns": described},
            "total_chunk_count": 1,
            "chunks": [chunk],
            "total_row_count": table.num_rows,
            "truncated": False,
        },
        "result": {**chunk, "data_array": [list(row) for row in zip(*columns, strict=True)]},
    }


def _column(name: str, position: int, kind: pa.DataType) -> dict[str, Any]:
    type_name = next((found for fits, found in _TYPE_NAMES if fits(kind)), "STRING")
    described: dict[str, Any] = {"name": name, "position": position, "type_name": type_name}
    described["type_text"] = _SQL_NAMES.get(type_name, type_name)
    if type_name == "DECIMAL":
        described |= {"type_precision": kind.precision, "type_scale": kind.scale}
        described["type_text"] = f"DECIMAL({kind.precision},{kind.scale})"
    return described
