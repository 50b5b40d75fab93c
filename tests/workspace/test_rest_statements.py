"""The Statement Execution API through the real databricks-sdk, and through the connector's own client of it."""

import datetime
import json
import urllib.request
from typing import Any

import lz4.frame
import pyarrow as pa
import pytest
from databricks import sql
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound
from databricks.sdk.service.sql import (
    Disposition,
    ExecuteStatementRequestOnWaitTimeout,
    Format,
    StatementParameterListItem,
    StatementResponse,
    StatementState,
)

from dqctl.localworkspace.endpoint import Endpoint
from rest_clients import by_name, sdk_client, trusting

pytestmark = pytest.mark.local

# On one core: the others have better to do.
ENDLESS = "SELECT count(*) FROM range(0, 1000000000000, 1, 1) WHERE id * id % 7 = 3"
MANY = "SELECT id, concat('row ', id) AS text, CAST(id AS DECIMAL(10,2)) AS amount FROM range(600000) ORDER BY id"


@pytest.fixture(autouse=True)
def _by_name(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name(endpoint, monkeypatch)


@pytest.fixture
def client(endpoint: Endpoint) -> WorkspaceClient:
    return sdk_client(endpoint)


def run(client: WorkspaceClient, statement: str, **options: Any) -> StatementResponse:
    return client.statement_execution.execute_statement(statement, "local", wait_timeout="50s", **options)


def succeeded(answer: StatementResponse) -> tuple[Any, Any]:
    assert answer.status
    assert answer.status.state is StatementState.SUCCEEDED, answer.status
    assert answer.manifest
    assert answer.result
    return answer.manifest, answer.result


def fetched(endpoint: Endpoint, url: str) -> bytes:
    """What is behind an external link: by its own signature, without a token."""
    with urllib.request.build_opener(trusting(endpoint)).open(url, timeout=60) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.feature("REST", "Statement execution: the manifest names columns and types")
def test_the_manifest_tells_exactly_what_comes(client: WorkspaceClient) -> None:
    manifest, result = succeeded(
        run(
            client,
            "SELECT CAST(1 AS TINYINT) a, CAST(1 AS SMALLINT) b, 1 c, 1L d, 1.5F e, 1.5D f,"
            " CAST(1 AS DECIMAL(9,2)) g, 'x' h, true i, DATE'2024-02-29' j,"
            " TIMESTAMP'2024-02-29 12:30:00.123456' k, array(1) l,"
            " map('k', 1L) m, named_struct('One', 1, 'b', array('x')) n, CAST('x' AS BINARY) o, NULL p",
        )
    )
    columns = manifest.as_dict()["schema"]["columns"]
    assert [(each["name"], each["type_name"], each["type_text"]) for each in columns] == [
        ("a", "BYTE", "TINYINT"), ("b", "SHORT", "SMALLINT"), ("c", "INT", "INT"), ("d", "LONG", "BIGINT"),
        ("e", "FLOAT", "FLOAT"), ("f", "DOUBLE", "DOUBLE"), ("g", "DECIMAL", "DECIMAL(9,2)"),
        ("h", "STRING", "STRING"), ("i", "BOOLEAN", "BOOLEAN"), ("j", "DATE", "DATE"),
        ("k", "TIMESTAMP", "TIMESTAMP"), ("l", "ARRAY", "ARRAY<INT>"), ("m", "MAP", "MAP<STRING, BIGINT>"),
        ("n", "STRUCT", "STRUCT<One: INT, b: ARRAY<STRING>>"), ("o", "BINARY", "BINARY"), ("p", "NULL", "VOID"),
    ]  # fmt: skip
    assert (columns[6]["type_precision"], columns[6]["type_scale"]) == (9, 2)
    assert [each.get("position", 0) for each in columns] == list(range(16))
    assert (manifest.total_row_count, manifest.total_chunk_count, manifest.truncated) == (1, 1, False)
    assert result.data_array == [
        ["1", "1", "1", "1", "1.5", "1.5", "1.00", "x", "true", "2024-02-29", "2024-02-29T12:30:00.123456Z", "[1]",
         '{"k":1}', '{"One":1,"b":["x"]}', "eA==", None],
    ]  # fmt: skip


@pytest.mark.feature("REST", "Statement execution: no rows, and no columns")
def test_a_result_without_rows_is_one(client: WorkspaceClient) -> None:
    manifest, result = succeeded(run(client, "SELECT 1 AS one WHERE false"))
    assert (manifest.total_row_count, result.data_array or []) == (0, [])
    succeeded(run(client, "CREATE SCHEMA IF NOT EXISTS main.empty_answer"))


@pytest.mark.feature("REST", "Statement execution: EXTERNAL_LINKS as Arrow, in chunks")
def test_arrow_comes_in_chunks_behind_links(client: WorkspaceClient, endpoint: Endpoint) -> None:
    answer = run(client, MANY, disposition=Disposition.EXTERNAL_LINKS, format=Format.ARROW_STREAM)
    manifest, result = succeeded(answer)
    assert manifest.total_row_count == 600_000
    assert manifest.total_chunk_count > 1
    assert sum(chunk.row_count for chunk in manifest.chunks) == 600_000
    tables = []
    links = result.external_links
    while links:
        (link,) = links
        assert datetime.datetime.fromisoformat(link.expiration) > datetime.datetime.now(datetime.UTC)
        tables.append(pa.ipc.open_stream(fetched(endpoint, link.external_link)).read_all())
        assert tables[-1].num_rows == link.row_count
        if link.next_chunk_index is None:
            break
        links = client.statement_execution.get_statement_result_chunk_n(
            str(answer.statement_id), link.next_chunk_index
        ).external_links
    assert len(tables) == manifest.total_chunk_count
    whole = pa.concat_tables(tables)
    assert whole["id"].to_pylist() == list(range(600_000))
    assert whole.schema.field("amount").type == pa.decimal128(10, 2)
    with pytest.raises(BadRequest, match="There is no chunk"):
        client.statement_execution.get_statement_result_chunk_n(str(answer.statement_id), len(tables))


@pytest.mark.feature("REST", "Statement execution: EXTERNAL_LINKS, compressed as the drivers ask for it")
def test_what_is_behind_a_link_is_compressed_on_request(client: WorkspaceClient, endpoint: Endpoint) -> None:
    asked = {
        "statement": "SELECT id FROM range(1000) ORDER BY id", "warehouse_id": "local", "wait_timeout": "50s",
        "disposition": "EXTERNAL_LINKS", "format": "ARROW_STREAM", "result_compression": "LZ4_FRAME",
    }  # fmt: skip
    # By the path that the JDBC driver makes of an HTTP path with a slash before it.
    answer: Any = client.api_client.do("POST", "//api/2.0/sql/statements", body=asked)
    assert answer["manifest"]["result_compression"] == "LZ4_FRAME"
    content = fetched(endpoint, answer["result"]["external_links"][0]["external_link"])
    assert pa.ipc.open_stream(lz4.frame.decompress(content)).read_all().column("id").to_pylist() == [*range(1000)]
    with pytest.raises(BadRequest, match="result_compression"):
        client.api_client.do("POST", "/api/2.0/sql/statements", body={**asked, "result_compression": "ZIP"})


@pytest.mark.feature("REST", "Statement execution: EXTERNAL_LINKS as JSON and CSV")
def test_json_and_csv_come_behind_links_as_well(client: WorkspaceClient, endpoint: Endpoint) -> None:
    statement = "SELECT concat('id-', id) AS strCol, id AS intCol, NULL AS nullCol FROM range(2) ORDER BY id"
    found = {}
    for form in (Format.JSON_ARRAY, Format.CSV):
        _, result = succeeded(run(client, statement, disposition=Disposition.EXTERNAL_LINKS, format=form))
        found[form] = fetched(endpoint, result.external_links[0].external_link).decode()
    assert json.loads(found[Format.JSON_ARRAY]) == [["id-0", "0", None], ["id-1", "1", None]]
    assert found[Format.CSV].splitlines() == ["strCol,intCol,nullCol", "id-0,0,null", "id-1,1,null"]


@pytest.mark.feature("REST", "Statement execution: a link is good for its own chunk alone")
def test_a_link_that_was_changed_is_refused(client: WorkspaceClient, endpoint: Endpoint) -> None:
    first = run(client, "SELECT 1", disposition=Disposition.EXTERNAL_LINKS)
    other = run(client, "SELECT 2", disposition=Disposition.EXTERNAL_LINKS)
    _, result = succeeded(first)
    link = result.external_links[0].external_link
    for changed in (
        link.replace(str(first.statement_id), str(other.statement_id)),
        link.replace("expires=", "expires=9"),
        link.partition("?")[0],
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetched(endpoint, changed)
        refused.value.close()
        assert refused.value.code == 403
    assert json.loads(fetched(endpoint, link)) == [["1"]]


@pytest.mark.feature("REST", "Statement execution: parameters by their places")
def test_parameters_without_names_go_to_the_question_marks(client: WorkspaceClient) -> None:
    asked = {
        "statement": "SELECT ? AS a, ? AS b", "warehouse_id": "local", "wait_timeout": "50s",
        "parameters": [{"type": "INT", "value": "5"}, {"type": "STRING", "value": "x"}],
    }  # fmt: skip
    answer: Any = client.api_client.do("POST", "/api/2.0/sql/statements", body=asked)
    assert answer["result"]["data_array"] == [["5", "x"]]
    with pytest.raises(BadRequest, match="name"):
        client.api_client.do("POST", "/api/2.0/sql/statements", body={**asked, "parameters": [{"name": 5}]})


@pytest.mark.feature("REST", "Statement execution: row_limit and byte_limit")
def test_limits_cut_the_result_and_say_so(client: WorkspaceClient) -> None:
    manifest, result = succeeded(run(client, "SELECT id FROM range(10) ORDER BY id", row_limit=3))
    assert (manifest.truncated, manifest.total_row_count, result.data_array) == (True, 3, [["0"], ["1"], ["2"]])
    manifest, _ = succeeded(run(client, "SELECT id FROM range(10)", row_limit=10))
    assert (manifest.truncated, manifest.total_row_count) == (False, 10)
    manifest, _ = succeeded(run(client, "SELECT id FROM range(10)", row_limit=0))
    assert (manifest.truncated, manifest.total_row_count) == (True, 0)
    manifest, _ = succeeded(run(client, "SELECT id FROM range(1000) ORDER BY id", byte_limit=800))
    assert manifest.truncated
    assert 0 < manifest.total_row_count <= 100
    with pytest.raises(BadRequest, match="row_limit"):
        run(client, "SELECT 1", row_limit=-1)


@pytest.mark.feature("REST", "Statement execution: 25 MiB inline at most")
def test_what_is_too_large_for_inline_fails_and_comes_by_links(client: WorkspaceClient) -> None:
    large = "SELECT repeat('x', 1000) AS text FROM range(30000)"
    answer = run(client, large)
    assert answer.status
    assert answer.status.state is StatementState.FAILED
    assert answer.status.error
    assert "Inline byte limit exceeded" in str(answer.status.error.message)
    manifest, _ = succeeded(run(client, large, disposition=Disposition.EXTERNAL_LINKS))
    assert manifest.total_row_count == 30_000


@pytest.mark.feature("REST", "Statement execution: inline chunks by index")
def test_inline_chunks_are_linked_to_each_other(client: WorkspaceClient) -> None:
    answer = run(client, "SELECT id, repeat('x', 1000) AS text FROM range(20000) ORDER BY id")
    manifest, result = succeeded(answer)
    assert manifest.total_chunk_count > 1
    rows = list(result.data_array)
    while result.next_chunk_index:
        assert result.next_chunk_internal_link.endswith(f"/result/chunks/{result.next_chunk_index}")
        result = client.statement_execution.get_statement_result_chunk_n(
            str(answer.statement_id), result.next_chunk_index
        )
        assert result.row_offset == len(rows)
        rows += result.data_array
    assert [int(row[0]) for row in rows] == list(range(20_000))


@pytest.mark.feature("REST", "Statement execution: wait_timeout, on_wait_timeout, polling, cancel")
def test_a_statement_outlives_its_request_or_not(client: WorkspaceClient) -> None:
    statements = client.statement_execution
    cancelled = statements.execute_statement(
        ENDLESS, "local", wait_timeout="5s", on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CANCEL
    )
    assert cancelled.status
    assert cancelled.status.state is StatementState.CANCELED
    begun = statements.execute_statement(ENDLESS, "local", wait_timeout="0s")
    assert begun.status
    assert begun.status.state in (StatementState.PENDING, StatementState.RUNNING)
    statements.cancel_execution(str(begun.statement_id))
    found = statements.get_statement(str(begun.statement_id)).status
    assert found
    assert found.state is StatementState.CANCELED
    with pytest.raises(BadRequest, match="CANCELED"):
        statements.get_statement_result_chunk_n(str(begun.statement_id), 0)
    for refused in ("4s", "51s", "x", "5"):
        with pytest.raises(BadRequest, match="wait_timeout"):
            statements.execute_statement("SELECT 1", "local", wait_timeout=refused)


@pytest.mark.feature("REST", "Statement execution: errors, and statements that nobody knows")
def test_failures_are_told_apart(client: WorkspaceClient) -> None:
    failed = run(client, "SELECT * FROM nowhere").status
    assert failed
    assert (failed.state, failed.sql_state) == (StatementState.FAILED, "42P01")
    nowhere = run(client, "SELECT 1", catalog="nowhere").status
    assert nowhere
    assert nowhere.state is StatementState.FAILED
    for unknown in ("01ef0000-0000-1000-8000-000000000000", "nonsense"):
        with pytest.raises(NotFound):
            client.statement_execution.get_statement(unknown)
    with pytest.raises(NotFound):
        client.statement_execution.execute_statement("SELECT 1", "another")
    with pytest.raises(BadRequest, match="must be JSON_ARRAY"):
        run(client, "SELECT 1", format=Format.ARROW_STREAM)


@pytest.mark.feature("REST", "Statement execution: named parameters, catalog and schema")
def test_parameters_and_the_place_of_a_statement(client: WorkspaceClient) -> None:
    succeeded(run(client, "CREATE SCHEMA IF NOT EXISTS main.`pläce`"))
    _, result = succeeded(
        run(
            client,
            "SELECT current_schema(), :day + INTERVAL 1 DAY, :text, :nothing IS NULL",
            catalog="main",
            schema="pläce",
            parameters=[
                StatementParameterListItem("day", type="DATE", value="2024-02-28"),
                StatementParameterListItem("text", value="it's"),
                StatementParameterListItem("nothing", type="INT"),
            ],
        )
    )
    assert result.data_array == [["pläce", "2024-02-29", "it's", "true"]]


@pytest.mark.feature("Clients", "databricks-sql-connector with use_sea=True")
def test_the_connector_speaks_rest_when_it_is_told_to(endpoint: Endpoint) -> None:
    with (
        sql.connect(
            server_hostname=endpoint.host,
            http_path=endpoint.http_path,
            access_token=endpoint.token_file.read_text().strip(),
            use_sea=True,
            enable_telemetry=False,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("USE CATALOG main")
        cursor.execute("SELECT id, concat('row ', id) AS text FROM range(300000) ORDER BY id")
        rows = cursor.fetchall_arrow()
        assert rows["id"].to_pylist() == list(range(300_000))
        cursor.execute("SELECT :one + 1 AS two, DATE'2024-02-29'", {"one": 1})
        assert list(cursor.fetchone()) == [2, datetime.date(2024, 2, 29)]
