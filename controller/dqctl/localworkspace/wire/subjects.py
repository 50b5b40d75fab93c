"""What a request is about, read from the outside: what faults are looked up by."""

import json
from typing import Any
from urllib.parse import unquote

from databricks.sql.thrift_api.TCLIService import TCLIService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TException
from thrift.transport.TTransport import TMemoryBuffer

from dqctl.localworkspace.faults import Kind
from dqctl.localworkspace.wire import presigned, staging

_THRIFT = "/sql/1.0/warehouses/"
_STATEMENTS = "/api/2.0/sql/statements"
_SESSIONS = "/api/2.0/sql/sessions"
_FILES = "/api/2.0/fs/files"
_RESULT_CALLS = ("GetOperationStatus", "GetResultSetMetadata", "FetchResults")
_Arguments: Any = TCLIService.ExecuteStatement_args  # generated code, untyped


def has_text(method: str, path: str) -> bool:
    """Whether the body says what the request is about, so that it has to be read first. Files are not."""
    return method == "POST" and (path.startswith(_THRIFT) or path.rstrip("/") == _STATEMENTS)


def needs_warehouse(kind: Kind) -> bool:
    """Whether a stopped warehouse is started for it."""
    return kind in (Kind.SESSION, Kind.STATEMENT, Kind.RESULT)


def warehouse_of(method: str, path: str, body: bytes) -> str | None:
    """The id of the warehouse that a request is for; None when it names none."""
    if path.startswith(_THRIFT):
        return path.removeprefix(_THRIFT)
    return _member(body, "warehouse_id") or None if has_text(method, path) else None


def subject_of(method: str, path: str, body: bytes) -> tuple[Kind, str]:
    """The kind of a request, and the text in which a fault's pattern is looked for."""
    if has_text(method, path):
        return _of_thrift(body) if path.startswith(_THRIFT) else (Kind.STATEMENT, _member(body, "statement"))
    if method == "POST" and path == _SESSIONS:
        return Kind.SESSION, ""
    for prefix in (staging.PATH, _FILES):
        if path.startswith(f"{prefix}/"):
            return Kind.FILE, f"{method} {unquote(path.removeprefix(prefix))}"
    if path.startswith(f"{presigned.PATH}/results/"):
        return Kind.RESULT, f"{method} {path}"
    if path.startswith(f"{presigned.PATH}/"):  # a part of an upload: what follows its token is the file
        return Kind.FILE, f"{method} {path.removeprefix(presigned.PATH)}"
    if path.startswith(_STATEMENTS):
        return Kind.RESULT, f"{method} {path}"
    return Kind.SIGN_IN if path == "/oidc/v1/token" else Kind.OTHER, f"{method} {path}"


def _of_thrift(body: bytes) -> tuple[Kind, str]:
    bounded = {"string_length_limit": len(body), "container_length_limit": len(body)}
    protocol = TBinaryProtocol(TMemoryBuffer(body), **bounded)
    try:
        name, _, _ = protocol.readMessageBegin()
        if name == "ExecuteStatement":
            arguments = _Arguments()
            arguments.read(protocol)
            return Kind.STATEMENT, str(arguments.req.statement)
    except (TException, EOFError, ValueError, TypeError, AttributeError, RecursionError):
        return Kind.OTHER, ""  # whoever carries it out says what is wrong with it
    if name == "OpenSession":
        return Kind.SESSION, ""
    return Kind.RESULT if name in _RESULT_CALLS else Kind.OTHER, str(name)


def _member(body: bytes, name: str) -> str:
    try:
        return str(json.loads(body)[name])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
