"""The Thrift service that the SQL connectors call: ``TCLIService`` over ``Sessions``."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from dqctl.localworkspace.contract import Parameter, Result, Session, StatementError
from dqctl.localworkspace.wire.parameters import check_limits
from dqctl.localworkspace.wire.sessions import Operation, Sessions, State, UnknownHandle, Work
from dqctl.localworkspace.wire.staging import Staging
from dqctl.localworkspace.wire.thrift_operations import metadata, next_rows, operation_status, success
from dqctl.localworkspace.wire.type_info import type_info

logger = logging.getLogger(__name__)

T: Any = ttypes  # generated code, untyped

# The connector holds a lock while a request is under way, and its cancel() waits for that lock: every second
# spent here is a second that cancelling takes. It polls again at once, so short waits cost little.
DIRECT_RESULTS_WAIT = 1.0
STATUS_WAIT = 0.2

_PROTOCOL = T.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V8
_INFO = {
    T.TGetInfoType.CLI_SERVER_NAME: "Spark SQL",
    T.TGetInfoType.CLI_DBMS_NAME: "Spark SQL",
    T.TGetInfoType.CLI_DBMS_VER: "4.0.0",
    T.TGetInfoType.CLI_SEARCH_PATTERN_ESCAPE: "\\",
    T.TGetInfoType.CLI_IDENTIFIER_QUOTE_CHAR: "`",
}


def _failure(error: StatementError) -> Any:
    return T.TStatus(
        statusCode=T.TStatusCode.ERROR_STATUS,
        sqlState=error.sqlstate,
        errorMessage=str(error),
        displayMessage=str(error),
    )


def _answers(response: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turn the failures of a method into ``response`` with their status."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def answer(self: "ThriftService", request: Any) -> Any:
            try:
                if request is None:
                    raise StatementError("BAD_REQUEST", f"{method.__name__} came without its request.", "HY000")
                return method(self, request)
            except UnknownHandle as error:
                code = T.TStatusCode.INVALID_HANDLE_STATUS
                return response(status=T.TStatus(statusCode=code, errorMessage=str(error), sqlState="HY000"))
            except StatementError as error:
                return response(status=_failure(error))
            except Exception as error:  # the client gets an answer, the log the traceback
                logger.exception("%s failed inside the server", method.__name__)
                wrapped = StatementError("INTERNAL_ERROR", f"{type(error).__name__}: {error}", "XX000")
                return response(status=_failure(wrapped))

        return answer

    return decorate


class ThriftService:
    """Answers one client of ``warehouse``; ``staging`` makes the URLs that it can reach, ``failure`` is what a
    statement ends with.

    The methods are those of ``TCLIService.Iface``, whose request and response types say what they do.
    """

    def __init__(
        self, sessions: Sessions, warehouse: str, staging: Staging, failure: StatementError | None = None
    ) -> None:
        self._sessions = sessions
        self._warehouse = warehouse
        self._staging = staging
        self._failure = failure
        self.waited_for: str | None = None  # the operation whose end the request waited for

    @_answers(T.TOpenSessionResp)
    def OpenSession(self, request: Any) -> Any:  # noqa: N802, D102
        asked = request.initialNamespace
        # Settings of the old Thrift server's row sets are the wire's own; all others are the session's.
        configuration = {
            name: value
            for name, value in (request.configuration or {}).items()
            if not name.startswith("spark.thriftserver.")
        }
        client = self._sessions.open(
            asked.catalogName if asked else None,
            asked.schemaName if asked else None,
            configuration,
            self._warehouse,
        )
        handle = T.TSessionHandle(sessionId=_identifier(client.id), serverProtocolVersion=_PROTOCOL)
        return T.TOpenSessionResp(
            status=success(),
            serverProtocolVersion=_PROTOCOL,
            sessionHandle=handle,
            configuration={},
            canUseMultipleCatalogs=True,
            initialNamespace=T.TNamespace(catalogName=client.session.catalog, schemaName=client.session.schema),
        )

    @_answers(T.TCloseSessionResp)
    def CloseSession(self, request: Any) -> Any:  # noqa: N802, D102
        self._sessions.close(_session(request))
        return T.TCloseSessionResp(status=success())

    @_answers(T.TGetInfoResp)
    def GetInfo(self, request: Any) -> Any:  # noqa: N802, D102
        self._sessions.get(_session(request))
        if request.infoType not in _INFO:
            raise StatementError("UNSUPPORTED_FEATURE", f"GetInfo {request.infoType} is not supported.", "0A000")
        return T.TGetInfoResp(status=success(), infoValue=T.TGetInfoValue(stringValue=_INFO[request.infoType]))

    @_answers(T.TExecuteStatementResp)
    def ExecuteStatement(self, request: Any) -> Any:  # noqa: N802, D102
        self._sessions.get(_session(request))
        if request.statement is None:
            raise StatementError("BAD_REQUEST", "The request has no statement.", "42601")
        parameters = [_parameter(parameter) for parameter in request.parameters or ()]
        check_limits(request.statement, parameters)

        def work(session: Session) -> Result:
            if self._failure is not None:
                raise self._failure
            result = session.execute(request.statement, parameters)
            table = self._staging.row(result.staging) if result.staging else result.table
            if request.resultRowLimit:
                table = table.slice(0, request.resultRowLimit)
            return Result(table, result.affected_rows, result.staging)

        return self._start(
            T.TExecuteStatementResp,
            request,
            work,
            arrow=bool(request.canReadArrowResult),
            native=request.useArrowNativeTypes,
            lz4=bool(request.canDecompressLZ4Result),
        )

    def _metadata(self, response: Any, request: Any, rows: Callable[[Session], pa.Table]) -> Any:
        return self._start(response, request, lambda session: Result(rows(session)), arrow=False)

    @_answers(T.TGetCatalogsResp)
    def GetCatalogs(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(T.TGetCatalogsResp, request, lambda session: session.get_catalogs())

    @_answers(T.TGetSchemasResp)
    def GetSchemas(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(
            T.TGetSchemasResp,
            request,
            lambda session: session.get_schemas(request.catalogName, request.schemaName),
        )

    @_answers(T.TGetTablesResp)
    def GetTables(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(
            T.TGetTablesResp,
            request,
            lambda session: session.get_tables(
                request.catalogName, request.schemaName, request.tableName, request.tableTypes or None
            ),
        )

    @_answers(T.TGetColumnsResp)
    def GetColumns(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(
            T.TGetColumnsResp,
            request,
            lambda session: session.get_columns(
                request.catalogName, request.schemaName, request.tableName, request.columnName
            ),
        )

    @_answers(T.TGetTableTypesResp)
    def GetTableTypes(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(T.TGetTableTypesResp, request, lambda _: pa.table({"TABLE_TYPE": ["TABLE", "VIEW"]}))

    @_answers(T.TGetTypeInfoResp)
    def GetTypeInfo(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(T.TGetTypeInfoResp, request, lambda _: type_info())

    @_answers(T.TGetPrimaryKeysResp)
    def GetPrimaryKeys(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(
            T.TGetPrimaryKeysResp,
            request,
            lambda session: session.get_primary_keys(request.catalogName, request.schemaName, request.tableName),
        )

    @_answers(T.TGetCrossReferenceResp)
    def GetCrossReference(self, request: Any) -> Any:  # noqa: N802, D102
        parent = (request.parentCatalogName, request.parentSchemaName, request.parentTableName)
        foreign = (request.foreignCatalogName, request.foreignSchemaName, request.foreignTableName)
        return self._metadata(
            T.TGetCrossReferenceResp, request, lambda session: session.get_cross_reference(parent, foreign)
        )

    @_answers(T.TGetFunctionsResp)
    def GetFunctions(self, request: Any) -> Any:  # noqa: N802, D102
        return self._metadata(
            T.TGetFunctionsResp,
            request,
            lambda session: session.get_functions(request.catalogName, request.schemaName, request.functionName),
        )

    def _start(self, response: Any, request: Any, work: Work, *, arrow: bool, **wire_format: Any) -> Any:
        session_id = _session(request)
        operation = self._sessions.start(session_id, work, attended=bool(request.getDirectResults))
        operation.wire_format = {"arrow": arrow, **wire_format}
        self.waited_for = operation.id
        handle = T.TOperationHandle(
            operationId=_identifier(operation.id),
            operationType=T.TOperationType.EXECUTE_STATEMENT,
            hasResultSet=True,
        )
        direct = None
        if request.getDirectResults:
            is_settled = operation.wait(DIRECT_RESULTS_WAIT)
            direct = self._direct_results(operation, request.getDirectResults, is_settled)
        return response(status=success(), operationHandle=handle, directResults=direct)

    def _direct_results(self, operation: Operation, wanted: Any, is_settled: bool) -> Any:
        direct = T.TSparkDirectResults(operationStatus=operation_status(operation))
        if not is_settled:
            # Should it end at this very moment, the client comes for the rest: half of it must not be closed.
            return direct
        more = False
        if operation.state is State.SUCCEEDED:
            direct.resultSetMetadata = metadata(operation)
            direct.resultSet = next_rows(operation, wanted.maxRows, wanted.maxBytes)
            more = direct.resultSet.hasMoreRows
        if not more:
            self._sessions.close_operation(operation.id)
            direct.closeOperation = T.TCloseOperationResp(status=success())
        return direct

    @_answers(T.TGetOperationStatusResp)
    def GetOperationStatus(self, request: Any) -> Any:  # noqa: N802, D102
        operation = self._sessions.operation(_operation(request))
        self.waited_for = operation.id
        operation.wait(STATUS_WAIT)
        return operation_status(operation)

    @_answers(T.TGetResultSetMetadataResp)
    def GetResultSetMetadata(self, request: Any) -> Any:  # noqa: N802, D102
        return metadata(self._settled(request))

    @_answers(T.TFetchResultsResp)
    def FetchResults(self, request: Any) -> Any:  # noqa: N802, D102
        operation = self._settled(request)
        if request.startRowOffset is not None:
            operation.offset = request.startRowOffset
        elif request.orientation == T.TFetchOrientation.FETCH_FIRST:
            operation.offset = 0
        answer = next_rows(operation, request.maxRows, request.maxBytes)
        if request.includeResultSetMetadata:
            answer.resultSetMetadata = metadata(operation)
        return answer

    def _settled(self, request: Any) -> Operation:
        operation = self._sessions.operation(_operation(request))
        # The connector asks only after it saw the end; a client that asks too early waits, as on a warehouse.
        while not operation.wait(STATUS_WAIT):
            self._sessions.operation(operation.id)
        if operation.error is not None:
            raise operation.error
        return operation

    @_answers(T.TCancelOperationResp)
    def CancelOperation(self, request: Any) -> Any:  # noqa: N802, D102
        try:
            self._sessions.operation(_operation(request)).cancel()
        except UnknownHandle:
            logger.debug("cancelled an operation that is over")
        return T.TCancelOperationResp(status=success())

    @_answers(T.TCloseOperationResp)
    def CloseOperation(self, request: Any) -> Any:  # noqa: N802, D102
        self._sessions.close_operation(_operation(request))
        return T.TCloseOperationResp(status=success())


def _identifier(handle_id: str) -> Any:
    return T.THandleIdentifier(guid=bytes.fromhex(handle_id), secret=bytes(16))


def _session(request: Any) -> str:
    handle = request and request.sessionHandle
    return _id("SessionHandle", handle and handle.sessionId)


def _operation(request: Any) -> str:
    handle = request and request.operationHandle
    return _id("OperationHandle", handle and handle.operationId)


def _id(kind: str, identifier: Any) -> str:
    if identifier is None or identifier.guid is None:
        raise UnknownHandle(f"Invalid {kind}: it has no identifier")
    return bytes(identifier.guid).hex()


def _parameter(parameter: Any) -> Parameter:
    written = None
    if (value := parameter.value) is not None:
        given = [each for each in (value.stringValue, value.doubleValue, value.booleanValue) if each is not None]
        written = str(given[0]) if given else None
    return Parameter(parameter.name, parameter.type or "STRING", written, _arguments(parameter))


def _arguments(of: Any) -> tuple[Parameter, ...]:
    """The parts of a parameter of a complex type, each of which may be of such a type itself."""
    return tuple(
        Parameter(None, each.type or "STRING", each.value, _arguments(each)) for each in of.arguments or ()
    )
