"""How Databricks words conflicts between writers of one table: found (``concurrency``) or made up (``faults``)."""

from collections.abc import Mapping

SQLSTATE = "2D521"

# docs.databricks.com/error-messages, the texts of 2026.
_FOUND = "Transaction conflict detected"
_ADDED = "A concurrent {operation} added data to table {table} committed at version {version}."
_DELETED = "a concurrent {operation} deleted data from table {table} (committed at version {version}) that this"
_APPEND = f"{_FOUND}. {_ADDED}"
_READ = f"{_FOUND}, {_DELETED} transaction read."
_DELETE = f"{_FOUND}, {_DELETED} transaction attempted to delete."
_GONE = "The concurrent operation deleted data that was read by this operation."
_AGAIN = "Please retry the operation."
_TRY = "Please try the operation again."
_NARROWER = "to narrow the data scope"
_CHANGED = "of the Delta table has been changed by a concurrent update."
_WORDING: Mapping[str, str] = {
    "DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES": f"{_APPEND} The concurrent operation modified the same rows that "
    f"this transaction attempted to modify. {_AGAIN}",
    "DELTA_CONCURRENT_APPEND.WHOLE_TABLE_READ": f"{_APPEND} This transaction attempted to read the entire table, "
    f"conflicting with the concurrent modification. Consider adding filters to your query {_NARROWER} or retrying "
    "the operation.",
    "DELTA_CONCURRENT_APPEND.WITHOUT_HINT": f"{_APPEND} {_AGAIN}",
    "DELTA_CONCURRENT_APPEND.WITH_PARTITION_HINT": f"{_APPEND} The concurrent operation modified data in "
    f"partition {{partition}} that this operation would have read. {_AGAIN}",
    "DELTA_CONCURRENT_DELETE_READ.WHOLE_TABLE_READ": f"{_READ} This transaction attempted to read the entire "
    f"table, conflicting with the concurrent deletion. Add filters to your query {_NARROWER} and retry the "
    "operation.",
    "DELTA_CONCURRENT_DELETE_READ.WITHOUT_HINT": f"{_READ} {_GONE} {_AGAIN}",
    "DELTA_CONCURRENT_DELETE_READ.WITH_PARTITION_HINT": f"{_READ} The concurrent operation deleted data in "
    f"partition {{partition}} that was read by this operation. {_AGAIN}",
    "DELTA_CONCURRENT_DELETE_DELETE": f"{_DELETE} {_AGAIN}",
    "DELTA_CONCURRENT_DELETE_DELETE.WITHOUT_HINT": f"{_DELETE} {_GONE} {_AGAIN}",
    "DELTA_CONCURRENT_TRANSACTION": "ConcurrentTransactionException: This error occurs when multiple streaming "
    "queries are using the same checkpoint to write into this table. Please try the operation again.",
    "DELTA_CONCURRENT_WRITE": "ConcurrentWriteException: A concurrent transaction has written new data since the "
    "current transaction read the table. Please try the operation again.",
    "DELTA_METADATA_CHANGED": f"MetadataChangedException: The metadata {_CHANGED} {_TRY}",
    "DELTA_PROTOCOL_CHANGED": f"ProtocolChangedException: The protocol version {_CHANGED} {_TRY}",
    "DELTA_PROTOCOL_CHANGED.WRITE_TO_EMPTY_DIRECTORY": f"ProtocolChangedException: The protocol version "
    f"{_CHANGED} This happens when multiple writers are writing to an empty directory. Creating the table ahead "
    "of time will avoid this conflict.",
}
CONFLICTS = tuple(_WORDING)


def wording(
    error_class: str, operation: str = "WRITE", table: str = "t", version: int = 7, partition: str = "[]"
) -> str:
    """The message of one of ``CONFLICTS``; ``KeyError`` for any other."""
    text = _WORDING[error_class].format(operation=operation, table=table, version=version, partition=partition)
    return f"{text} Refer to https://docs.databricks.com/delta/concurrency for more details."
