"""Publishing at scale, from a real PostgreSQL into the local workspace, statements as slow as a warehouse's."""

import dataclasses
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.conftest import Record
from dqctl.databricks.warehouse import Warehouse
from dqctl.localworkspace import client
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault
from dqctl.progress import silent
from dqctl.runtime import accounts, postgres_programs
from dqctl.runtime.postgres import Postgres, free_port
from dqctl.services import tables
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.reader import MetadataReader
from many_results import VERSION, make_history
from publishing import Stack, Watched, publish_to
from workspaces import running_workspace

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SLOW = 0.3
STATEMENTS = 12
PEAK_MB = 600


@pytest.fixture(scope="module")
def postgres(environments: Path) -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="dq-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        account = accounts.choose_account(None)
        server = Postgres(
            postgres_programs.location(environments),
            home / "postgres",
            free_port(),
            account,
            SecretStr(secrets.token_hex(16)),
        )
        server.create()
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def environments() -> Path:
    cache = Path(os.environ.get("DQCTL_TEST_CACHE") or "/var/cache/dqctl-tests") / "environments"
    cache.mkdir(parents=True, exist_ok=True)
    postgres_programs.ensure_programs(cache, log=cache.parent / "install.log", progress=silent)
    return cache


@pytest.fixture(scope="module")
def history(postgres: Postgres) -> Callable[[int, int], Stack]:
    """A TestGen with so many test runs of so many results each."""

    def make(runs: int, results: int) -> Stack:
        name = f"history_{runs}_{results}"
        with postgres.connect("postgres", autocommit=True) as admin:
            if admin.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).rowcount == 0:
                admin.execute(f"CREATE DATABASE {name}".encode())
                with postgres.connect(name) as connection:
                    make_history(connection, runs, results)
        return Stack(VERSION, postgres, name)

    return make


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running:
        yield running


@pytest.fixture
def settings(endpoint: Endpoint, tmp_path: Path) -> Iterator[Settings]:
    """Tables that are there already: what a publish costs every night."""
    made = Settings(home=tmp_path, workspace=endpoint.data_dir, schema_name=f"dq_{secrets.token_hex(4)}")
    tables.init(made)
    with Warehouse(find_target(made)) as warehouse:
        warehouse.execute(f"CREATE VOLUME main.{made.schema_name}.dqctl_staging")
    yield made
    client.clear_faults(endpoint)


def published(stack: Stack, settings: Settings) -> tuple[float, int, int]:
    """Seconds, statements, and results in the tables afterwards."""
    watched = Watched(Warehouse(find_target(settings)))
    stack.execute("DROP SCHEMA IF EXISTS dqctl CASCADE")
    started = time.perf_counter()
    publish_to(stack, settings, lambda: watched)
    seconds = time.perf_counter() - started
    with Warehouse(find_target(settings)) as warehouse:
        name = f"main.{settings.schema_name}.dq_test_results"
        (results,) = warehouse.query(f"SELECT count(*) AS n FROM {name}")["n"].to_pylist()
    return seconds, len(watched.statements), results


def slow(endpoint: Endpoint, seconds: float) -> None:
    client.clear_faults(endpoint)
    if seconds:
        client.add_fault(endpoint, Fault(Effect.DELAY, seconds=seconds, times=0))


@pytest.mark.parametrize(("latency", "ceiling"), [(0.0, 6.0), (SLOW, 10.0)])
@pytest.mark.parametrize("runs", [1, 100])
def test_100000_results(
    record: Record,
    history: Callable[[int, int], Stack],
    endpoint: Endpoint,
    settings: Settings,
    runs: int,
    latency: float,
    ceiling: float,
) -> None:
    stack = history(runs, 100_000 // runs)
    slow(endpoint, latency)
    seconds, statements, results = published(stack, settings)
    assert results == 100_000
    about = {"runs": runs, "latency": latency, "load": os.getloadavg()[0]}
    record("100,000 results published", seconds, "s", ceiling=ceiling, statements=statements, **about)
    assert statements <= STATEMENTS
    assert seconds < 3 * ceiling


def test_1000_results_beside_executemany(
    record: Record, history: Callable[[int, int], Stack], endpoint: Endpoint, settings: Settings
) -> None:
    stack = history(1, 1000)
    slow(endpoint, SLOW)
    seconds, statements, results = published(stack, settings)
    assert results == 1000
    record("1,000 results published", seconds, "s", latency=SLOW, statements=statements)
    rows, each = 1000, executemany(stack, settings, 20)
    record("1,000 results by executemany, from 20", rows * each, "s", latency=SLOW)
    record("executemany takes", rows * each / seconds, "times as long", floor=100)
    assert rows * each / seconds > 50


def executemany(stack: Stack, settings: Settings, count: int) -> float:
    """Seconds that a result takes when results are inserted one by one, as the connector does it."""
    with stack.metadata() as connection:
        reader = MetadataReader(connection, capabilities(stack.version), settings.stack)
        run_id = reader.finished_runs()[0].run_id
        rows = reader.content(run_id).rows["dq_test_results"][:count]
    names = list(rows[0])
    statement = (
        f"INSERT INTO main.{settings.schema_name}.dq_test_results ({', '.join(names)}) "
        f"VALUES ({', '.join(f':{name}' for name in names)})"
    )
    with Warehouse(find_target(settings)) as warehouse:
        warehouse.query("SELECT 1")
        (session,) = warehouse._idle
        with session.cursor() as cursor:
            started = time.perf_counter()
            cursor.executemany(statement, [dict(row) for row in rows])
            return (time.perf_counter() - started) / count


@pytest.mark.parametrize(("runs", "latency"), [(1000, SLOW), (1, 0.0)])
def test_1000000_results_are_backfilled_in_little_memory(
    record: Record,
    history: Callable[[int, int], Stack],
    endpoint: Endpoint,
    settings: Settings,
    runs: int,
    latency: float,
) -> None:
    stack = history(runs, 1_000_000 // runs)
    stack.execute("DROP SCHEMA IF EXISTS dqctl CASCADE")
    slow(endpoint, latency)
    started = time.perf_counter()
    said = subprocess.run(
        [sys.executable, __file__, str(settings.home), str(settings.workspace), settings.schema_name],
        input=_place(stack),
        capture_output=True,
        text=True,
        timeout=1500,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    seconds = time.perf_counter() - started
    assert said.returncode == 0, said.stderr[-2000:]
    last = json.loads(said.stdout.splitlines()[-1])
    about = {"runs": runs, "latency": latency, "load": os.getloadavg()[0]}
    record("1,000,000 results backfilled", seconds, "s", statements=last["statements"], **about)
    record("1,000,000 results backfilled, peak memory", last["peak_mb"], "MB", ceiling=PEAK_MB, **about)
    assert last["results"] == 1_000_000
    assert any("rows/s" in line for line in said.stderr.splitlines())
    assert last["peak_mb"] < PEAK_MB


def _place(stack: Stack) -> str:
    password = stack.postgres.password.get_secret_value()
    return json.dumps(
        dataclasses.asdict(stack.postgres) | {"password": password, "database": stack.database}, default=str
    )


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _main(home: str, workspace: str, schema: str) -> None:
    """Publishes in a process of its own, whose memory is measured."""
    fields = json.load(sys.stdin)
    database = fields.pop("database")
    postgres = Postgres(
        Path(fields["programs"]),
        Path(fields["data"]),
        fields["port"],
        fields["account"],
        SecretStr(fields["password"]),
    )
    settings = Settings(home=Path(home), workspace=Path(workspace), schema_name=schema)
    stack = Stack(VERSION, postgres, database)
    watched = Watched(Warehouse(find_target(settings)))
    report = publish_to(stack, settings, lambda: watched, progress=say)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results = report.rows["dq_test_results"]
    sys.stdout.write(json.dumps({"peak_mb": peak, "results": results, "statements": len(watched.statements)}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
