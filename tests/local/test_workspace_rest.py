"""The real databricks-sdk through the proxy, and what everybody else gets there."""

import http.client
import io
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from databricks import sql
from databricks.sdk import WorkspaceClient, errors
from databricks.sdk.core import Config, oauth_service_principal
from databricks.sdk.errors import AlreadyExists, BadRequest, NotFound, PermissionDenied
from databricks.sdk.service.sql import EndpointConfPair, RepeatedEndpointConfPairs, State, StatementState
from pydantic import SecretStr

from dqctl.databricks.target import PersonalToken, Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.localworkspace.endpoint import Endpoint
from workspaces import running_workspace

pytestmark = [
    pytest.mark.local,
    pytest.mark.feature("Clients", "databricks-sdk"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running:
        yield running


@pytest.fixture(autouse=True)
def _by_name(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", endpoint.proxy_url)
    monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(endpoint.ca_file))
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client(endpoint: Endpoint) -> WorkspaceClient:
    return WorkspaceClient(
        host=f"https://{endpoint.host}",
        token=endpoint.token_file.read_text().strip(),
        auth_type="pat",
    )


def principal(endpoint: Endpoint) -> dict[str, str]:
    found: dict[str, str] = json.loads((endpoint.data_dir / "server" / "service-principal.json").read_text())
    return found


def request(
    endpoint: Endpoint, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, Any]:
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    connection = http.client.HTTPSConnection(endpoint.address, endpoint.port, timeout=30, context=context)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, answer.headers, json.loads(content) if content else None
    finally:
        connection.close()


def test_the_sdk_finds_who_it_is_and_the_warehouse(client: WorkspaceClient, endpoint: Endpoint) -> None:
    assert client.current_user.me().active is True
    (warehouse,) = client.warehouses.list()
    assert warehouse.id
    found = client.warehouses.get(warehouse.id)
    assert found.odbc_params is not None
    assert (found.odbc_params.hostname, found.odbc_params.port) == (endpoint.host, 443)
    assert found.odbc_params.path == endpoint.http_path
    client.warehouses.start(warehouse.id).result()
    with pytest.raises(NotFound):
        client.warehouses.get("another")


def test_statements_run_inline_with_parameters_and_types(client: WorkspaceClient) -> None:
    answer = client.statement_execution.execute_statement(
        "SELECT 1 AS n, DATE'2024-02-29' AS d, array(1, 2) AS a, CAST(NULL AS STRING) AS nothing, true AS yes",
        warehouse_id="local",
    )
    assert answer.status is not None
    assert answer.status.state is StatementState.SUCCEEDED
    assert answer.manifest is not None
    assert answer.manifest.schema is not None
    columns = [column.type_text for column in answer.manifest.schema.columns or []]
    assert columns == ["INT", "DATE", "ARRAY<INT>", "STRING", "BOOLEAN"]
    assert answer.result is not None
    assert answer.result.data_array == [["1", "2024-02-29", "[1,2]", None, "true"]]


def test_a_failing_statement_is_told_in_its_status(client: WorkspaceClient) -> None:
    answer = client.statement_execution.execute_statement("SELECT * FROM nowhere", warehouse_id="local")
    assert answer.status is not None
    assert answer.status.state is StatementState.FAILED
    assert answer.status.error is not None
    assert "TABLE_OR_VIEW_NOT_FOUND" in (answer.status.error.message or "")


def test_a_long_statement_is_polled_and_cancelled(client: WorkspaceClient) -> None:
    statements = client.statement_execution
    endless = "SELECT count(*) FROM range(100000000) a CROSS JOIN range(100000) b WHERE a.id * b.id % 7 = 3"
    begun = statements.execute_statement(endless, warehouse_id="local", wait_timeout="0s")
    assert begun.statement_id is not None
    time.sleep(0.5)
    found = statements.get_statement(begun.statement_id).status
    assert found is not None
    assert found.state is StatementState.RUNNING
    statements.cancel_execution(begun.statement_id)
    found = statements.get_statement(begun.statement_id).status
    assert found is not None
    assert found.state is StatementState.CANCELED


def test_catalogs_schemas_and_tables_are_listed(client: WorkspaceClient) -> None:
    for statement in (
        "CREATE SCHEMA IF NOT EXISTS main.listed",
        "CREATE SCHEMA IF NOT EXISTS main.listedx",
        "CREATE OR REPLACE TABLE main.listed.a_b AS SELECT 1 AS one, 'x' AS text",
        "CREATE OR REPLACE TABLE main.listed.axb AS SELECT 1 AS one",
    ):
        client.statement_execution.execute_statement(statement, warehouse_id="local")
    assert [catalog.name for catalog in client.catalogs.list()] == ["main"]
    assert {"listed", "listedx"} <= {schema.name for schema in client.schemas.list("main")}
    assert [table.full_name for table in client.tables.list("main", "listed")] == [
        "main.listed.a_b",
        "main.listed.axb",
    ]
    table = client.tables.get("main.listed.a_b")
    assert [(column.name, column.type_text) for column in table.columns or []] == [
        ("one", "int"),
        ("text", "string"),
    ]
    with pytest.raises(NotFound):
        client.schemas.get("main.nowhere")


def test_files_of_a_volume_come_and_go(client: WorkspaceClient) -> None:
    for statement in ("CREATE SCHEMA IF NOT EXISTS main.filed", "CREATE VOLUME IF NOT EXISTS main.filed.v"):
        client.statement_execution.execute_statement(statement, warehouse_id="local")
    path = "/Volumes/main/filed/v/a b/ü.bin"
    content = bytes(range(256)) * 5000
    client.files.upload(path, io.BytesIO(content))
    with pytest.raises(AlreadyExists):
        client.files.upload(path, io.BytesIO(b"other"))
    contents = client.files.download(path).contents
    assert contents is not None
    assert contents.read() == content
    assert client.files.get_metadata(path).content_length == len(content)
    client.files.create_directory("/Volumes/main/filed/v/empty")
    listed = {
        entry.path: entry.file_size for entry in client.files.list_directory_contents("/Volumes/main/filed/v/a b")
    }
    assert listed == {path: len(content)}
    client.files.delete_directory("/Volumes/main/filed/v/empty")
    client.files.delete(path)
    with pytest.raises(NotFound):
        client.files.get_metadata(path)


@pytest.mark.parametrize(
    "path",
    ["/Volumes/main/filed/v/../../../../server/token", "/Volumes/../server/token", "/etc/passwd", "/Volumes"],
)
def test_no_path_leads_out_of_a_volume(endpoint: Endpoint, path: str) -> None:
    bearer = {"Authorization": f"Bearer {endpoint.token_file.read_text().strip()}"}
    for escaped in (path, path.replace("..", "%2e%2e"), path.replace("/..", "%2f..")):
        status, _, body = request(endpoint, "GET", f"/api/2.0/fs/files{escaped}", headers=bearer)
        assert status in (400, 404, 501), (escaped, body)


def test_the_warehouses_settings_are_those_of_the_sdk(client: WorkspaceClient) -> None:
    client.warehouses.set_workspace_warehouse_config(
        sql_configuration_parameters=RepeatedEndpointConfPairs(
            configuration_pairs=[EndpointConfPair(key="ANSI_MODE", value="false")]
        )
    )
    answer = client.statement_execution.execute_statement("SELECT 1 / 0", warehouse_id="local")
    assert answer.result is not None
    assert answer.result.data_array == [[None]]
    client.warehouses.set_workspace_warehouse_config(sql_configuration_parameters=RepeatedEndpointConfPairs())
    answer = client.statement_execution.execute_statement("SELECT 1 / 0", warehouse_id="local")
    assert answer.status is not None
    assert answer.status.state is StatementState.FAILED


def test_what_is_not_there_is_named(client: WorkspaceClient) -> None:
    with pytest.raises(errors.NotImplemented, match="/jobs/list is not implemented by the local workspace"):
        list(client.jobs.list())


def test_a_service_principal_logs_in_with_sdk_and_connector(endpoint: Endpoint) -> None:
    credentials = principal(endpoint)
    client = WorkspaceClient(host=f"https://{endpoint.host}", auth_type="oauth-m2m", **credentials)
    assert client.current_user.me().user_name == credentials["client_id"]

    def provider() -> Any:
        return oauth_service_principal(
            Config(host=f"https://{endpoint.host}", auth_type="oauth-m2m", **credentials)
        )

    with (
        sql.connect(
            server_hostname=endpoint.host, http_path=endpoint.http_path, credentials_provider=provider
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 7")
        assert cursor.fetchall()[0][0] == 7


def test_a_wrong_secret_gets_no_token(endpoint: Endpoint) -> None:
    client_id = principal(endpoint)["client_id"]
    body = f"grant_type=client_credentials&client_id={client_id}&client_secret=wrong".encode()
    status, _, answer = request(endpoint, "POST", "/oidc/v1/token", body=body)
    assert (status, answer["error"]) == (401, "invalid_client")


def test_refusals_have_databricks_shapes(endpoint: Endpoint) -> None:
    path = "/api/2.0/sql/warehouses"
    status, _, answer = request(endpoint, "GET", path)
    assert (status, set(answer)) == (401, {"error_code", "message", "details"})
    status, headers, answer = request(endpoint, "GET", path, headers={"Authorization": "Bearer dapi0"})
    assert (status, answer["message"]) == (403, "Invalid access token.")
    assert headers["x-databricks-reason-phrase"] == "Invalid access token."
    client = WorkspaceClient(host=f"https://{endpoint.host}", token="dapi0", auth_type="pat")
    with pytest.raises(PermissionDenied):
        client.current_user.me()


def test_the_proxy_refuses_everything_else_at_once(endpoint: Endpoint) -> None:
    proxy = urlsplit(endpoint.proxy_url)
    for target in ("example.com:443", f"{endpoint.host}:80", "127.0.0.1:22", f"{endpoint.host}.evil.com:443"):
        connection = http.client.HTTPConnection(str(proxy.hostname), proxy.port, timeout=10)
        host, _, port = target.rpartition(":")
        connection.set_tunnel(host, int(port))
        began = time.monotonic()
        with pytest.raises(OSError, match="403"):
            connection.request("GET", "/")
        connection.close()
        assert time.monotonic() - began < 5  # it does not look for the host, which would take its timeout of 10 s


def test_warehouses_come_and_go_and_stop_one_by_one(client: WorkspaceClient, endpoint: Endpoint) -> None:
    made = client.warehouses.create(name="night", cluster_size="2X-Small", auto_stop_mins=10)
    made_id = str(made.response.id)
    assert made.result().state is not None
    try:
        assert {each.name for each in client.warehouses.list()} == {"local", "night"}
        client.warehouses.edit(made_id, name="night watch", auto_stop_mins=20)
        found = client.warehouses.get(made_id)
        assert (found.name, found.auto_stop_mins, found.cluster_size) == ("night watch", 20, "2X-Small")
        assert found.odbc_params
        with Warehouse(target_of(endpoint, "local")) as one, Warehouse(target_of(endpoint, made_id)) as other:
            assert str(found.odbc_params.path) == other.target.http_path
            one.execute("CREATE SCHEMA IF NOT EXISTS main.elsewhere")
            for each in (one, other):
                each.execute("USE main.elsewhere")
            client.warehouses.stop(made_id).result()
            states = {each.id: each.state for each in client.warehouses.list()}
            assert states == {"local": State.RUNNING, made_id: State.STOPPED}
            # The one that stopped starts by itself, without its session; the other knows nothing of it.
            where = [each.query("SELECT current_schema() AS s")["s"].to_pylist() for each in (one, other)]
            assert where == [["elsewhere"], ["default"]]
        answer = client.statement_execution.execute_statement("SELECT 7", warehouse_id=made_id)
        assert answer.result
        assert answer.result.data_array == [["7"]]
        with pytest.raises(BadRequest, match="already exists"):
            client.warehouses.create(name="night watch", cluster_size="2X-Small")
    finally:
        client.warehouses.delete(made_id)
    with pytest.raises(NotFound):
        client.warehouses.get(made_id)
    with pytest.raises(BadRequest, match="cannot be deleted"):
        client.warehouses.delete("local")


def target_of(endpoint: Endpoint, warehouse: str) -> Target:
    return Target(
        endpoint.address,
        f"/sql/1.0/warehouses/{warehouse}",
        "main",
        "default",
        PersonalToken(SecretStr(endpoint.token_file.read_text().strip())),
        port=endpoint.port,
        ca_file=endpoint.ca_file,
        patience=5.0,
        direct=True,
    )


def test_tokens_are_listed_without_what_they_are(client: WorkspaceClient, endpoint: Endpoint) -> None:
    (listed,) = client.tokens.list()
    assert listed.expiry_time == -1
    assert endpoint.token_file.read_text().strip() not in str(listed)
