"""What nobody should send: refused in Databricks' words, at little cost, and the workspace goes on as before."""

import contextlib
import json
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from rest_clients import ask
from workspaces import running_workspace

pytestmark = pytest.mark.local

WRONG = (
    "", "Bearer", "Bearer ", "Bearer dapi0", "Basic b3duZXI6eA==", "Bearer dqctl-oauth.a.b.c.d",
    "Bearer dqctl-oauth..9999999999999999999999..", "Bearer \xff\xfe", "Bearer " + "x" * 10_000,
)  # fmt: skip
THRIFT = "/sql/1.0/warehouses/local"
STATEMENTS = "/api/2.0/sql/statements"
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running:
        body = json.dumps({"statement": "CREATE VOLUME main.default.v", "warehouse_id": "local"})
        assert ask(running, "POST", STATEMENTS, body)[2]["status"]["state"] == "SUCCEEDED"
        yield running


@pytest.fixture(autouse=True)
def _unharmed(endpoint: Endpoint) -> Iterator[None]:
    log = endpoint.data_dir / "logs" / "server.log"
    before = len(log.read_text())
    yield
    assert control.status(endpoint.data_dir).answers
    said = log.read_text()[before:]
    for sign in ("wire.failures: ", "Exception in ASGI", "Task exception"):
        assert sign not in said, said[-4000:]


def memory(endpoint: Endpoint) -> int:
    """Bytes that the server has had in memory at most."""
    status = Path(f"/proc/{endpoint.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


@contextlib.contextmanager
def plain(endpoint: Endpoint) -> Iterator[ssl.SSLSocket]:
    """A bare TLS connection."""
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    with (
        socket.create_connection((endpoint.address, endpoint.port), timeout=120) as raw,
        context.wrap_socket(raw, server_hostname=endpoint.address) as connection,
    ):
        yield connection


@pytest.mark.feature("Limits", "A body that is too large: 413, with memory bounded")
@pytest.mark.parametrize(
    ("path", "most"), [(THRIFT, 32), (STATEMENTS, 40), ("/api/2.0/secrets/put", 2), ("/telemetry-ext", 2)]
)
def test_a_body_that_is_too_large_is_refused(endpoint: Endpoint, path: str, most: int) -> None:
    before = memory(endpoint)
    announced = {"Content-Length": str(10**12)}
    status, _, answer = ask(endpoint, "POST", path, b"x", announced)
    assert (status, answer["error_code"]) == (413, "RESOURCE_EXHAUSTED")

    def endless() -> Iterator[bytes]:
        for _ in range(most + 2):
            yield bytes(MEBIBYTE)

    status, _, answer = ask(endpoint, "POST", path, endless())  # in chunks: nobody says how much comes
    assert status == 413, answer
    assert memory(endpoint) - before < 4 * most * MEBIBYTE + 100 * MEBIBYTE


@pytest.mark.feature("REST", "Files: streamed to disk, not kept in memory")
def test_a_large_file_is_not_kept_in_memory(endpoint: Endpoint) -> None:
    before = memory(endpoint)
    path = "/api/2.0/fs/files/Volumes/main/default/v/large"
    assert ask(endpoint, "PUT", path, (bytes(MEBIBYTE) for _ in range(120)))[0] == 204
    assert memory(endpoint) - before < 70 * MEBIBYTE
    assert ask(endpoint, "HEAD", path)[1]["Content-Length"] == str(120 * MEBIBYTE)
    assert ask(endpoint, "DELETE", path)[0] == 204


@pytest.mark.feature("Limits", "Malformed JSON and bodies of the wrong shape: 400")
def test_bodies_of_the_wrong_shape_are_refused(endpoint: Endpoint) -> None:
    deep = "[" * 100_000
    for path in (
        STATEMENTS, "/api/2.0/sql/sessions", "/api/2.0/sql/warehouses", "/api/2.0/secrets/put",
        "/api/2.0/token/create", "/api/2.0/token/delete", "/api/2.1/unity-catalog/schemas", "/api/dqctl/faults",
        "/api/2.0/fs/create-upload-part-urls",
    ):  # fmt: skip
        for body in (b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"a": NaN}', deep.encode(), b"1" * 5000):
            status, _, answer = ask(endpoint, "POST", path, body)
            assert (status, set(answer)) in (
                (400, {"error_code", "message", "details"}),
                (404, {"error_code", "message", "details"}),
            ), (path, body[:20], answer)


@pytest.mark.feature("Limits", "A path that leaves its volume: refused, however it is written")
def test_no_path_leaves_its_volume(endpoint: Endpoint, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (volume,) = (endpoint.data_dir / "volumes").glob("main/default/v-*")
    (volume / "link").symlink_to(outside)
    base = "/Volumes/main/default/v"
    up = ("..", "%2e%2e", "%252e%252e", ".%2e", "..%00", "%c0%ae%c0%ae", "..%2f..", "..%5c..")
    tried = [f"{base}/{each}/{each}/{each}/{each}/server/token" for each in up]
    tried += [
        f"{base}/link/secret",
        f"{base}/link",
        f"{base}/a%00b",
        f"{base}/{'x' * 300}",
        f"{base}/{'x/' * 3000}",
    ]
    tried += ["/Volumes/../../etc/passwd", "//etc/passwd", "/etc/passwd", "/Volumes/main/default/nowhere/x", "/"]
    token = endpoint.token_file.read_text().strip()
    for path in tried:
        for kind in ("files", "directories"):
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                status, _, answer = ask(endpoint, method, f"/api/2.0/fs/{kind}{path}", b"written")
                if status in (200, 204):  # a name that only looks like a way out, below the volume
                    assert method != "GET", (path, answer)
                    assert method != "HEAD", path
                assert status < 500 or status == 501, (method, path, answer)
                assert token not in str(answer)
                assert "secret" not in str(answer).replace("/link/secret", "")
        assert ask(endpoint, "POST", f"/api/2.0/fs/files{path}?action=initiate-upload")[0] in (200, 400, 404, 501)
    assert (outside / "secret").read_text() == "secret"
    assert list(outside.iterdir()) == [outside / "secret"]


@pytest.mark.feature(
    "Limits", "A wrong, missing or strange token: 401 or 403, for every path but those of signing in"
)
def test_nothing_is_told_without_a_token(endpoint: Endpoint) -> None:
    for path in (
        "/api/2.0/preview/scim/v2/Me",
        THRIFT,
        "/api/dqctl/status",
        "/nowhere",
        "/api/2.0/fs/files/Volumes/x",
    ):
        for header in WRONG:
            status, _, answer = ask(endpoint, "POST", path, b"", {"Authorization": header})
            assert status in (401, 403), (path, header, answer)
    for path in (
        "/presigned/results/x/0",
        "/presigned/uploads/x/y?expires=1&signature=x",
        "/staging/Volumes/main/x",
    ):
        assert ask(endpoint, "GET", path, b"", {"Authorization": ""})[0] in (403, 404, 501)


@pytest.mark.feature("Limits", "HTTP that is none: 400")
def test_what_is_no_http_is_refused(endpoint: Endpoint) -> None:
    for sent in (b"\x00" * 1000, b"NONSENSE\r\n\r\n", b"GET /" + b"a" * 100_000):
        # It may be let go of before it has said it all.
        with plain(endpoint) as connection, contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            connection.sendall(sent)
            assert connection.recv(1000)[:12] in (b"HTTP/1.1 400", b"")
    with socket.create_connection((endpoint.address, endpoint.port), timeout=60) as raw:  # no TLS
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in raw.recv(1000)


@pytest.mark.feature("Limits", "Verbs that a path does not have: 501 in Databricks' shape")
def test_other_verbs_are_refused(endpoint: Endpoint) -> None:
    for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND", "DELETE"):
        for path in (STATEMENTS, "/api/2.0/token/list", THRIFT, "/"):
            status, _, answer = ask(endpoint, method, path)
            assert status == 501, (method, path)
            assert answer["error_code"] == "NOT_IMPLEMENTED"


def opening() -> bytes:
    buffer = TMemoryBuffer()
    TCLIService.Client(TBinaryProtocol(buffer)).send_ExecuteStatement(
        ttypes.TExecuteStatementReq(
            sessionHandle=ttypes.TSessionHandle(ttypes.THandleIdentifier(b"g" * 16, b"s" * 16)),
            statement="SELECT 1",
            confOverlay={"a": "b"},
        )
    )
    written: bytes = buffer.getvalue()
    return written


@pytest.mark.feature("Limits", "Malformed Thrift: refused, whatever it is")
def test_thrift_that_is_none_is_refused(endpoint: Endpoint) -> None:
    good, chance = opening(), random.Random(20261121)  # noqa: S311 - the same every time
    bodies = [b"", b"\x00", good[:-5], os.urandom(300), b"\x80\x01\x00\x01\xff\xff\xff\xff", b"\x0f" * 5000]
    for _ in range(150):
        changed = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice(
                (0, 1, 0x7F, 0xFF, 0x0F, 0x0D, chance.randrange(256))
            )
        bodies.append(bytes(changed))
    for body in bodies:
        began = time.monotonic()
        status, _, answer = ask(endpoint, "POST", THRIFT, body)
        assert status in (200, 400), (body, answer)
        assert time.monotonic() - began < 50, body  # nothing has the server count to two thousand millions


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "warehouse_id wait_timeout row_limit byte_limit parameters format disposition catalog schema session_id "
    "on_wait_timeout scope key string_value principal permission name catalog_name schema_name comment token_id "
    "lifetime_seconds auto_stop_mins effect kind times matching path session_token start_part_number count parts "
    "expire_time cluster_size session_confs changes"
)
fields = st.sampled_from(sorted(FIELDS.split()))
calls = st.sampled_from([
    ("POST", STATEMENTS), ("POST", "/api/2.0/sql/sessions"), ("POST", "/api/2.0/sql/warehouses"),
    ("POST", "/api/2.0/sql/warehouses/local/edit"), ("POST", "/api/2.0/secrets/scopes/create"),
    ("POST", "/api/2.0/secrets/put"), ("POST", "/api/2.0/secrets/acls/put"), ("POST", "/api/2.0/token/delete"),
    ("POST", "/api/2.1/unity-catalog/catalogs"), ("POST", "/api/2.1/unity-catalog/schemas"),
    ("POST", "/api/2.1/unity-catalog/volumes"), ("PATCH", "/api/2.1/unity-catalog/schemas/main.default"),
    ("POST", "/api/2.0/fs/create-upload-part-urls"), ("POST", "/api/2.0/fs/create-abort-upload-url"),
    ("POST", "/api/2.0/fs/files/Volumes/main/default/v/x?action=complete-upload&session_token=x"),
    ("PATCH", "/api/2.1/unity-catalog/permissions/schema/main.default"),
    ("PUT", "/api/dqctl/oauth"), ("PUT", "/api/2.0/sql/config/warehouses"),
])  # fmt: skip


@pytest.mark.feature("Limits", "Whatever JSON a call is sent: no failure inside the server")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls, body=st.dictionaries(fields, values, max_size=6))
def test_no_json_breaks_a_handler(endpoint: Endpoint, call: tuple[str, str], body: dict[str, Any]) -> None:
    body = {"statement": "SELECT 1", "warehouse_id": "local", **body} if call[1] == STATEMENTS else body
    status, _, answer = ask(endpoint, *call, json.dumps(body))
    assert status != 500, answer


def _outcome(endpoint: Endpoint, statement: str) -> dict[str, Any]:
    body = json.dumps({"statement": statement, "warehouse_id": "local", "wait_timeout": "50s"})
    code, _, answer = ask(endpoint, "POST", STATEMENTS, body)
    assert code == 200, answer
    for _ in range(300):
        if answer["status"]["state"] not in ("PENDING", "RUNNING"):
            break
        time.sleep(1)
        answer = ask(endpoint, "GET", f"{STATEMENTS}/{answer['statement_id']}")[2]
    found: dict[str, Any] = answer
    return found


@pytest.mark.feature("Limits", "Statements that nest deeply: answered, or FAILED_TO_PARSE_TOO_COMPLEX")
@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT {'(' * 200}1{')' * 200}",
        f"SELECT {'abs(' * 60}1{')' * 60}",
        f"SELECT 1 WHERE {' AND '.join(['1 = 1'] * 800)}",
        f"SELECT max(x) FROM ({' UNION ALL '.join(['SELECT 1 AS x'] * 600)})",
    ],
    ids=["brackets", "calls", "conditions", "unions"],
)
def test_deep_statements_are_answered(endpoint: Endpoint, statement: str) -> None:
    answer = _outcome(endpoint, statement)
    assert answer["status"]["state"] == "SUCCEEDED", answer["status"]
    assert answer["result"]["data_array"] == [["1"]]


@pytest.mark.feature("Limits", "Statements that nest deeply: answered, or FAILED_TO_PARSE_TOO_COMPLEX")
@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT {'(' * 5000}1{')' * 5000}",
        f"SELECT {'+'.join(['1'] * 4000)}",
        f"SELECT {'NOT ' * 3000}true",
        " UNION ALL ".join(["SELECT 1"] * 2000),
        f"CREATE TABLE deep (x {'ARRAY<' * 500}INT{'>' * 500})",
    ],
    ids=["brackets", "terms", "negations", "unions", "types"],
)
def test_deeper_statements_are_refused(endpoint: Endpoint, statement: str) -> None:
    status = _outcome(endpoint, statement)["status"]
    assert status["state"] == "FAILED"
    assert "[FAILED_TO_PARSE_TOO_COMPLEX]" in status["error"]["message"]
    assert "54001" in status["error"]["message"]
