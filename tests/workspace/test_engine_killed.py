"""The engine's process is killed while clients use it: what it ran fails by name, all else goes on."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from databricks import sql

from dqctl.localworkspace.endpoint import Endpoint
from workspaces import connected

pytestmark = pytest.mark.local

KILLS = 3


def engine_of(endpoint: Endpoint) -> int | None:
    """The engine's process; None while there is none."""
    for children in Path(f"/proc/{endpoint.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"sail_process" in command:
                return int(child)
    return None


class Client:
    """Adds rows and counts them until it is told to stop."""

    def __init__(self, endpoint: Endpoint, number: int) -> None:
        self._connection = connected(endpoint)
        self._number = number
        self._stopping = threading.Event()
        self.done = 0
        self.acknowledged: list[int] = []
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        cursor = self._connection.cursor()
        while not self._stopping.is_set():
            value = self._number * 1_000_000 + self.done
            try:
                cursor.execute(f"INSERT INTO main.default.t SELECT {value} FROM range(2)")
                self.acknowledged.append(value)
                cursor.execute("SELECT count(*) FROM main.default.t").fetchall()
            except sql.Error as error:
                self.errors.append(str(error))
            self.done += 1

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        self._connection.close()


@pytest.mark.feature("Limits", "the engine killed, or out of memory: its statements fail, the next ones work")
def test_a_killed_engine_takes_only_its_statements_with_it(endpoint: Endpoint) -> None:
    with connected(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'Asia/Tokyo'")
        cursor.execute("CREATE TABLE main.default.t (n BIGINT)")
        clients = [Client(endpoint, number) for number in range(3)]
        for _ in range(KILLS):
            before = [client.done for client in clients]
            deadline = time.monotonic() + 120
            while any(client.done < then + 2 for client, then in zip(clients, before, strict=True)):
                assert time.monotonic() < deadline, [client.errors for client in clients]
                time.sleep(0.01)
            if (engine := engine_of(endpoint)) is not None:
                os.kill(engine, signal.SIGKILL)
        deadline = time.monotonic() + 120
        before = [len(client.acknowledged) for client in clients]
        while any(len(client.acknowledged) < then + 2 for client, then in zip(clients, before, strict=True)):
            assert time.monotonic() < deadline, [client.errors for client in clients]
            time.sleep(0.01)
        for client in clients:
            client.stop()
        errors = [error for client in clients for error in client.errors]
        assert [error for error in errors if "[TEMPORARILY_UNAVAILABLE]" not in error] == []
        assert len(errors) <= KILLS * len(clients)
        cursor.execute("SELECT n, count(*) FROM main.default.t GROUP BY n")
        rows = {row[0]: row[1] for row in cursor.fetchall()}
        assert set(rows.values()) == {2}
        # What failed was not done: the engine computes rows, and who commits them was not killed.
        assert {value for client in clients for value in client.acknowledged} == set(rows)
        cursor.execute("SELECT current_timezone()")
        assert cursor.fetchone()[0] == "Asia/Tokyo"
