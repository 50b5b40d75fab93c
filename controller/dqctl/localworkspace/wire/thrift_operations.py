"""What Thrift tells about an operation: its status, the shape of its result, its rows."""

from typing import Any

from databricks.sql.thrift_api.TCLIService import ttypes

from dqctl.localworkspace.wire.sessions import Operation, State, UnknownHandle
from dqctl.localworkspace.wire.thrift_results import RowSets

T: Any = ttypes  # generated code, untyped

_STATES = {
    State.PENDING: T.TOperationState.PENDING_STATE,
    State.RUNNING: T.TOperationState.RUNNING_STATE,
    State.SUCCEEDED: T.TOperationState.FINISHED_STATE,
    State.FAILED: T.TOperationState.ERROR_STATE,
    State.CANCELED: T.TOperationState.CANCELED_STATE,
}


def success() -> Any:
    """``TStatus`` of a call that was carried out."""
    return T.TStatus(statusCode=T.TStatusCode.SUCCESS_STATUS)


def operation_status(operation: Operation) -> Any:
    """``TGetOperationStatusResp``."""
    answer = T.TGetOperationStatusResp(
        status=success(),
        operationState=_STATES[operation.state],
        operationStarted=int(operation.started_at * 1000),
        hasResultSet=True,
    )
    if operation.finished_at is not None:
        answer.operationCompleted = int(operation.finished_at * 1000)
    if operation.error is not None:
        answer.sqlState = operation.error.sqlstate
        answer.errorMessage = answer.displayMessage = str(operation.error)
        answer.diagnosticInfo = f"Error running query: {operation.error}"
    if operation.result is not None:
        answer.numModifiedRows = operation.result.affected_rows
    return answer


def _row_sets(operation: Operation) -> RowSets:
    if operation.delivery is None:
        if operation.result is None:
            raise UnknownHandle(f"Operation {operation.id} has no result")
        operation.delivery = RowSets(operation.result.table, **operation.wire_format)
    rows: RowSets = operation.delivery
    return rows


def metadata(operation: Operation) -> Any:
    """``TGetResultSetMetadataResp``; ``UnknownHandle`` when there is no result."""
    is_staging = operation.result is not None and operation.result.staging is not None
    return _row_sets(operation).metadata(is_staging=is_staging)


def next_rows(operation: Operation, max_rows: int | None, max_bytes: int | None) -> Any:
    """``TFetchResultsResp`` with the next rows; ``UnknownHandle`` when there is no result."""
    rows = _row_sets(operation)
    row_set, count = rows.fetch(operation.offset, max_rows, max_bytes)
    operation.offset += count
    return T.TFetchResultsResp(status=success(), hasMoreRows=operation.offset < rows.num_rows, results=row_set)
