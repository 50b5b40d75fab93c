import socket

import pytest
import urllib3
from databricks.sql import exc
from pydantic import SecretStr
from thrift.transport.TTransport import TTransportException

from dqctl.databricks import failures
from dqctl.databricks.auth import NoToken
from dqctl.databricks.failures import Conflict, SessionGone, StatementFailed, Unreachable, understand
from dqctl.databricks.target import PersonalToken, Target
from dqctl.errors import DatabricksRefused, EnvironmentFault
from dqctl.redaction import register


@pytest.fixture
def target() -> Target:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return Target(
        "127.0.0.1", "/sql/1.0/warehouses/x", "main", "dq", PersonalToken(SecretStr("t")), port=port, direct=True
    )


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials(target: Target, status: int) -> None:
    error = understand(exc.RequestError("Error during request to server", {"http-code": status}), target)
    assert isinstance(error, DatabricksRefused)
    assert f"HTTP {status}" in error.message
    assert "CAN USE" in error.hint


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_principal_without_a_token_is_refused_whoever_wraps_it(target: Target, wrapped: bool) -> None:
    raised = NoToken(ValueError("invalid_client: Client authentication failed"))
    seen = exc.RequestError(f"Error during request to server. {raised}") if wrapped else raised
    error = understand(seen, target)
    assert isinstance(error, DatabricksRefused)
    assert error.message.endswith("got no token: invalid_client: Client authentication failed")
    assert "DATABRICKS_CLIENT_SECRET" in error.hint


@pytest.mark.parametrize(
    "reason",
    [
        "no answer within 30 s",
        "oauth-m2m auth: HTTPSConnectionPool(host='h', port=443): Max retries exceeded with url: /oidc/v1/token",
        "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
        "TEMPORARILY_UNAVAILABLE: try again",
    ],
)
def test_a_token_that_nobody_could_be_asked_for_may_be_asked_for_again(target: Target, reason: str) -> None:
    assert isinstance(understand(NoToken(ValueError(reason)), target), Unreachable)


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        (
            "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have USE SCHEMA on Schema "
            "'main.dq'. SQLSTATE: 42501",
            "GRANT USE SCHEMA ON SCHEMA main.dq TO",
        ),
        (
            "PERMISSION_DENIED: User does not have CREATE TABLE on Schema 'main.dq'.",
            "GRANT CREATE TABLE ON SCHEMA main.dq",
        ),
        ("[INSUFFICIENT_PERMISSIONS] no words that we know", "USE CATALOG on main"),
    ],
)
def test_missing_privilege_is_named(target: Target, text: str, grant: str) -> None:
    error = understand(exc.ServerOperationError(text), target)
    assert isinstance(error, DatabricksRefused)
    assert grant in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "[DELTA_CONCURRENT_APPEND] Files were added. SQLSTATE: 2D521",
        "[DELTA_CONCURRENT_DELETE_READ.WITHOUT_HINT] gone",
        "[DELTA_METADATA_CHANGED] changed by a concurrent update",
        "[SOMETHING_NEW] retry. SQLSTATE: 2D521",
    ],
)
def test_conflicts_are_told_apart(target: Target, text: str) -> None:
    assert isinstance(understand(exc.ServerOperationError(text), target), Conflict)


def test_failed_statement_keeps_its_error_class(target: Target) -> None:
    error = understand(exc.ServerOperationError("[CAST_INVALID_INPUT] The value\n 'x' cannot be cast"), target)
    assert isinstance(error, StatementFailed)
    assert error.error_class == "CAST_INVALID_INPUT"
    assert "The value 'x' cannot" in error.message


def test_missing_warehouse(target: Target) -> None:
    error = understand(exc.RequestError("Error during request", {"http-code": 404}), target)
    assert type(error) is EnvironmentFault
    assert "DATABRICKS_WAREHOUSE_ID" in error.hint


def test_nobody_there_says_why(target: Target) -> None:
    error = understand(exc.RequestError("Retry request would exceed Retry policy", {"http-code": None}), target)
    assert isinstance(error, Unreachable)
    assert "Connection refused" in error.message


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_overloaded_is_unreachable_not_refused(target: Target, status: int) -> None:
    assert isinstance(understand(exc.RequestError("busy", {"http-code": status}), target), Unreachable)


@pytest.mark.parametrize(
    "text",
    [
        "Invalid SessionHandle: 0f",
        "requirement failed: Session handle: SessionHandle [0f] has not been initialized or had already closed.",
        "TEMPORARILY_UNAVAILABLE: Cluster 5711-083124-7nybcy05 is temporarily unavailable.",
        "The SQL warehouse 1234567890abcdef was stopped.",
        "Couldn't create directory /local_disk0/tmp/0f_resources",
    ],
)
def test_sessions_of_a_warehouse_that_stops_or_starts_are_gone(target: Target, text: str) -> None:
    assert isinstance(understand(exc.DatabaseError(text), target), SessionGone)
    assert isinstance(understand(exc.ServerOperationError(text), target), SessionGone)


@pytest.mark.parametrize(
    "error",
    [
        urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead(310 bytes read, 311 more expected)"),
        urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("h"), "/", "Read timed out."),
        TTransportException(message="TSocket read 0 bytes"),
        EOFError(),
    ],
)
def test_an_answer_that_ended_half_way_is_lost_whoever_read_it(target: Target, error: Exception) -> None:
    assert isinstance(understand(error, target), Unreachable)


def test_too_busy_for_too_long_is_said_in_words(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "what_is_wrong", lambda _: "")
    error = understand(exc.RequestError("Retry request would exceed Retry policy max retry duration"), target)
    assert "busy (HTTP 429 or 503)" in error.message


def test_a_file_that_is_not_there_is_told_as_that(target: Target) -> None:
    error = understand(exc.OperationalError("Staging operation over HTTP was unsuccessful: 404-<Error/>"), target)
    assert isinstance(error, StatementFailed)
    assert error.error_class == failures.NO_SUCH_FILE


@pytest.mark.parametrize(
    ("status", "kind"), [(404, StatementFailed), (403, DatabricksRefused), (503, Unreachable)]
)
def test_staging_answers_are_read(target: Target, status: int, kind: type[Exception]) -> None:
    text = f"Staging operation over HTTP was unsuccessful: {status}-whatever"
    assert isinstance(understand(exc.OperationalError(text), target), kind)


def test_secrets_do_not_get_into_messages(target: Target) -> None:
    register("dapi-very-secret")
    error = understand(exc.ServerOperationError("cannot parse dapi-very-secret"), target)
    assert "dapi-very-secret" not in error.message


def test_long_texts_are_cut(target: Target) -> None:
    assert len(understand(exc.ServerOperationError("x" * 100_000), target).message) < 1000


def test_our_own_mistakes_stay_visible(target: Target) -> None:
    with pytest.raises(KeyError):
        understand(KeyError("ours"), target)


def test_every_error_of_the_connector_is_understood(target: Target) -> None:
    found = [kind for kind in vars(exc).values() if isinstance(kind, type) and issubclass(kind, exc.Error)]
    assert len(found) > 10
    for kind in found:
        assert isinstance(failures.understand(kind("message"), target), EnvironmentFault), kind
