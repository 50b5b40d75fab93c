import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.engine.sail import EmbeddedSail

MEGABYTE = 1024 * 1024
LONG = "SELECT count(*) FROM range(20000000000) WHERE id % 7 = 3"


@pytest.fixture
def engine() -> Iterator[EmbeddedSail]:
    """One that a test may kill."""
    opened = EmbeddedSail()
    yield opened
    opened.close()


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def lives(pid: int) -> bool:
    """Whether a thread is left; a killed process can be waited for when its first one alone is, a zombie."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # this one has just ended
            states.append(thread.read_text().rsplit(")", 1)[1].split()[0])
    return len(states) > 1 or any(state not in "ZX" for state in states)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def replaced(engine: EmbeddedSail) -> int:
    """Have the process replaced; the pid of the one before."""
    before = engine.processes.pid
    engine.processes.renew()
    assert eventually(lambda: engine.processes.pid != before)
    return before


def outcome_of(session_query: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(session_query())
        except StatementError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_a_session_takes_its_settings_to_another_process(engine: EmbeddedSail) -> None:
    session = engine.open_session()
    session.configure({"spark.sql.session.timeZone": "+05:00"})
    assert session.query("SELECT current_timezone()").column(0)[0].as_py() == "+05:00"
    old = replaced(engine)
    assert session.query("SELECT current_timezone()").column(0)[0].as_py() == "+05:00"
    assert not lives(old)
    session.close()


def test_what_is_open_stays_in_its_process(engine: EmbeddedSail) -> None:
    session = engine.open_session()
    with session.relation(pa.table({"a": [1, 2, 3]})) as name:
        _, rows = session.read(f"SELECT id FROM range(100000), {name}", "UTC")
        count = next(rows).num_rows
        old = replaced(engine)
        assert lives(old)
        assert session.query(f"SELECT sum(a) FROM {name}").column(0)[0].as_py() == 6
        assert count + sum(batch.num_rows for batch in rows) == 300_000
    assert eventually(lambda: not lives(old))
    assert session.query("SELECT 1").num_rows == 1
    session.close()


def test_a_statement_in_an_older_process_can_be_interrupted(engine: EmbeddedSail) -> None:
    session = engine.open_session()
    session.query("SELECT 1")
    pid = engine.processes.pid
    used = processor_seconds(pid)
    failed = threading.Event()

    def run() -> None:
        try:
            session.query(LONG)
        except Exception:  # noqa: BLE001 - however the engine says it
            failed.set()

    threading.Thread(target=run, daemon=True).start()
    assert eventually(lambda: processor_seconds(pid) > used + 0.2)
    assert replaced(engine) == pid
    assert lives(pid)

    def interrupted() -> bool:
        session.interrupt()
        return failed.is_set()

    assert eventually(interrupted)
    assert eventually(lambda: not lives(pid))
    session.close()


def test_a_process_that_has_grown_is_replaced_again_and_again() -> None:
    engine = EmbeddedSail(growth_bytes=4 * MEGABYTE)
    try:
        session = engine.open_session()
        pids: set[int] = set()

        def third_process() -> bool:
            for _ in range(20):
                assert sum(rows.num_rows for rows in session.read("SELECT 1", "UTC")[1]) == 1
            pids.add(engine.processes.pid)
            return len(pids) > 2

        assert eventually(third_process)
        assert eventually(lambda: [pid for pid in pids if lives(pid)] == [engine.processes.pid])
    finally:
        engine.close()


def test_a_killed_engine_fails_what_it_ran_and_nothing_else(engine: EmbeddedSail) -> None:
    session, idle = engine.open_session(), engine.open_session()
    idle.configure({"spark.sql.session.timeZone": "+05:00"})
    session.query("SELECT 1")
    pid = engine.processes.pid
    used = processor_seconds(pid)
    thread, outcome = outcome_of(lambda: session.query(LONG))
    assert eventually(lambda: processor_seconds(pid) > used + 0.2)
    os.kill(pid, signal.SIGKILL)
    thread.join(120)
    (error,) = outcome
    assert isinstance(error, StatementError)
    assert (error.error_class, error.sqlstate) == ("TEMPORARILY_UNAVAILABLE", "08006")
    assert session.query("SELECT 1").num_rows == 1
    assert idle.query("SELECT current_timezone()").column(0)[0].as_py() == "+05:00"
    session.interrupt()
    session.close()
    idle.close()


def test_an_engine_that_was_killed_between_two_statements_is_not_missed(engine: EmbeddedSail) -> None:
    session = engine.open_session()
    for _ in range(2):
        assert session.query("SELECT 1").num_rows == 1
        pid = engine.processes.pid
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda pid=pid: not lives(pid))  # type: ignore[misc]
    assert session.query("SELECT 1").num_rows == 1
    session.close()


def test_what_fails_is_not_taken_for_a_lost_engine(engine: EmbeddedSail) -> None:
    session = engine.open_session()
    with pytest.raises(Exception, match="nowhere") as raised:
        session.query("SELECT * FROM nowhere")
    assert not isinstance(raised.value, StatementError)
    session.close()
    with pytest.raises(StatementError, match="canceled"):
        session.query("SELECT 1")


def test_the_engine_ends_with_a_killed_parent() -> None:
    program = (
        "import time\n"
        "from dqctl.localworkspace.engine.sail import EmbeddedSail\n"
        "engine = EmbeddedSail()\n"
        "print(engine.processes.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    assert eventually(lambda: not lives(pid))


def test_what_ends_a_group_of_processes_leaves_the_engine_to_its_parent(engine: EmbeddedSail) -> None:
    session = engine.open_session()
    before = engine.processes.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before, number)
    assert session.query("SELECT 1").num_rows == 1
    assert engine.processes.pid == before
    session.close()


def test_a_statement_that_takes_all_memory_ends_its_engine_and_not_the_machine() -> None:
    doubled = [
        f"c{each} AS (SELECT a FROM c{each - 1} UNION ALL SELECT a FROM c{each - 1})" for each in range(1, 24)
    ]
    hungry = f"WITH c0 AS (SELECT 1 AS a), {', '.join(doubled)} SELECT count(*) FROM c23"
    engine = EmbeddedSail(memory_bytes=400 * MEGABYTE)
    try:
        session = engine.open_session()
        with pytest.raises(StatementError) as refused:
            session.query(hungry)
        assert refused.value.error_class == "TEMPORARILY_UNAVAILABLE"
        assert session.query("SELECT 1 AS a").to_pylist() == [{"a": 1}]
    finally:
        engine.close()
