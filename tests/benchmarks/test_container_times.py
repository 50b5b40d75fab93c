"""What dqctl costs on top of containers: an exec, a start, a status, a run of tests; each beside its rival."""

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from command_line import SUITE, SYSTEM, CommandLine
from container_stacks import containers, shop_stack
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.engine import run_inside

pytestmark = [pytest.mark.benchmark, pytest.mark.docker, pytest.mark.timeout(1500)]

STACK = "bench"
PROJECT = Path(__file__).parents[2]
EXEC_CEILING = 0.020
START_CEILING = 1.15
STATUS_CEILING = 0.7
RUN_CEILING = 0.6

# The same two services, as a person would write them: nothing hardened, health checks once a second.
BY_HAND = """\
name: byhand
services:
  postgres:
    image: {postgres}
    environment: {{POSTGRES_USER: testgen, POSTGRES_PASSWORD: plain, POSTGRES_DB: postgres}}
    volumes: ["metadata:/var/lib/postgresql/data"]
    healthcheck:
      {{test: [CMD, pg_isready, -q, -h, 127.0.0.1, -U, testgen, -d, postgres], interval: 1s, retries: 60}}
  engine:
    image: {engine}
    entrypoint: [sleep, infinity]
    healthcheck: {{test: [CMD, "true"], interval: 1s, retries: 60}}
volumes: {{metadata: {{}}}}
"""


@pytest.fixture(scope="module")
def run() -> Iterator[CommandLine]:
    subprocess.run([str(PROJECT / "scripts/images"), "testgen", "postgres"], check=True, timeout=900)
    with shop_stack(STACK) as run:
        yield run


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_an_exec_costs_little_more_than_the_sdks_own(run: CommandLine, record: Record) -> None:
    engine = containers(STACK)["engine"]
    ours, theirs = [], []
    for _ in range(30):
        ours.append(seconds(lambda: run_inside(engine, ["true"], deadline=Deadline(30), environment={})))
        theirs.append(seconds(lambda: engine.exec_run(["true"], demux=True)))
    over = statistics.median(ours) - statistics.median(theirs)
    record("exec through the SDK", statistics.median(theirs), "s")
    record("exec on a leash, on top of the SDK's own", over, "s", ceiling=EXEC_CEILING)
    assert over < EXEC_CEILING


def test_a_stack_is_up_as_soon_as_one_written_by_hand(run: CommandLine, record: Record, tmp_path: Path) -> None:
    runtime = open_runtime(run.settings, silent)
    images = runtime.images
    file = tmp_path / "compose.yaml"
    file.write_text(BY_HAND.format(postgres=images.postgres.id, engine=images.engine.id))

    def by_hand(*arguments: str) -> None:
        command = ["docker", "compose", "-f", str(file), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    ours, theirs = [], []
    by_hand("up", "--detach", "--wait")
    try:
        for _ in range(5):
            by_hand("down")
            theirs.append(seconds(lambda: by_hand("up", "--detach", "--wait")))
            runtime.down()
            ours.append(seconds(runtime.up))
    finally:
        by_hand("down", "--volumes")
    ratio = statistics.median(ours) / statistics.median(theirs)
    record("containers up, written by hand", statistics.median(theirs), "s")
    record("containers up by dqctl, times as long", ratio, "", ceiling=START_CEILING)
    assert ratio < START_CEILING


def test_status_is_quick(run: CommandLine, record: Record) -> None:
    best = min(seconds(lambda: run("status")) for _ in range(7))
    record("dqctl status, docker", best, "s", ceiling=STATUS_CEILING)
    assert best < STATUS_CEILING


def test_a_run_of_tests_beats_the_stock_sequence(run: CommandLine, record: Record) -> None:
    runtime = open_runtime(run.settings, silent)
    engine = containers(STACK)["engine"]
    with runtime.metadata() as connection:
        row = connection.execute("SELECT id::text FROM test_suites WHERE test_suite = %s", [SUITE]).fetchone()
    assert row is not None
    from dqctl.services.access import find_access

    environment = {**find_access(run.settings).environment, "HOME": "/tmp", "TG_ANALYTICS": "no"}
    inside = runtime.variables(environment)
    scheduler = engine.client.api.exec_create(engine.id, ["testgen", "run-app", "scheduler"], environment=inside)
    engine.client.api.exec_start(scheduler["Id"], detach=True)
    time.sleep(15)

    def stock(*arguments: str) -> str:
        code, output = engine.exec_run(["testgen", *arguments], environment=inside)
        assert code == 0, output
        return output.decode()

    def sequence() -> None:
        said = stock("run-tests", "-t", row[0])
        (run_id,) = (line.split()[-1] for line in said.splitlines() if "Run ID" in line)
        stock("list-test-runs", "-pk", SYSTEM, "-ts", SUITE)
        stock("get-test-results", "-tr", run_id)

    theirs = [seconds(sequence) for _ in range(3)]
    engine.restart(timeout=5)  # the scheduler goes: exactly one may work on a database
    ours = [
        seconds(lambda: run("run-tests", f"{SYSTEM}/{SUITE}", "--html", run.home / "report.html"))
        for _ in range(3)
    ]
    ratio = min(ours) / min(theirs)
    record("stock run-tests, list-test-runs, get-test-results", min(theirs), "s")
    record("dqctl run-tests with publishing and a report, times as long", ratio, "", ceiling=RUN_CEILING)
    assert ratio < RUN_CEILING
