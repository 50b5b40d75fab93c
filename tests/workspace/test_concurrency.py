"""Sessions that write one table at the same time, and one that is killed while it writes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client


def at_once(connect: Callable[..., Client], *works: Callable[[Client], None]) -> None:
    """Each work in a session of its own, all at the same time; the first failure of any of them."""
    failures: list[BaseException] = []
    clients = [connect() for _ in works]
    ready = threading.Barrier(len(works))

    def run(work: Callable[[Client], None], client: Client) -> None:
        try:
            ready.wait(60)
            work(client)
        except BaseException as error:  # noqa: BLE001 - an assertion's too, raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(works, clients, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    if failures:
        raise failures[0]


@pytest.mark.feature("SQL", "Concurrent appends all succeed")
def test_concurrent_appends_all_arrive(connect: Callable[..., Client], client: Client) -> None:
    client.execute("CREATE TABLE t (writer INT, n INT)")

    def append(writer: int) -> Callable[[Client], None]:
        return lambda one: [one.execute(f"INSERT INTO t VALUES ({writer}, {n})") for n in range(4)] and None

    at_once(connect, *(append(writer) for writer in range(4)))
    assert client.rows("SELECT writer, count(*), sum(n) FROM t GROUP BY 1 ORDER BY 1") == [
        (writer, 4, 6) for writer in range(4)
    ]
    assert client.execute("DESCRIBE HISTORY t").table.column("version").to_pylist() == list(range(16, -1, -1))


def until_done(one: Client, statement: str) -> None:
    """As every client of a warehouse does: what met a conflict is tried again."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        try:
            one.execute(statement)
        except StatementError as error:
            if error.sqlstate != "2D521":
                raise
        else:
            return
    pytest.fail(f"{statement} met conflicts only")


@pytest.mark.feature("SQL", "A conflicting change is refused, and succeeds when it is tried again")
def test_no_concurrent_change_is_lost(connect: Callable[..., Client], client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, n INT)")
    client.execute("INSERT INTO t VALUES (1, 0), (2, 0)")

    def update(one: Client) -> None:
        for _ in range(3):
            until_done(one, "UPDATE t SET n = n + 1 WHERE id = 1")

    def merge(one: Client) -> None:
        for _ in range(3):
            until_done(one, "MERGE INTO t USING (SELECT 1 AS id UNION ALL SELECT 2) s ON t.id = s.id"
                            " WHEN MATCHED THEN UPDATE SET n = t.n + 10")  # fmt: skip

    def compact(one: Client) -> None:
        for _ in range(2):
            until_done(one, "OPTIMIZE t")
            one.execute("INSERT INTO t VALUES (3, 7)")

    at_once(connect, update, merge, compact)
    assert client.rows("SELECT id, n FROM t ORDER BY id, n") == [(1, 33), (2, 30), (3, 7), (3, 7)]


@pytest.mark.feature("SQL", "A reader sees one version, whoever writes")
def test_readers_never_see_half_a_write(connect: Callable[..., Client], client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT id, 0 AS n FROM range(100)")
    done = threading.Event()

    def write(one: Client) -> None:
        try:
            for number in range(1, 6):
                one.execute(f"UPDATE t SET n = {number}")
        finally:
            done.set()

    def read(one: Client) -> None:
        while not done.is_set():
            assert one.rows("SELECT count(*), count(DISTINCT n) FROM t") == [(100, 1)]

    at_once(connect, write, read)


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from dqctl.localworkspace.lakehouse import open_lakehouse

    session = open_lakehouse(Path(sys.argv[1])).open_session(None, None, {})
    print("ready", flush=True)
    number = int(session.execute("SELECT coalesce(max(n), 0) AS n FROM t", ()).table.column(0)[0].as_py())
    while True:
        number += 1
        session.execute(f"UPDATE t SET n = {number}", ())
        source = f"(SELECT {number} AS n) s"
        session.execute(f"MERGE INTO log USING {source} ON log.n = s.n WHEN NOT MATCHED THEN INSERT *", ())
        session.execute("COPY INTO copied FROM '/Volumes/main/default/files' FILEFORMAT = JSON", ())
        print(number, flush=True)
""")


@pytest.mark.local
@pytest.mark.feature("SQL", "A writer that is killed leaves whole versions")
def test_a_killed_writer_leaves_a_version_that_is_whole(tmp_path: Path) -> None:
    """SIGKILL at random moments: what was answered is there, nothing is there in half, files are loaded once."""
    data, seed = tmp_path / "data", random.randrange(2**32)  # noqa: S311 - as below
    chance = random.Random(seed)  # noqa: S311 - moments, no secrets
    lakehouse = open_lakehouse(data)
    client = Client(lakehouse.open_session(None, None, {}))
    client.execute("CREATE TABLE t AS SELECT id, 0 AS n FROM range(50)")
    client.execute("CREATE TABLE log (n INT)")
    client.execute("CREATE TABLE copied (n INT)")
    client.execute("CREATE VOLUME files")
    place: Path = lakehouse.volume_file("/Volumes/main/default/files")
    client.session.close()
    lakehouse.close()
    told: set[int] = set()
    for loaded in range(1, int(os.environ.get("DQCTL_TEST_KILLS", "3")) + 1):
        (place / f"{loaded}.json").write_text(json.dumps({"n": loaded}))
        told |= _killed(data, chance)
        lakehouse = open_lakehouse(data)
        client = Client(lakehouse.open_session(None, None, {}))
        ((rows, values, newest),) = client.rows("SELECT count(*) AS r, count(DISTINCT n) AS v, max(n) AS n FROM t")
        assert (rows, values) == (50, 1), seed
        assert newest >= max(told), seed
        logged = [number for (number,) in client.rows("SELECT n FROM log ORDER BY n")]
        assert len(set(logged)) == len(logged), seed
        assert told <= set(logged), seed
        client.execute("COPY INTO copied FROM '/Volumes/main/default/files' FILEFORMAT = JSON")
        assert client.rows("SELECT n FROM copied ORDER BY n") == [(n,) for n in range(1, loaded + 1)], seed
        client.session.close()
        lakehouse.close()


def _killed(data: Path, chance: random.Random) -> set[int]:
    """Let a process write, kill it at some moment, and say which numbers it was told are stored."""
    command = [sys.executable, "-c", WRITER, str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer, contextlib.ExitStack() as stack:
        stack.callback(writer.kill)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        first = writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        # The last line may have been cut off by the signal.
        return {int(line) for line in [first, *writer.stdout] if line.endswith("\n")}


@pytest.mark.feature("SQL", "A cancelled write changes nothing")
def test_a_cancelled_write_changes_nothing(client: Client) -> None:
    client.execute("CREATE TABLE t (n BIGINT)")
    failures: list[StatementError] = []

    def write() -> None:
        try:
            client.execute("INSERT INTO t SELECT a.id FROM range(3000000) a, range(200) b")
        except StatementError as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive() and not failures:
        client.session.cancel()
        time.sleep(0.05)
    thread.join(120)
    assert failures[0].error_class == "OPERATION_CANCELED"
    assert client.value("SELECT count(*) FROM t") == 0
