"""Trouble on request, as whoever asks for it meets it: by plain HTTP, by the connector, on the command line."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from command_line import CommandLine
from dqctl.databricks.failures import StatementFailed
from dqctl.databricks.target import PersonalToken, Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.localworkspace import client, control
from dqctl.localworkspace.client import NoAnswer
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault, Kind
from workspaces import running_workspace

pytestmark = [
    pytest.mark.local,
    pytest.mark.feature("Faults", "Over Thrift and REST, as the connector meets them"),
]

WAREHOUSE = "/api/2.0/sql/warehouses/local"


@pytest.fixture(scope="module")
def running() -> Iterator[Endpoint]:
    with running_workspace() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(running: Endpoint) -> Iterator[Endpoint]:
    yield running
    client.clear_faults(running)


@pytest.fixture
def target(endpoint: Endpoint) -> Target:
    return Target(
        endpoint.address,
        endpoint.http_path,
        "main",
        "default",
        PersonalToken(SecretStr(endpoint.token_file.read_text().strip())),
        port=endpoint.port,
        ca_file=endpoint.ca_file,
        patience=5.0,
        direct=True,
    )


def ask(
    endpoint: Endpoint, method: str, path: str, body: Any = None, seconds: float = 10, body_after: float = 0
) -> tuple[int, Any, Any]:
    """Status, headers and JSON of one request on a connection of its own, whose body is ``body_after`` late."""
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    connection = http.client.HTTPSConnection(endpoint.address, endpoint.port, timeout=seconds, context=context)
    try:
        sent = json.dumps(body).encode()
        connection.putrequest(method, path)
        connection.putheader("Authorization", f"Bearer {endpoint.token_file.read_text().strip()}")
        connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders()
        time.sleep(body_after)
        connection.send(sent)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, answer.headers, json.loads(content) if content else None
    finally:
        connection.close()


def select(endpoint: Endpoint, statement: str = "SELECT 1", seconds: float = 10) -> tuple[int, Any, Any]:
    body = {"statement": statement, "warehouse_id": "local", "wait_timeout": "50s"}
    return ask(endpoint, "POST", "/api/2.0/sql/statements", body, seconds)


def test_statements_are_slow_as_long_as_it_is_asked_for(endpoint: Endpoint, target: Target) -> None:
    client.add_fault(endpoint, Fault(Effect.DELAY, seconds=0.3, times=0))
    with Warehouse(target) as warehouse:
        for _ in range(2):
            started = time.monotonic()
            warehouse.query("SELECT 1")
            assert time.monotonic() - started >= 0.3
        client.clear_faults(endpoint)
        seconds = []
        for _ in range(10):
            started = time.monotonic()
            warehouse.query("SELECT 1")
            seconds.append(time.monotonic() - started)
        assert min(seconds) < 0.3  # the quickest does not depend on the machine's load


def test_a_status_comes_with_the_pause_that_was_asked_for(endpoint: Endpoint) -> None:
    client.add_fault(endpoint, Fault(Effect.STATUS, status=429, retry_after=7))
    status, headers, document = select(endpoint)
    assert (status, headers["Retry-After"], document["error_code"]) == (429, "7", "RESOURCE_EXHAUSTED")
    client.add_fault(endpoint, Fault(Effect.STATUS))
    status, headers, document = select(endpoint)
    assert (status, headers["Retry-After"], document["error_code"]) == (503, None, "TEMPORARILY_UNAVAILABLE")
    assert select(endpoint)[0] == 200


def test_the_connector_waits_as_long_as_it_is_told_to(endpoint: Endpoint, target: Target) -> None:
    client.add_fault(endpoint, Fault(Effect.STATUS, status=429, retry_after=6))
    with Warehouse(replace(target, patience=30.0)) as warehouse:
        started = time.monotonic()
        warehouse.query("SELECT 1")
    assert 6 <= time.monotonic() - started < 40  # its own way would be a minute


def test_connections_break_before_and_after_the_work(endpoint: Endpoint, target: Target) -> None:
    def rows() -> list[Any]:
        with Warehouse(target) as warehouse:
            return warehouse.query("SELECT n FROM main.default.once")["n"].to_pylist()

    with Warehouse(target) as warehouse:
        warehouse.execute("CREATE OR REPLACE TABLE main.default.once (n INT)")
    client.add_fault(endpoint, Fault(Effect.RESET, matching="VALUES .1."))
    with pytest.raises(ConnectionResetError):
        select(endpoint, "INSERT INTO main.default.once VALUES (1)")
    assert rows() == []
    client.add_fault(endpoint, Fault(Effect.LOST, matching="VALUES .2."))
    with pytest.raises(ConnectionResetError):
        select(endpoint, "INSERT INTO main.default.once VALUES (2)")
    assert rows() == [2]
    client.add_fault(endpoint, Fault(Effect.CUT, matching="VALUES .3."))
    with pytest.raises(http.client.IncompleteRead):
        select(endpoint, "INSERT INTO main.default.once VALUES (3)")
    assert sorted(rows()) == [2, 3]
    client.add_fault(endpoint, Fault(Effect.HANG, matching="VALUES .4.", seconds=60))
    with pytest.raises(TimeoutError):
        select(endpoint, "INSERT INTO main.default.once VALUES (4)", seconds=0.5)
    assert sorted(rows()) == [2, 3]


def test_a_commit_that_is_delayed_meets_whoever_commits_meanwhile(endpoint: Endpoint, target: Target) -> None:
    """The conflict is a real one: the client that waited reads it, and has it behind it when it tries again."""
    with Warehouse(target) as warehouse:
        warehouse.execute("CREATE OR REPLACE TABLE main.default.held AS SELECT 1 AS id, 1 AS n")
    added = client.add_fault(endpoint, Fault(Effect.DELAY, Kind.COMMIT, "n \\+ 10", seconds=3600))
    answers: list[Any] = []

    def late() -> None:
        answer = select(endpoint, "UPDATE main.default.held SET n = n + 10 WHERE id = 1", seconds=120)[2]
        while answer["status"]["state"] in ("PENDING", "RUNNING"):
            answer = ask(endpoint, "GET", f"/api/2.0/sql/statements/{answer['statement_id']}", seconds=120)[2]
        answers.append(answer)

    thread = threading.Thread(target=late, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not list(client.list_hits(endpoint)):
        assert time.monotonic() < end
        time.sleep(0.02)
    with Warehouse(target) as warehouse:
        warehouse.execute("UPDATE main.default.held SET n = n * 2 WHERE id = 1")
        assert thread.is_alive()
        assert ask(endpoint, "DELETE", f"/api/dqctl/faults/{added}")[0] == 200
        thread.join(60)
        (answer,) = answers
        assert answer["status"]["state"] == "FAILED"
        message = answer["status"]["error"]["message"]
        assert (
            "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict detected. A concurrent UPDATE" in message
        )
        assert "main.default.held" in message
        late()
        assert answers[1]["status"]["state"] == "SUCCEEDED"
        assert warehouse.query("SELECT n FROM main.default.held")["n"].to_pylist() == [12]


def test_a_silence_ends_with_a_reset(endpoint: Endpoint) -> None:
    client.add_fault(endpoint, Fault(Effect.HANG, seconds=0.2))
    with pytest.raises(ConnectionResetError):
        select(endpoint)


def test_a_statement_fails_as_databricks_words_it_by_both_doors(endpoint: Endpoint, target: Target) -> None:
    client.add_fault(endpoint, Fault(Effect.ERROR, error_class="INTERNAL_ERROR", message="no luck", times=2))
    status = select(endpoint)[2]["status"]
    assert status["state"] == "FAILED"
    assert status["error"]["message"] == "[INTERNAL_ERROR] no luck SQLSTATE: XX000"
    with Warehouse(target) as warehouse, pytest.raises(StatementFailed, match="no luck") as caught:
        warehouse.query("SELECT 1")
    assert caught.value.error_class == "INTERNAL_ERROR"


def test_a_stopped_warehouse_starts_with_the_next_statement_and_forgets_its_sessions(
    endpoint: Endpoint, target: Target
) -> None:
    said: list[str] = []
    with Warehouse(target, progress=said.append) as warehouse:
        warehouse.query("SELECT 1")
        ask(endpoint, "POST", f"{WAREHOUSE}/stop")
        assert ask(endpoint, "GET", WAREHOUSE)[2]["state"] == "STOPPED"
        assert control.status(endpoint.data_dir).answers
        assert ask(endpoint, "GET", WAREHOUSE)[2]["state"] == "STOPPED", "looking woke it"
        assert warehouse.query("SELECT 2 AS n")["n"].to_pylist() == [2]
        assert ask(endpoint, "GET", WAREHOUSE)[2]["state"] == "RUNNING"
        client.add_fault(endpoint, Fault(Effect.STOP, seconds=1.5))
        status, headers, _ = select(endpoint)
        assert (status, headers["Retry-After"]) == (503, "2")
        assert ask(endpoint, "GET", WAREHOUSE)[2]["state"] == "STARTING"
        assert warehouse.query("SELECT 3 AS n")["n"].to_pylist() == [3]
    assert any("starting" in text for text in said)


def test_an_expired_token_is_refused_until_the_script_is_cleared(endpoint: Endpoint) -> None:
    client.add_fault(endpoint, Fault(Effect.EXPIRE, Kind.OTHER, "/warehouses"))
    assert ask(endpoint, "GET", WAREHOUSE)[0] == 403
    assert ask(endpoint, "GET", WAREHOUSE)[0] == 403
    assert select(endpoint)[0] == 403
    client.clear_faults(endpoint)
    assert ask(endpoint, "GET", WAREHOUSE)[0] == 200


def test_what_makes_no_sense_is_refused_with_the_reason(endpoint: Endpoint) -> None:
    assert ask(endpoint, "POST", "/api/dqctl/faults", {"effect": "reset", "every": 0})[0] == 400
    assert ask(endpoint, "POST", "/api/dqctl/faults", ["reset"])[0] == 400
    with pytest.raises(NoAnswer, match="does not answer"):
        client.list_faults(replace(endpoint, port=1))


def test_the_command_line_adds_lists_and_clears(endpoint: Endpoint) -> None:
    dqctl = CommandLine(endpoint.data_dir.parent, {"DQCTL_WORKSPACE": str(endpoint.data_dir)})
    dqctl("workspace", "fault", "add", "status", "--status", "429", "--retry-after", "3")
    assert select(endpoint)[1]["Retry-After"] == "3"
    (listed,) = dqctl.document("workspace", "fault", "list")["faults"]
    assert (listed["effect"], listed["matched"], listed["hit"]) == ("status", 1, 1)
    dqctl("workspace", "fault", "clear")
    assert client.list_faults(endpoint) == []


def test_a_script_is_replaced_as_a_whole_and_what_was_hit_is_on_record(endpoint: Endpoint, tmp_path: Path) -> None:
    dqctl = CommandLine(endpoint.data_dir.parent, {"DQCTL_WORKSPACE": str(endpoint.data_dir)})
    file = tmp_path / "faults.json"
    file.write_text('{"faults": [{"effect": "status", "matching": "never"}, {"effect": "status", "skip": 1}]}')
    first, second = dqctl.document("workspace", "fault", "load", str(file))["ids"]
    assert [select(endpoint, f"SELECT {n}")[0] for n in range(3)] == [200, 503, 200]
    (hit,) = dqctl.document("workspace", "fault", "hits")["hits"]
    assert (hit["fault"], hit["effect"], hit["kind"], hit["subject"]) == (
        second,
        "status",
        "statement",
        "SELECT 1",
    )
    dqctl("workspace", "fault", "clear", str(first))
    assert [each["id"] for each in client.list_faults(endpoint)] == [second]
    file.write_text('{"faults": [{"effect": "status"}, {"effect": "explode"}]}')
    said = dqctl("workspace", "fault", "load", str(file), code=2)
    assert "is no script of faults" in said.err
    script = {"faults": [{"effect": "status"}, {"effect": "explode"}]}
    assert ask(endpoint, "PUT", "/api/dqctl/faults", script)[0] == 400
    assert [each["id"] for each in client.list_faults(endpoint)] == [second]
    assert ask(endpoint, "DELETE", "/api/dqctl/faults/999")[0] == 404


def test_half_of_a_file_arrives_when_it_is_cut(endpoint: Endpoint) -> None:
    for statement in ("CREATE SCHEMA IF NOT EXISTS main.cut", "CREATE VOLUME IF NOT EXISTS main.cut.v"):
        select(endpoint, statement)
    path = "/api/2.0/fs/files/Volumes/main/cut/v/file"
    assert ask(endpoint, "PUT", path, "x" * 1_000_000)[0] == 204  # and the two quotes that JSON has
    for body_after in (0, 0.3):  # the answer may be on its way before all of the question is there
        client.add_fault(endpoint, Fault(Effect.CUT, Kind.FILE, "^GET"))
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(endpoint, "GET", path, body_after=body_after)
        assert len(cut.value.partial) == 500_001
    client.add_fault(endpoint, Fault(Effect.LOST, Kind.FILE, "^DELETE"))
    # The connection may be reset before all of the request was sent.
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        ask(endpoint, "DELETE", path)
    assert ask(endpoint, "HEAD", path)[0] == 404, "its answer was lost, not the work"


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.CUT, Effect.RESET])
def test_an_insert_by_hand_is_sent_once_and_its_lost_answer_is_said(endpoint: Endpoint, effect: Effect) -> None:
    dqctl = CommandLine(endpoint.data_dir.parent, {"DQCTL_WORKSPACE": str(endpoint.data_dir)})
    name = f"main.default.by_hand_{effect.value}"
    dqctl("workspace", "sql", f"CREATE TABLE {name} (n INT)")
    client.add_fault(endpoint, Fault(effect, matching="INSERT"))
    said = dqctl("workspace", "sql", f"INSERT INTO {name} VALUES (1)", code=3)
    assert "it is not known whether the statement was carried out" in said.err
    assert "see what is there before you run it again" in said.err
    # A question may be asked as often as it takes.
    client.add_fault(endpoint, Fault(effect, matching="SELECT count"))
    found = dqctl.document("workspace", "sql", f"SELECT count(*) AS n FROM {name}")
    assert found["rows"] == [[0 if effect is Effect.RESET else 1]]


def test_an_insert_by_hand_that_was_not_taken_is_sent_again(endpoint: Endpoint, target: Target) -> None:
    with Warehouse(target) as warehouse:
        warehouse.run_given("CREATE TABLE main.default.refused (n INT)")
        client.add_fault(endpoint, Fault(Effect.ERROR, matching="INSERT"))  # a conflict, which changed nothing
        warehouse.run_given("INSERT INTO main.default.refused VALUES (1)")
        assert warehouse.query("SELECT n FROM main.default.refused")["n"].to_pylist() == [1]
        # The session repeats again what may be repeated.
        client.add_fault(endpoint, Fault(Effect.LOST))
        assert warehouse.query("SELECT n FROM main.default.refused")["n"].to_pylist() == [1]
