"""The Thrift service over a real lakehouse, called as the connectors call it, without a network between."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from dqctl.localworkspace import overflow
from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.tokens import Signer
from dqctl.localworkspace.wire import application
from dqctl.localworkspace.wire.failures import ApiError
from dqctl.localworkspace.wire.sessions import Sessions
from dqctl.localworkspace.wire.staging import Staging
from dqctl.localworkspace.wire.thrift_service import ThriftService

T: Any = ttypes
CODES = T.TStatusCode
UNDER_WAY = (T.TOperationState.PENDING_STATE, T.TOperationState.RUNNING_STATE)
OPENING = b"\x80\x01\x00\x01\x00\x00\x00\x0bOpenSession" + bytes(4)
DIRECT = T.TSparkGetDirectResults(maxRows=100_000, maxBytes=10**8)


class Wire:
    """One session, each call through the processor and back."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self.sessions = Sessions(lakehouse)
        self.service = ThriftService(self.sessions, "local", Staging(Signer(b"k" * 32), "https://here"))
        self.client: Any = None
        self.handle = self.call("OpenSession", T.TOpenSessionReq(configuration={})).sessionHandle

    def call(self, name: str, request: Any) -> Any:
        sent = TMemoryBuffer()
        client: Any = TCLIService.Client(TBinaryProtocol(sent))
        getattr(client, f"send_{name}")(request)
        answer = application._process(self.service, sent.getvalue())
        unbounded = {"string_length_limit": None, "container_length_limit": None}
        reader: Any = TCLIService.Client(TBinaryProtocol(TMemoryBuffer(answer), **unbounded))
        return getattr(reader, f"recv_{name}")()

    def metadata(self, name: str, **wanted: object) -> list[dict[str, Any]]:
        """The rows of a metadata call, which come as columns."""
        request = getattr(T, f"T{name}Req")(sessionHandle=self.handle, getDirectResults=DIRECT, **wanted)
        answer = self.call(name, request)
        assert answer.status.statusCode == CODES.SUCCESS_STATUS, answer.status.errorMessage
        described, (part,) = self.fetched(answer)
        names = [column.columnName for column in described.schema.columns]
        carried = [next(filter(None, vars(column).values())) for column in part.columns]
        columns = [
            [None if each.nulls[row >> 3] >> (row & 7) & 1 else value for row, value in enumerate(each.values)]
            for each in carried
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def execute(self, statement: str, **options: object) -> Any:
        wanted = {"getDirectResults": DIRECT, "canReadArrowResult": True, **options}
        request = T.TExecuteStatementReq(sessionHandle=self.handle, statement=statement, **wanted)
        return self.call("ExecuteStatement", request)

    def status(self, answer: Any) -> Any:
        """How a statement ended; a minute is more than any needs here."""
        status, deadline = answer.directResults.operationStatus, time.monotonic() + 60
        while status.operationState in UNDER_WAY:
            assert time.monotonic() < deadline
            status = self.call("GetOperationStatus", T.TGetOperationStatusReq(answer.operationHandle))
        return status

    def fetched(self, answer: Any) -> tuple[Any, list[Any]]:
        """What describes a result, and its row sets: what came with the answer if it was quick, and the rest."""
        status = self.status(answer)
        assert status.operationState == T.TOperationState.FINISHED_STATE, status.errorMessage
        row_sets, more, described = [], True, answer.directResults.resultSetMetadata
        if answer.directResults.resultSet is not None:
            row_sets, more = [answer.directResults.resultSet.results], answer.directResults.resultSet.hasMoreRows
        while more:
            request = T.TFetchResultsReq(answer.operationHandle, maxRows=100_000, includeResultSetMetadata=True)
            part = self.call("FetchResults", request)
            row_sets.append(part.results)
            described, more = part.resultSetMetadata, part.hasMoreRows
        self.close(answer)
        return described, row_sets

    def table(self, statement: str, **options: object) -> pa.Table:
        """All rows of a statement."""
        described, row_sets = self.fetched(self.execute(statement, **options))
        schema = pa.ipc.read_schema(pa.py_buffer(described.arrowSchema))
        batches = [each.batch for row_set in row_sets for each in row_set.arrowBatches]
        return pa.Table.from_batches(
            [pa.ipc.read_record_batch(pa.py_buffer(each), schema) for each in batches], schema
        )

    def close(self, answer: Any) -> None:
        self.call("CloseOperation", T.TCloseOperationReq(answer.operationHandle))


@pytest.fixture(scope="module")
def wire(lakehouse: Lakehouse) -> Iterator[Wire]:
    made = Wire(lakehouse)
    yield made
    made.sessions.close_all()


@pytest.fixture
def keys(wire: Wire, connect: Callable[..., Any]) -> str:
    """A schema with a parent and a child."""
    client = connect()
    client.execute("CREATE TABLE parent (a INT NOT NULL, b STRING NOT NULL, CONSTRAINT pk PRIMARY KEY (a, b))")
    client.execute(
        "CREATE TABLE child (id BIGINT, x INT, y STRING, "
        "CONSTRAINT fk FOREIGN KEY (x, y) REFERENCES parent (a, b))"
    )
    client.execute("CREATE FUNCTION twice(n INT) RETURNS INT RETURN n * 2")
    name: str = client.session.schema
    return name


@pytest.mark.feature("Clients", "GetPrimaryKeys")
def test_primary_keys_are_listed_column_by_column(wire: Wire, keys: str) -> None:
    rows = wire.metadata("GetPrimaryKeys", catalogName="main", schemaName=keys, tableName="parent")
    assert [(row["TABLE_NAME"], row["COLUMN_NAME"], row["KEQ_SEQ"], row["PK_NAME"]) for row in rows] == [
        ("parent", "a", 1, "pk"),
        ("parent", "b", 2, "pk"),
    ]


@pytest.mark.feature("Clients", "GetCrossReference")
def test_foreign_keys_are_found_from_both_ends(wire: Wire, keys: str) -> None:
    ends = [
        {"foreignCatalogName": "main", "foreignSchemaName": keys, "foreignTableName": "child"},
        {"parentCatalogName": "main", "parentSchemaName": keys, "parentTableName": "parent"},
    ]
    for end in ends:
        rows = wire.metadata("GetCrossReference", **end)
        assert [(row["PKCOLUMN_NAME"], row["FKCOLUMN_NAME"], row["FK_NAME"], row["PK_NAME"]) for row in rows] == [
            ("a", "x", "fk", "pk"),
            ("b", "y", "fk", "pk"),
        ]
    nobody = {"parentCatalogName": "main", "parentSchemaName": keys, "parentTableName": "child"}
    assert wire.metadata("GetCrossReference", **nobody) == []


@pytest.mark.feature("Clients", "GetFunctions")
def test_functions_are_found_by_pattern(wire: Wire, keys: str) -> None:
    (row,) = wire.metadata("GetFunctions", catalogName="main", schemaName=keys, functionName="tw%")
    assert (row["FUNCTION_SCHEM"], row["FUNCTION_NAME"]) == (keys, "twice")


@pytest.mark.feature("Clients", "GetTypeInfo and GetTableTypes")
def test_types_are_described_as_jdbc_describes_them(wire: Wire) -> None:
    types = {row["TYPE_NAME"]: row for row in wire.metadata("GetTypeInfo")}
    assert types["DECIMAL"]["DATA_TYPE"] == 3
    assert types["DECIMAL"]["PRECISION"] == types["DECIMAL"]["MAXIMUM_SCALE"] == 38
    assert types["STRING"]["LITERAL_PREFIX"] == "'"
    assert [row["TABLE_TYPE"] for row in wire.metadata("GetTableTypes")] == ["TABLE", "VIEW"]


@pytest.mark.feature("Clients", "GetColumns with complex types")
def test_complex_columns_keep_the_case_of_their_fields(wire: Wire, connect: Callable[..., Any]) -> None:
    client = connect()
    client.execute("CREATE TABLE t (s STRUCT<Name: STRING, age: INT>, m MAP<STRING, ARRAY<DECIMAL(10, 2)>>)")
    rows = wire.metadata("GetColumns", catalogName="main", schemaName=client.session.schema, tableName="t")
    assert [row["TYPE_NAME"] for row in rows] == [
        "STRUCT<Name: STRING, age: INT>",
        "MAP<STRING, ARRAY<DECIMAL(10,2)>>",
    ]


def argument(kind: str, value: str | None = None, *parts: Any) -> Any:
    return T.TSparkParameterValueArg(type=kind, value=value, arguments=list(parts) or None)


@pytest.mark.feature("Clients", "Parameters of complex types")
def test_arrays_and_maps_are_parameters(wire: Wire) -> None:
    numbers = [argument("INT", "1"), argument("VOID"), argument("INT", "3")]
    pair = [argument("STRING", "it's"), argument("ARRAY", None, argument("DATE", "2024-02-29"))]
    parameters = [
        T.TSparkParameter(name="a", type="ARRAY", arguments=numbers),
        T.TSparkParameter(name="m", type="MAP", arguments=pair),
    ]
    (row,) = wire.table("SELECT :a AS a, size(:m) AS n, :m['it\\'s'][0] AS d", parameters=parameters).to_pylist()
    assert (row["a"], row["n"], row["d"].isoformat()) == ([1, None, 3], 1, "2024-02-29")


@pytest.mark.feature("Limits", "The size of all parameters together")
def test_the_parts_of_a_complex_parameter_count(wire: Wire) -> None:
    parts = [argument("STRING", "x" * 200_000) for _ in range(6)]
    refused = wire.execute("SELECT size(?)", parameters=[T.TSparkParameter(type="ARRAY", arguments=parts)])
    assert refused.status.statusCode == CODES.ERROR_STATUS
    assert "1200000 bytes" in refused.status.errorMessage


@pytest.mark.feature("Clients", "Timestamps in the session's time zone")
@pytest.mark.parametrize(
    ("zone", "label"), [("UTC", "Etc/UTC"), ("Europe/Amsterdam", "Europe/Amsterdam"), ("GMT+2", "+02:00")]
)
def test_timestamps_carry_the_zone_of_their_session(wire: Wire, zone: str, label: str) -> None:
    wire.table(f"SET TIME ZONE '{zone}'")
    try:
        found = wire.table(
            "SELECT timestamp'2022-07-01 12:00:00' AS t, array(timestamp'2022-07-01 12:00:00') AS l"
        )
        as_text = T.TSparkArrowTypes(timestampAsArrow=False, decimalAsArrow=True, complexTypesAsArrow=True)
        text = wire.table("SELECT timestamp'2022-07-01 12:00:00' AS t", useArrowNativeTypes=as_text)
    finally:
        wire.table("SET TIME ZONE 'UTC'")
    assert found.schema.field("t").type == pa.timestamp("us", label)
    assert found.column("t")[0].as_py().hour == found.column("l")[0].as_py()[0].hour == 12
    assert text.column("t").to_pylist() == ["2022-07-01 12:00:00"]


def gone(before: int) -> None:
    """The thread that ran a statement may hold its result for a moment longer."""
    deadline = time.monotonic() + 60
    while len(overflow._mapped) > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.feature("Limits", "Large results")
def test_a_large_result_comes_whole_and_in_order_and_is_freed(wire: Wire) -> None:
    before = len(overflow._mapped)
    found = wire.table("SELECT id, repeat('x', 90) AS t FROM range(600000) ORDER BY id")
    assert found.column("id").to_pylist() == list(range(600_000))
    gone(before)


@pytest.mark.feature("Limits", "Large results")
def test_a_result_that_nobody_reads_goes_with_its_operation(wire: Wire) -> None:
    before = len(overflow._mapped)
    answer = wire.execute("SELECT id, repeat('x', 90) AS t FROM range(600000)")
    wire.status(answer)
    assert len(overflow._mapped) == before + 1
    wire.close(answer)
    gone(before)


@pytest.mark.feature("Limits", "Large results")
def test_a_failure_in_the_last_row_is_the_statement_s(wire: Wire) -> None:
    answer = wire.execute("SELECT id, 1 / (id - 599999) AS d, repeat('x', 90) AS t FROM range(600000)")
    status = wire.status(answer)
    assert status.operationState == T.TOperationState.ERROR_STATE
    assert status.sqlState == "22012"
    assert answer.directResults.resultSet is None
    wire.close(answer)


@pytest.mark.feature("Faults", "Unknown handles")
def test_unknown_and_missing_handles_are_refused(wire: Wire) -> None:
    unknown = T.THandleIdentifier(guid=b"x" * 16, secret=b"y" * 16)
    operation = T.TOperationHandle(operationId=unknown, operationType=0, hasResultSet=True)
    session = T.TSessionHandle(sessionId=unknown, serverProtocolVersion=1)
    calls = [
        ("ExecuteStatement", T.TExecuteStatementReq(sessionHandle=session, statement="SELECT 1")),
        ("GetOperationStatus", T.TGetOperationStatusReq(operationHandle=operation)),
        ("FetchResults", T.TFetchResultsReq(operationHandle=operation, orientation=0, maxRows=1)),
        ("GetResultSetMetadata", T.TGetResultSetMetadataReq(operationHandle=operation)),
    ]
    for name, request in calls:
        assert wire.call(name, request).status.statusCode == CODES.INVALID_HANDLE_STATUS, name
    assert wire.table("SELECT 1 AS one").to_pylist() == [{"one": 1}]


@pytest.mark.feature("Faults", "Malformed Thrift")
def test_whatever_bytes_come_they_are_refused_or_answered_without_harm(wire: Wire) -> None:
    sent = TMemoryBuffer()
    client: Any = TCLIService.Client(TBinaryProtocol(sent))
    parameter = T.TSparkParameter(name="a", type="INT", value=T.TSparkParameterValue(stringValue="1"))
    client.send_ExecuteStatement(
        T.TExecuteStatementReq(
            sessionHandle=another_session(wire),
            statement="SELECT :a",
            getDirectResults=DIRECT,
            parameters=[parameter],
        )
    )
    genuine = sent.getvalue()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.tuples(st.integers(0, len(genuine) - 1), st.binary(max_size=6)).map(
                lambda change: genuine[: change[0]] + change[1] + genuine[change[0] + len(change[1]) :]
            ),
            st.integers(0, len(genuine)).map(lambda length: genuine[:length]),
        )
    )
    def harmless(body: bytes) -> None:
        with contextlib.suppress(ApiError):  # the refusal; all else is an answer, or breaks this test
            application._process(wire.service, body)

    harmless()
    assert wire.table("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def another_session(wire: Wire) -> Any:
    """A session of its own: what the bytes do to it is nobody's loss."""
    return wire.call("OpenSession", T.TOpenSessionReq(configuration={})).sessionHandle


@pytest.mark.feature("Faults", "Malformed Thrift")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(OPENING + b"\x0c\x00\x01" * 5000, id="deep"),
        pytest.param(b"\x80\x01\x00\x01\x7f\xff\xff\xff", id="a long name"),
        pytest.param(
            OPENING + b"\x0f\x00\x63\x00\x7f\xff\xff\xff",
            id="an endless list of nothing",
        ),
    ],
)
def test_a_body_that_is_no_call_is_refused_at_once(wire: Wire, body: bytes) -> None:
    with pytest.raises(ApiError, match="no Thrift call"):
        application._process(wire.service, body)
