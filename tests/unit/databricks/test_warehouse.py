import itertools
import logging
import os
import ssl
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from databricks.sql import exc
from pydantic import SecretStr

from dqctl.clock import Clock
from dqctl.databricks import warehouse
from dqctl.databricks.failures import Conflict, NobodyThere, Unreachable
from dqctl.databricks.target import PersonalToken, ServicePrincipal, Target
from dqctl.databricks.warehouse import Warehouse

TARGET = Target(
    "127.0.0.1", "/sql/1.0/warehouses/x", "main", "dq", PersonalToken(SecretStr("dapi-t")), port=1, direct=True
)


class Cursor:
    """Fails as often as ``failures`` says, then works."""

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.rowcount = 7

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, parameters: Any = None, input_stream: Any = None) -> "Cursor":
        self.connection.statements.append((statement, parameters, input_stream.read() if input_stream else None))
        if self.connection.failures:
            raise self.connection.failures.pop(0)
        return self

    def fetchmany_arrow(self, rows: int) -> pa.Table:
        if self.connection.failures:
            raise self.connection.failures.pop(0)
        portion, self.connection.rows = self.connection.rows[:rows], self.connection.rows[rows:]
        return pa.table({"n": pa.array(portion, pa.int64())})

    def cancel(self) -> None:
        pass


class Connection:
    def __init__(self) -> None:
        self.statements: list[Any] = []
        self.failures: list[Exception] = []
        self.rows: list[int] = []
        self.closed = 0
        self.session = SimpleNamespace(is_open=True)

    def cursor(self, **_: int) -> Cursor:
        return Cursor(self)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> tuple[Connection, list[dict[str, Any]]]:
    """The connector is the border: what it is asked is recorded, nobody is connected to."""
    connection, asked = Connection(), []

    def connect(**arguments: Any) -> Connection:
        asked.append(arguments)
        return connection

    monkeypatch.setattr(warehouse.sql, "connect", connect)
    monkeypatch.setattr(warehouse, "is_out_of_reach", lambda *_: "")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    return connection, asked


def test_nothing_is_opened_before_the_first_statement(opened: Any) -> None:
    connection, asked = opened
    with Warehouse(TARGET) as one:
        assert asked == []
        one.execute("SELECT 1")
        one.execute("SELECT 2")
    assert len(asked) == 1
    assert connection.closed == 1


def test_what_the_connector_is_told(opened: Any) -> None:
    _, asked = opened
    Warehouse(TARGET).execute("SELECT 1")
    (arguments,) = asked
    assert arguments["access_token"] == "dapi-t"
    assert arguments["enable_telemetry"] is False
    assert arguments["user_agent_entry"].startswith("dqctl/")
    assert arguments["_retry_delay_max"] == 5.0
    assert arguments["session_configuration"] == {"STATEMENT_TIMEOUT": "900", "TIMEZONE": "UTC"}
    assert "credentials_provider" not in arguments


def test_the_connector_does_not_log_data_when_debug_messages_are_wanted(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("databricks.sql.unsafe"), "level", logging.DEBUG)
    Warehouse(TARGET).execute("SELECT 1")
    assert not logging.getLogger("databricks.sql.unsafe").isEnabledFor(logging.DEBUG)


def test_local_address_bypasses_proxies_without_forgetting_other_hosts(opened: Any) -> None:
    Warehouse(TARGET).execute("SELECT 1")
    Warehouse(TARGET).execute("SELECT 1")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "example.org,127.0.0.1"


def test_service_principal_is_a_provider_that_asks_nobody_before_it_is_called(opened: Any) -> None:
    _, asked = opened
    target = Target("h", "/p", "c", "s", ServicePrincipal("id", SecretStr("s3cret")))
    Warehouse(target).execute("SELECT 1")
    assert callable(asked[0]["credentials_provider"])
    assert "access_token" not in asked[0]


def test_conflict_is_tried_again_after_a_pause_that_grows(opened: Any) -> None:
    connection, _ = opened
    pauses: list[float] = []
    connection.failures = [exc.ServerOperationError("[DELTA_CONCURRENT_APPEND] SQLSTATE: 2D521")] * 3
    assert Warehouse(TARGET, Clock(sleep=pauses.append)).execute("INSERT ...") == 7
    assert len(connection.statements) == 4
    assert len(pauses) == 3
    assert all(0 <= pause <= 10 for pause in pauses)


def test_conflict_that_stays_comes_out(opened: Any) -> None:
    connection, _ = opened
    connection.failures = [exc.ServerOperationError("[DELTA_CONCURRENT_APPEND] SQLSTATE: 2D521")] * 99
    with pytest.raises(Conflict):
        Warehouse(TARGET, Clock(sleep=lambda _: None)).execute("INSERT ...")
    assert len(connection.statements) == 5


def test_other_failures_are_not_tried_again(opened: Any) -> None:
    connection, _ = opened
    connection.failures = [exc.ServerOperationError("[PARSE_SYNTAX_ERROR] no")]
    with pytest.raises(warehouse.understand(connection.failures[0], TARGET).__class__):
        Warehouse(TARGET).execute("SELEC")
    assert len(connection.statements) == 1


def test_a_lost_answer_is_asked_for_again_in_the_same_session(opened: Any) -> None:
    connection, asked = opened
    connection.failures = [ssl.SSLEOFError("gone")]
    assert Warehouse(TARGET, Clock(sleep=lambda _: None)).execute("INSERT ...") == 7
    assert (len(connection.statements), len(asked)) == (2, 1)


@pytest.mark.parametrize(
    "failures",
    [[ssl.SSLEOFError("gone")] * 2, [exc.DatabaseError("Invalid SessionHandle")]],
    ids=["lost twice", "forgotten by the server"],
)
def test_a_session_that_does_not_answer_is_given_up_without_asking_it(opened: Any, failures: list[Any]) -> None:
    connection, asked = opened
    connection.failures = list(failures)
    Warehouse(TARGET, Clock(sleep=lambda _: None)).execute("SELECT 1")
    assert (connection.closed, len(asked)) == (1, 2)
    # The connector sends CloseSession, for as long as its patience lasts, unless it believes that it was sent.
    assert connection.session.is_open is False


def test_what_stays_lost_comes_out_after_the_patience(opened: Any) -> None:
    connection, _ = opened
    connection.failures = [ssl.SSLEOFError("gone")] * 99
    now = itertools.count(step=20)
    clock = Clock(monotonic=lambda: float(next(now)), sleep=lambda _: None)
    with pytest.raises(Unreachable):
        Warehouse(TARGET, clock).execute("SELECT 1")
    assert 2 <= len(connection.statements) <= 5


def test_host_that_never_answered_is_refused_in_seconds() -> None:
    target = replace(TARGET, host="nobody.invalid", direct=False, patience=60.0)
    started = time.monotonic()
    with pytest.raises(NobodyThere, match=r"nobody\.invalid:1: ") as caught:
        Warehouse(target).query("SELECT 1")
    assert time.monotonic() - started < 30  # its patience is 60
    assert "DATABRICKS_HOST" in caught.value.hint


def test_file_is_streamed_into_the_volume(opened: Any) -> None:
    connection, _ = opened
    Warehouse(TARGET).put(b"abc", "/Volumes/main/dq/dqctl_staging/lab/1/t.parquet")
    assert connection.statements == [
        (
            "PUT '__input_stream__' INTO '/Volumes/main/dq/dqctl_staging/lab/1/t.parquet' OVERWRITE",
            None,
            b"abc",
        )
    ]


def test_file_is_read_from_its_start_when_it_is_sent_again(opened: Any) -> None:
    connection, _ = opened
    connection.failures = [exc.ServerOperationError("[DELTA_CONCURRENT_APPEND] SQLSTATE: 2D521")]
    Warehouse(TARGET, Clock(sleep=lambda _: None)).put(b"abc", "/Volumes/a/b/c/d")
    assert [sent for _, _, sent in connection.statements] == [b"abc", b"abc"]


@pytest.mark.parametrize("path", ["/tmp/x", "/Volumes/a/b/c/../d", "/Volumes/a/b/c/it's"])
def test_odd_paths_are_refused(opened: Any, path: str) -> None:
    with pytest.raises(ValueError, match="not a path of a volume"):
        Warehouse(TARGET).put(b"", path)


def test_statements_at_once_have_sessions_of_their_own_which_serve_the_next_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = threading.Barrier(2, timeout=10)
    made: list[Connection] = []

    class Waiting(Cursor):
        def execute(self, *arguments: Any, **more: Any) -> "Cursor":
            together.wait()
            return super().execute(*arguments, **more)

    class Meeting(Connection):
        def cursor(self) -> Cursor:
            return Waiting(self)

    def connect(**_: Any) -> Connection:
        made.append(Meeting())
        return made[-1]

    monkeypatch.setattr(warehouse.sql, "connect", connect)
    monkeypatch.setattr(warehouse, "is_out_of_reach", lambda *_: "")
    with Warehouse(TARGET) as one:
        for _ in range(2):
            threads = [threading.Thread(target=one.execute, args=("INSERT ...",)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
    assert [len(each.statements) for each in made] == [2, 2]
    assert [each.closed for each in made] == [1, 1]


def test_a_stream_gives_portions_and_ends_its_session(opened: tuple[Connection, list[dict[str, Any]]]) -> None:
    connection, _ = opened
    connection.rows = list(range(5))
    with Warehouse(TARGET) as found:
        portions = list(found.stream("SELECT n", {"a": 1}, rows=2))
    assert [portion["n"].to_pylist() for portion in portions] == [[0, 1], [2, 3], [4]]
    assert connection.statements == [("SELECT n", {"a": 1}, None)]
    assert connection.closed == 1


def test_a_stream_that_breaks_half_way_is_an_error_and_no_row_comes_twice(
    opened: tuple[Connection, list[dict[str, Any]]],
) -> None:
    connection, _ = opened
    connection.rows = list(range(5))
    with Warehouse(TARGET) as found:
        portions = found.stream("SELECT n", rows=2)
        assert next(portions)["n"].to_pylist() == [0, 1]
        connection.failures = [exc.RequestError("lost", session_id_hex="")]
        with pytest.raises(Unreachable):
            next(portions)
    assert len(connection.statements) == 1
    assert connection.closed == 1
