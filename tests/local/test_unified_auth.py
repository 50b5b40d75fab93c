"""Signing in to a local workspace that is taken for a Databricks host; its warehouse by name; its scopes."""

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.workspace import AclPermission

from dqctl.databricks.auth import SdkAuth
from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import Target, resolve_target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, EnvironmentFault, UsageError
from dqctl.localworkspace import client
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault, Kind
from dqctl.services import access
from dqctl.services.doctor import examine
from dqctl.settings import load
from workspaces import running_workspace

pytestmark = pytest.mark.local
ME = "/api/2.0/preview/scim/v2/Me"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running:
        yield running


@pytest.fixture(autouse=True)
def _by_name(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HTTPS_PROXY", endpoint.proxy_url)
    monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.ca_file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(endpoint.ca_file))
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    client.clear_faults(endpoint)
    lifetime(endpoint, 3600)


def lifetime(endpoint: Endpoint, seconds: int) -> None:
    client.request(endpoint, "PUT", "/api/dqctl/oauth", {"token_lifetime": seconds}, 10)


@pytest.fixture
def where(endpoint: Endpoint) -> dict[str, str]:
    return {"DATABRICKS_HOST": endpoint.host, "DATABRICKS_WAREHOUSE_ID": "local"}


@pytest.fixture
def principal(endpoint: Endpoint) -> dict[str, str]:
    found = json.loads((endpoint.data_dir / "server" / "service-principal.json").read_text())
    return {"DATABRICKS_CLIENT_ID": found["client_id"], "DATABRICKS_CLIENT_SECRET": found["client_secret"]}


@pytest.fixture
def token(endpoint: Endpoint) -> dict[str, str]:
    return {"DATABRICKS_TOKEN_FILE": str(endpoint.token_file)}


def target_of(*variables: dict[str, str]) -> Target:
    environment: dict[str, str] = {}
    for each in variables:
        environment |= each
    return resolve_target(load({"home": Path("/nowhere")}, environment), environment=environment)


def who(target: Target) -> str:
    """As whom both of dqctl's ways to the workspace get in: a question over REST, and a statement."""
    me = RestApi(target, 10).get(ME)
    assert me.is_good, me.reason
    with Warehouse(target) as warehouse:
        assert warehouse.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    return str(me.document["userName"])


def test_a_token_and_a_service_principal_get_in(
    where: dict[str, str], token: dict[str, str], principal: dict[str, str]
) -> None:
    assert who(target_of(where, token)) == "owner@dqctl.invalid"
    assert who(target_of(where, principal)) == principal["DATABRICKS_CLIENT_ID"]


def test_a_profile_gets_in_and_what_it_holds_is_testgens_too(
    endpoint: Endpoint, principal: dict[str, str], tmp_path: Path
) -> None:
    client_id, secret = principal.values()
    file = tmp_path / "cfg"
    file.write_text(
        f"[night]\nhost = https://{endpoint.host}/\nclient_id = {client_id}\nclient_secret = {secret}\n"
        f"warehouse_id = local\n[day]\nhost = {endpoint.host}\ntoken = {endpoint.token_file.read_text().strip()}\n"
    )
    environment = {"DATABRICKS_CONFIG_FILE": str(file), "DATABRICKS_CONFIG_PROFILE": "night"}
    target = target_of(environment)
    assert who(target) == client_id
    given = access.as_workspace(target, target.host)
    assert (given.client_id, given.client_secret and given.client_secret.get_secret_value()) == (client_id, secret)
    day = target_of(environment | {"DATABRICKS_CONFIG_PROFILE": "day", "DQCTL_WAREHOUSE": "local"})
    assert who(day) == "owner@dqctl.invalid"


@contextlib.contextmanager
def metadata_service(token: str) -> Iterator[tuple[str, list[float]]]:
    """A metadata service as Databricks documents it; what it is asked is answered with the next end of a token."""
    ends: list[float] = []
    asked: list[float] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["X-Databricks-Metadata-Version"] == "1"
            asked.append(time.time())
            ends.append(time.time() + (41 if len(asked) == 1 else 3600))
            answer = {"access_token": token, "token_type": "Bearer", "expires_on": ends[-1]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()


def test_another_way_gets_in_by_the_sdk_and_its_tokens_are_renewed(
    endpoint: Endpoint, where: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SDK takes a token for expired 40 s before its end (0.156): the first one is fresh for a second.
    with metadata_service(endpoint.token_file.read_text().strip()) as (url, asked):
        monkeypatch.setenv("DATABRICKS_METADATA_SERVICE_URL", url)
        target = target_of(where, {"DATABRICKS_METADATA_SERVICE_URL": url})
        assert target.auth == SdkAuth("metadata-service")
        rest = RestApi(target, 10)
        assert rest.get(ME).is_good
        assert rest.get(ME).is_good
        assert len(asked) == 1
        time.sleep(1.1)
        assert rest.get(ME).is_good
        assert rest.get(ME).is_good
        assert len(asked) == 2
        assert who(target) == "owner@dqctl.invalid"


def test_a_way_that_ends_nowhere_is_refused_in_words_that_help(
    where: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    target = target_of(where, {"DATABRICKS_AUTH_TYPE": "azure-cli"})
    for ask in (lambda: RestApi(target).get(ME), lambda: Warehouse(target).query("SELECT 1")):
        with pytest.raises(
            DatabricksRefused, match="azure-cli got no token: the program az is not there"
        ) as refused:
            ask()
        assert "databricks auth describe" in refused.value.hint


def test_tokens_of_a_service_principal_are_renewed_while_somebody_works(
    endpoint: Endpoint, where: dict[str, str], principal: dict[str, str]
) -> None:
    lifetime(endpoint, 2)
    target = target_of(where, principal)
    rest = RestApi(target, 10)
    with Warehouse(target) as warehouse:
        assert warehouse.query("SELECT 1 AS one").num_rows == 1
        assert rest.get(ME).is_good
        first = rest._bearer
        assert first
        time.sleep(3.1)  # tokens end at full seconds
        stale = {"Authorization": f"Bearer {first.token}"}
        assert rest._send(ME, stale).status in (401, 403), "it should have expired by now"
        assert warehouse.query("SELECT 2 AS two").num_rows == 1
        assert rest.get(ME).is_good
        assert rest._bearer != first


def test_a_warehouse_is_found_by_its_name_and_started_with_progress(
    endpoint: Endpoint, where: dict[str, str], token: dict[str, str]
) -> None:
    named = {"DATABRICKS_HOST": endpoint.host, "DQCTL_WAREHOUSE": "local"}
    target = target_of(named, token)
    stop_warehouse(endpoint, target, 3)
    told: list[str] = []
    with Warehouse(target, progress=told.append) as warehouse:
        assert warehouse.query("SELECT 1 AS one").num_rows == 1
    assert told[0].startswith("the SQL warehouse local is stopped; a start takes")
    assert told[-1].startswith("the SQL warehouse local runs, after")
    with pytest.raises(UsageError, match="has no SQL warehouse 'another'") as unknown:
        Warehouse(target_of(named | {"DQCTL_WAREHOUSE": "another"}, token)).query("SELECT 1")
    assert "it has: local;" in unknown.value.hint


def test_looking_wakes_nobody_and_a_warehouse_that_must_sleep_sleeps(
    endpoint: Endpoint, where: dict[str, str], token: dict[str, str], tmp_path: Path
) -> None:
    target = target_of(where, token, {"DQCTL_START_WAREHOUSE": "false"})
    stop_warehouse(endpoint, target, 0)
    with pytest.raises(EnvironmentFault, match="is stopped, and dqctl was told not to start it"):
        Warehouse(target).query("SELECT 1")
    environment = where | token | {"DQCTL_START_WAREHOUSE": "false", "DQCTL_RUNTIME": "local"}
    found = {each.id: each for each in examine(load({"home": tmp_path}, environment)).findings}
    assert "is STOPPED" in found["databricks.warehouse"].evidence
    assert "DQCTL_START_WAREHOUSE" in found["databricks.warehouse"].fix
    assert found["databricks.auth"].evidence.startswith("pat, personal access token")
    assert found["databricks.credentials"].evidence == "let in as owner@dqctl.invalid, by pat"
    assert RestApi(target).get("/api/2.0/sql/warehouses/local").document["state"] == "STOPPED"


def stop_warehouse(endpoint: Endpoint, target: Target, seconds: float) -> None:
    """Stop it; its next start takes ``seconds``."""
    client.add_fault(endpoint, Fault(Effect.STOP, Kind.OTHER, matching="/Me$", seconds=seconds))
    RestApi(target, 10).get(ME)
    assert RestApi(target, 10).get("/api/2.0/sql/warehouses/local").document["state"] == "STOPPED"


def test_secret_scopes_as_the_sdk_uses_them_and_dqctl_reads_them(
    endpoint: Endpoint, where: dict[str, str], token: dict[str, str], principal: dict[str, str]
) -> None:
    owner: Any = WorkspaceClient(
        host=f"https://{endpoint.host}", token=endpoint.token_file.read_text().strip(), auth_type="pat"
    ).secrets
    client_id, client_secret = principal.values()
    somebody: Any = WorkspaceClient(
        host=f"https://{endpoint.host}", client_id=client_id, client_secret=client_secret, auth_type="oauth-m2m"
    ).secrets
    owner.create_scope("quality")
    with pytest.raises(ResourceAlreadyExists, match="already exists"):
        owner.create_scope("quality")
    owner.put_secret("quality", "token", string_value="dapi-of-testgen")
    owner.put_secret("quality", "bytes", bytes_value=base64.b64encode(b"\xff").decode())
    assert [each.key for each in owner.list_secrets("quality")] == ["bytes", "token"]
    assert [each.name for each in owner.list_scopes()] == ["quality"]
    assert base64.b64decode(owner.get_secret("quality", "token").value) == b"dapi-of-testgen"
    with pytest.raises(NotFound):
        owner.get_secret("quality", "another")
    with pytest.raises(PermissionDenied):
        somebody.get_secret("quality", "token")
    reader = access.Access(target_of(where, principal))
    with pytest.raises(DatabricksRefused, match=r"may not be read.* does not have READ") as refused:
        reader.secret("quality", "token")
    assert "put-acl quality" in refused.value.hint
    owner.put_acl("quality", client_id, AclPermission.READ)
    assert reader.secret("quality", "token").get_secret_value() == "dapi-of-testgen"
    with pytest.raises(UsageError, match="Scope nowhere does not exist"):
        reader.secret("nowhere", "token")
    with pytest.raises(UsageError, match="is no text"):
        reader.secret("quality", "bytes")
    owner.delete_acl("quality", client_id)
    owner.delete_secret("quality", "token")
    owner.delete_scope("quality")
    assert list(owner.list_scopes()) == []
