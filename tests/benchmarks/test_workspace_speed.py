"""What the local workspace adds to its engine: each number beside that of the bare engine, in one run."""

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Record
from dqctl.localworkspace.endpoint import Endpoint
from workspaces import connected, running_workspace

pytestmark = pytest.mark.benchmark

TRIVIAL_MORE = 0.010
TABLE_SECONDS = 1.0
FILES_SECONDS = 0.5
START_SECONDS = 2.5
THROUGHPUT_RATIO = 0.8
CONNECTIONS = 8
MEGABYTE = 1024 * 1024
MANY_STATEMENTS_BYTES = 120 * MEGABYTE

TEN_COLUMNS = """
create table main.default.wide as select
  id, cast(id % 1000 as int) as bucket, id * 1.5D as price, cast(id % 1700 / 100 as decimal(12, 2)) as quantity,
  if(id % 7 = 0, null, concat('customer ', cast(id % 50000 as string))) as customer, id % 3 = 0 as active,
  if(id % 11 = 0, null, date_add(date'2024-01-01', cast(id % 365 as int))) as day,
  timestamp'2024-01-01 00:00:00' + make_dt_interval(0, 0, 0, id % 86400) as at,
  cast(id % 7 as smallint) as weekday, cast(id % 100 / 7 as float) as score
from range(1000000)
"""
BUSY = "select bucket % 10 as b, count(*), sum(price), max(customer) from {} where id % 11 <> 3 group by 1"
ENGINE = """
import sys
from pysail.spark import SparkConnectServer
server = SparkConnectServer(ip="127.0.0.1", port=0)
server.start(background=True)
print(server.listening_address[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _no_log(caplog: pytest.LogCaptureFixture) -> None:
    # pytest takes every record; the connector writes whole answers into its own.
    caplog.set_level("WARNING")
    caplog.set_level("WARNING", "databricks.sql.unsafe")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running, connected(running) as connection, connection.cursor() as cursor:
        cursor.execute(TEN_COLUMNS)
        cursor.execute("create volume main.default.files")
        yield running


@pytest.fixture(scope="module")
def bare_engine() -> Iterator[str]:
    """The URL of an engine in a process of its own, as the workspace's is."""
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"sc://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def session(url: str) -> Any:
    from dqctl.localworkspace.engine.spark_connect import SparkSession

    made = SparkSession.builder.remote(url).create()
    made.client.set_retry_policies([])  # at its end pyspark takes leave of a killed engine for ten minutes
    return made


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def place_of(endpoint: Endpoint) -> str:
    (found,) = {log.parent for log in endpoint.data_dir.glob("tables/main/default/wide*/_delta_log")}
    return f"delta.`{found}`"


def resident(endpoint: Endpoint) -> int:
    """Bytes of the server and of its engine's processes."""
    children = Path(f"/proc/{endpoint.pid}/task").glob("*/children")
    pids = [str(endpoint.pid), *(pid for each in children for pid in each.read_text().split())]
    total = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # an engine that was replaced just now
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024
    return total


def test_a_trivial_statement(endpoint: Endpoint, bare_engine: str, record: Record) -> None:
    spark = session(bare_engine)
    ours, theirs = [], []
    with connected(endpoint) as connection, connection.cursor() as cursor:
        for _ in range(220):
            ours.append(seconds(lambda: cursor.execute("select 1").fetchall()))
            theirs.append(seconds(lambda: spark.sql("select 1").toArrow()))
    spark.stop()
    mine, bare = statistics.median(ours[20:]), statistics.median(theirs[20:])
    record("trivial statement, bare engine", bare, "s")
    record("trivial statement, workspace", mine, "s", ceiling=bare + TRIVIAL_MORE)
    assert mine <= bare + TRIVIAL_MORE


@pytest.mark.parametrize("compressed", [True, False], ids=["lz4", "plain"])
def test_a_million_rows_of_ten_columns(
    endpoint: Endpoint, bare_engine: str, record: Record, compressed: bool
) -> None:
    spark = session(bare_engine)
    place = place_of(endpoint)
    with connected(endpoint, enable_query_result_lz4_compression=compressed) as connection:
        cursor = connection.cursor()

        def read() -> None:
            cursor.execute("select * from main.default.wide")
            assert cursor.fetchall_arrow().num_rows == 1_000_000

        mine = min(seconds(read) for _ in range(5))
    bare = min(seconds(lambda: spark.sql(f"select * from {place}").toArrow()) for _ in range(5))
    spark.stop()
    record("1,000,000 rows x 10 columns, bare engine", bare, "s")
    record("1,000,000 rows x 10 columns, workspace", mine, "s", lz4=compressed, ceiling=TABLE_SECONDS)
    assert mine <= TABLE_SECONDS


def test_200000_rows_from_parquet(endpoint: Endpoint, record: Record, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.table({"id": range(200_000), "text": [f"row {number}" for number in range(200_000)]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    with (
        connected(endpoint, staging_allowed_local_path=str(tmp_path)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"PUT '{tmp_path}/rows.parquet' INTO '/Volumes/main/default/files/rows.parquet' OVERWRITE")
        cursor.execute("create or replace table main.default.loaded (id bigint, text string)")
        load = (
            "insert into main.default.loaded "
            "select id, text from read_files('/Volumes/main/default/files/rows.parquet', format => 'parquet')"
        )
        mine = min(seconds(lambda: cursor.execute(load)) for _ in range(5))
        assert cursor.rowcount == 200_000
    record("200,000 rows from Parquet", mine, "s", ceiling=FILES_SECONDS)
    assert mine <= FILES_SECONDS


def test_from_start_to_first_answer(record: Record) -> None:
    def start() -> float:
        started = time.perf_counter()
        with running_workspace() as endpoint, connected(endpoint) as connection:
            assert connection.cursor().execute("select 1").fetchall()[0][0] == 1
            return time.perf_counter() - started

    mine = min(start() for _ in range(3))
    record("start to first answer", mine, "s", ceiling=START_SECONDS)
    assert mine <= START_SECONDS


def test_eight_busy_connections(endpoint: Endpoint, bare_engine: str, record: Record) -> None:
    def throughput(open_client: Callable[[ExitStack], Callable[[], object]]) -> float:
        # Closed while the workspace lives: the connector takes leave of one that is gone for a quarter of an hour.
        with ExitStack() as opened:
            clients = [open_client(opened) for _ in range(CONNECTIONS)]
            for run in clients:
                run()
            failures: list[Exception] = []

            def work(run: Callable[[], object]) -> None:
                try:
                    for _ in range(15):
                        run()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(run,)) for run in clients]
            took = seconds(lambda: [thread.start() for thread in threads] + [thread.join() for thread in threads])
        assert failures == []
        return CONNECTIONS * 15 / took

    statement, bare_statement = BUSY.format("main.default.wide"), BUSY.format(place_of(endpoint))

    def ours(opened: ExitStack) -> Callable[[], object]:
        cursor = opened.enter_context(connected(endpoint)).cursor()
        return lambda: cursor.execute(statement).fetchall()

    def theirs(opened: ExitStack) -> Callable[[], object]:
        spark = session(bare_engine)
        opened.callback(spark.stop)
        return lambda: spark.sql(bare_statement).toArrow()

    bare, mine = throughput(theirs), throughput(ours)
    record("8 connections, bare engine", bare, "statements/s")
    record("8 connections, workspace", mine, "statements/s", ratio=round(mine / bare, 3), floor=THROUGHPUT_RATIO)
    assert mine >= THROUGHPUT_RATIO * bare


def test_memory_of_ten_million_rows(endpoint: Endpoint, record: Record) -> None:
    wide = "select w.*, r.id as n from main.default.wide w cross join range(10) r"
    with connected(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute("select * from main.default.wide limit 500000").fetchall_arrow()
        before = peak = resident(endpoint)
        cursor.execute(wide)
        rows = 0
        while part := cursor.fetchmany_arrow(100_000).num_rows:
            rows += part
            peak = max(peak, resident(endpoint))
    assert rows == 10_000_000
    record("10,000,000 rows, more memory at most", (peak - before) / MEGABYTE, "MB", before=before // MEGABYTE)
    assert peak - before < 400 * MEGABYTE


def test_memory_of_eight_readers_that_stop(endpoint: Endpoint, record: Record) -> None:
    """Each begins to read 2,000,000 rows, and goes no further."""
    wide = "select w.*, r.id as n from main.default.wide w cross join range(2) r"
    # Closed whatever happens: one that is left is closed at the end of the process, and asks and asks who is gone.
    with ExitStack() as opened:
        cursors = [opened.enter_context(connected(endpoint)).cursor() for _ in range(CONNECTIONS)]
        before = peak = resident(endpoint)
        threads = [threading.Thread(target=cursor.execute, args=(wide,), daemon=True) for cursor in cursors]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, resident(endpoint))
            time.sleep(0.05)
        for cursor in cursors:
            assert cursor.fetchmany_arrow(1000).num_rows == 1000
        held = resident(endpoint)
    record("8 readers that stop, more memory at most", (peak - before) / MEGABYTE, "MB", before=before // MEGABYTE)
    record("8 readers that stop, more memory while they stand", (held - before) / MEGABYTE, "MB")
    assert peak - before < 1600 * MEGABYTE


def test_memory_of_ten_thousand_statements(endpoint: Endpoint, record: Record) -> None:
    with connected(endpoint) as connection, connection.cursor() as cursor:
        for _ in range(1000):
            cursor.execute("select 1").fetchall()
        before = resident(endpoint)
        most = 0
        for number in range(10_000):
            cursor.execute("select 1").fetchall()
            if number % 100 == 0:
                most = max(most, resident(endpoint))
        more = resident(endpoint) - before
    record("10,000 statements, more memory", more / MEGABYTE, "MB", before=before // MEGABYTE)
    record("10,000 statements, more memory at most", (most - before) / MEGABYTE, "MB")
    assert more < MANY_STATEMENTS_BYTES
