import json
from typing import Any

import pytest
from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from dqctl.localworkspace.faults import Kind
from dqctl.localworkspace.wire.subjects import has_text, needs_warehouse, subject_of

THRIFT = "/sql/1.0/warehouses/local"


def sent(call: str, request: Any) -> bytes:
    """What the connector's generated client puts into the body."""
    buffer = TMemoryBuffer()
    getattr(TCLIService.Client(TBinaryProtocol(buffer)), f"send_{call}")(request)
    written: bytes = buffer.getvalue()
    return written


HANDLE = ttypes.TSessionHandle(ttypes.THandleIdentifier(b"g" * 16, b"s" * 16))


def test_a_statement_is_found_in_both_doors() -> None:
    body = sent("ExecuteStatement", ttypes.TExecuteStatementReq(sessionHandle=HANDLE, statement="SELECT 'ü'"))
    assert subject_of("POST", THRIFT, body) == (Kind.STATEMENT, "SELECT 'ü'")
    rest = json.dumps({"statement": "SELECT 'ü'", "warehouse_id": "local"}).encode()
    assert subject_of("POST", "/api/2.0/sql/statements/", rest) == (Kind.STATEMENT, "SELECT 'ü'")


@pytest.mark.parametrize(
    ("call", "request_", "expected"),
    [
        ("OpenSession", ttypes.TOpenSessionReq(), (Kind.SESSION, "")),
        ("CloseSession", ttypes.TCloseSessionReq(HANDLE), (Kind.OTHER, "CloseSession")),
        ("FetchResults", ttypes.TFetchResultsReq(maxRows=1), (Kind.RESULT, "FetchResults")),
        ("GetOperationStatus", ttypes.TGetOperationStatusReq(), (Kind.RESULT, "GetOperationStatus")),
    ],
)
def test_other_calls_are_known_by_their_names(call: str, request_: Any, expected: tuple[Kind, str]) -> None:
    assert subject_of("POST", THRIFT, sent(call, request_)) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("PUT", "/staging/Volumes/c/s/v/a%20b.parquet", (Kind.FILE, "PUT /Volumes/c/s/v/a b.parquet")),
        ("DELETE", "/api/2.0/fs/files/Volumes/c/s/v/x", (Kind.FILE, "DELETE /Volumes/c/s/v/x")),
        ("GET", "/api/2.0/sql/statements/1f", (Kind.RESULT, "GET /api/2.0/sql/statements/1f")),
        ("POST", "/oidc/v1/token", (Kind.SIGN_IN, "POST /oidc/v1/token")),
        ("GET", "/api/2.0/sql/warehouses", (Kind.OTHER, "GET /api/2.0/sql/warehouses")),
    ],
)
def test_rest_is_known_by_method_and_path(method: str, path: str, expected: tuple[Kind, str]) -> None:
    assert not has_text(method, path)
    assert subject_of(method, path, b"") == expected


@pytest.mark.parametrize("body", [b"", b"no thrift", b"\x80\x01\x00\x01\xff\xff\xff\xff", b"\0" * 99])
def test_what_cannot_be_read_is_let_through(body: bytes) -> None:
    assert subject_of("POST", THRIFT, body)[0] is Kind.OTHER
    assert subject_of("POST", "/api/2.0/sql/statements", body) == (Kind.STATEMENT, "")


def test_only_work_starts_a_warehouse() -> None:
    assert {kind for kind in Kind if needs_warehouse(kind)} == {Kind.SESSION, Kind.STATEMENT, Kind.RESULT}
