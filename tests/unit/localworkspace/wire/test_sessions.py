import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dqctl.localworkspace.contract import Result, Session, StatementError
from dqctl.localworkspace.wire.sessions import ATTENDED_IDLE, LEFT_IDLE, Sessions, State, UnknownHandle, Work

EMPTY = pa.table({"one": [1]})


class Scripted(Session):
    """A session whose statements end when the test says so, or when they are cancelled."""

    catalog, schema = "main", "default"

    def __init__(self, configuration: Mapping[str, str]) -> None:
        self.configuration = configuration
        self.running: list[str] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.cancelled: list[str] = []
        self.closed = False

    def execute(self, statement: str, *_: object) -> Result:
        assert not self.running, "a session runs one statement at a time"
        self.running.append(statement)
        self.started.set()
        try:
            if statement == "wait":
                assert self.go_on.wait(20)
                if self.cancelled:
                    raise StatementError("OPERATION_CANCELED", "interrupted", "HY008")
            if statement == "break":
                raise RuntimeError("engine is gone")
            if statement == "fail":
                raise StatementError("DIVIDE_BY_ZERO", "division by zero", "22012")
            return Result(EMPTY)
        finally:
            self.running.clear()

    def cancel(self) -> None:
        self.cancelled += self.running
        self.go_on.set()

    def close(self) -> None:
        self.closed = True


class ScriptedLakehouse:
    def __init__(self) -> None:
        self.opened: list[Scripted] = []

    def open_session(self, *asked: Any) -> Session:
        session = Scripted(asked[2])
        self.opened.append(session)
        return session

    def volume_file(self, path: str) -> Path:
        raise StatementError("VOLUME_NOT_FOUND", path, "42704")

    def close(self) -> None:
        return


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lakehouse() -> ScriptedLakehouse:
    return ScriptedLakehouse()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def sessions(lakehouse: ScriptedLakehouse, clock: Time) -> Sessions:
    return Sessions(
        lakehouse,
        session_idle=100,
        operation_idle=10,
        defaults=lambda: {"ANSI_MODE": "false", "TIMEZONE": "UTC"},
        monotonic=clock,
    )


def run(statement: str) -> Work:
    return lambda session: session.execute(statement)


def test_a_statement_delivers_its_result(sessions: Sessions) -> None:
    operation = sessions.start(sessions.open(None, None, {}).id, run("go"))
    assert operation.wait(20)
    assert operation.state is State.SUCCEEDED
    assert operation.result == Result(EMPTY)
    assert sessions.operation(operation.id) is operation


@pytest.mark.parametrize(("statement", "error_class"), [("fail", "DIVIDE_BY_ZERO"), ("break", "INTERNAL_ERROR")])
def test_a_failure_is_the_statements_and_the_session_goes_on(
    sessions: Sessions, statement: str, error_class: str
) -> None:
    client = sessions.open(None, None, {})
    operation = sessions.start(client.id, run(statement))
    assert operation.wait(20)
    assert operation.state is State.FAILED
    assert operation.error is not None
    assert operation.error.error_class == error_class
    assert sessions.start(client.id, run("go")).wait(20)


def test_what_the_client_sets_wins_over_the_warehouse(sessions: Sessions, lakehouse: ScriptedLakehouse) -> None:
    sessions.open(None, None, {"TIMEZONE": "Asia/Tokyo"})
    assert lakehouse.opened[0].configuration == {"ANSI_MODE": "false", "TIMEZONE": "Asia/Tokyo"}


def test_cancelling_reaches_the_engine_and_is_known_at_once(
    sessions: Sessions, lakehouse: ScriptedLakehouse
) -> None:
    operation = sessions.start(sessions.open(None, None, {}).id, run("wait"))
    assert lakehouse.opened[0].started.wait(20)
    operation.cancel()
    assert operation.state is State.CANCELED
    assert operation.error is not None
    assert operation.error.sqlstate == "HY008"
    assert lakehouse.opened[0].cancelled == ["wait"]


def test_cancelling_what_waits_for_its_turn_leaves_the_running_statement_alone(
    sessions: Sessions, lakehouse: ScriptedLakehouse
) -> None:
    client = sessions.open(None, None, {})
    first = sessions.start(client.id, run("wait"))
    session = lakehouse.opened[0]
    assert session.started.wait(20)
    second = sessions.start(client.id, run("go"))
    second.cancel()
    assert session.cancelled == []
    session.go_on.set()
    assert first.wait(20)
    assert first.state is State.SUCCEEDED
    assert second.state is State.CANCELED


def test_cancelling_what_is_over_changes_nothing(sessions: Sessions, lakehouse: ScriptedLakehouse) -> None:
    operation = sessions.start(sessions.open(None, None, {}).id, run("go"))
    assert operation.wait(20)
    operation.cancel()
    assert operation.state is State.SUCCEEDED
    assert lakehouse.opened[0].cancelled == []


def test_closing_a_session_stops_what_it_runs(sessions: Sessions, lakehouse: ScriptedLakehouse) -> None:
    client = sessions.open(None, None, {})
    operation = sessions.start(client.id, run("wait"))
    assert lakehouse.opened[0].started.wait(20)
    sessions.close(client.id)
    assert operation.state is State.CANCELED
    assert lakehouse.opened[0].closed
    assert sessions.count() == (0, 0)
    with pytest.raises(UnknownHandle):
        sessions.operation(operation.id)
    with pytest.raises(UnknownHandle):
        sessions.start(client.id, run("go"))


def test_a_client_that_vanished_leaks_nothing(
    sessions: Sessions, lakehouse: ScriptedLakehouse, clock: Time
) -> None:
    operation = sessions.start(sessions.open(None, None, {}).id, run("wait"))
    assert lakehouse.opened[0].started.wait(20)
    clock.now = 9
    sessions.expire()
    assert operation.state is State.RUNNING
    clock.now = 11
    sessions.expire()
    assert operation.state is State.CANCELED
    assert sessions.count() == (1, 0)
    clock.now = 101
    sessions.expire()
    assert sessions.count() == (0, 0)
    assert lakehouse.opened[0].closed


def test_a_statement_whose_waiting_client_was_killed_ends_sooner(
    lakehouse: ScriptedLakehouse, clock: Time
) -> None:
    sessions = Sessions(lakehouse, monotonic=clock)
    waited_for = sessions.start(sessions.open(None, None, {}).id, run("wait"), attended=True)
    left_alone = sessions.start(sessions.open(None, None, {}).id, run("wait"))
    assert all(session.started.wait(20) for session in lakehouse.opened)
    clock.now = ATTENDED_IDLE + 1
    sessions.expire()
    assert waited_for.state is State.CANCELED
    assert lakehouse.opened[0].cancelled == ["wait"]
    assert left_alone.state is State.RUNNING
    left_alone.cancel()


def test_a_statement_whose_client_hung_up_ends_at_once(lakehouse: ScriptedLakehouse, clock: Time) -> None:
    sessions = Sessions(lakehouse, monotonic=clock)
    lost = sessions.start(sessions.open(None, None, {}).id, run("wait"), attended=True)
    found_again = sessions.start(sessions.open(None, None, {}).id, run("wait"), attended=True)
    assert all(session.started.wait(20) for session in lakehouse.opened)
    sessions.left(lost.id)
    sessions.left(found_again.id)
    sessions.left("nobody's")
    clock.now = 1
    sessions.operation(found_again.id)
    clock.now = LEFT_IDLE + 1.5
    sessions.expire()
    assert (lost.state, found_again.state) == (State.CANCELED, State.RUNNING)
    assert lakehouse.opened[0].cancelled == ["wait"]
    found_again.cancel()


def test_a_session_that_works_does_not_expire(
    sessions: Sessions, lakehouse: ScriptedLakehouse, clock: Time
) -> None:
    operation = sessions.start(sessions.open(None, None, {}).id, run("wait"))
    assert lakehouse.opened[0].started.wait(20)
    for clock.now in range(0, 500, 5):
        sessions.operation(operation.id)
        sessions.expire()
    assert sessions.count() == (1, 1)
    lakehouse.opened[0].go_on.set()
    assert operation.wait(20)


def test_a_session_that_ends_itself_leaves_its_operation(sessions: Sessions, lakehouse: ScriptedLakehouse) -> None:
    client = sessions.open(None, None, {})

    def work(session: Session) -> Result:
        result = session.execute("go")
        sessions.end(client.id)
        return result

    operation = sessions.start(client.id, work)
    assert operation.wait(20)
    assert sessions.count() == (0, 1)
    assert lakehouse.opened[0].closed
    assert sessions.operation(operation.id).result == Result(EMPTY)
