"""Random kills of all that a stack in containers works with, the engine too: the state is whole after each.

A few in the usual tests; ``DQCTL_TEST_KILLS=200 scripts/test -n 0 tests/docker/test_engine_crashes.py`` makes
many, and upgrades and rolls back in between. ``DQCTL_TEST_SEED`` repeats a failure's.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command_line import CommandLine, Process
from container_stacks import POSTGRES, TESTGEN
from dqctl.localworkspace.endpoint import Endpoint
from engines import OwnEngine, own_engine
from target_database import PASSWORD, TABLES

KILLS = int(os.environ.get("DQCTL_TEST_KILLS") or 3)
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800 + 120 * KILLS)]

_CACHE = Path(os.environ.get("DQCTL_TEST_CACHE") or "/var/cache/dqctl-tests").absolute() / "engine"
_OLD = "dqctl/testgen:5.92.2"
_SYSTEMS = """\
version: 1
systems:
  - name: sales
    connections:
      - name: pg
        flavor: postgresql
        host: postgres
        port: 5432
        database: target
        user: probe
        password: {env: PROBE_PASSWORD}
        schema: sales
        table_groups:
          - name: sales-tables
            suites:
              - name: sales-suite
"""
_LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
"""
_RUNS = """
    SELECT id, status FROM testgen.job_executions
    WHERE job_key IN ('run-profile', 'run-tests', 'run-test-generation')
"""
_NAMES = "SELECT datname FROM pg_database WHERE NOT datistemplate"
_DATABASES = {
    *("datakitchen", "datakitchen_before", "datakitchen_replaced", "datakitchen_superseded"),
    *("target", "postgres"),
}

# Commands, and the seconds that they take, more or less.
_ALWAYS = (
    (("run-tests", "sales/sales-suite"), 8.0),
    (("state", "save", "--full"), 4.0),
    (("state", "restore", "--replace"), 8.0),
    (("backup", "restore", "latest"), 8.0),
)
_UPGRADE, _ROLLBACK = (("upgrade",), 40.0), (("rollback", "--discard-runs"), 20.0)


@pytest.fixture(scope="module")
def daemon(build_images: Callable[..., list[str]]) -> Iterator[OwnEngine]:
    build_images("testgen", "postgres")
    if _upgrades():
        build_images("--version", "5.92.2", "testgen")
    with own_engine(_CACHE, TESTGEN, POSTGRES, *[_OLD] * _upgrades()) as daemon:
        yield daemon


def _upgrades() -> bool:
    """Whether there is the time for it: each takes a minute, and bringing the other image over half of one."""
    return "DQCTL_TEST_KILLS" in os.environ


@pytest.fixture(scope="module")
def run(daemon: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A stack and a workspace beside an engine of its own, with tests of a database in the stack's PostgreSQL."""
    home = tmp_path_factory.mktemp("crashes")
    environment = {
        "DQCTL_RUNTIME": "docker",
        "DQCTL_POSTGRES_IMAGE": POSTGRES,
        "DQCTL_STACK": "engine-crashes",
        "DOCKER_HOST": daemon.address,
        "PROBE_PASSWORD": PASSWORD,
        "DQCTL_STATE": "auto",
    }
    run = CommandLine(home, environment, daemon.inside())
    # The workspace listens there on the loopback, which a new network namespace has down.
    subprocess.run([*daemon.inside(), sys.executable, "-c", _LOOPBACK_UP], check=True)
    (bridge,) = daemon.client.networks.get("bridge").attrs["IPAM"]["Config"]
    run("workspace", "start", "--proxy-address", bridge["Gateway"])
    try:
        image = _OLD if _upgrades() else TESTGEN
        run("install", "--image", image, "--workspace", home / "workspaces" / "engine-crashes", timeout=400)
        for database, statements in (
            ("postgres", f"CREATE ROLE probe LOGIN PASSWORD '{PASSWORD}'"),
            ("postgres", "CREATE DATABASE target"),
            ("target", TABLES),
        ):
            in_database(daemon, database, statements)
        (home / "sales.yaml").write_text(_SYSTEMS)
        run("apply", "-f", home / "sales.yaml")
        run("generate", "sales")
        run("backup", "create")
        yield run
    finally:
        run("workspace", "stop", code=None)


def in_database(daemon: OwnEngine, database: str, statements: str) -> list[list[str]]:
    """What psql says beside PostgreSQL: nothing of ours is between the test and what is stored."""
    said = daemon.containers()["postgres"].exec_run(
        ["psql", "-U", "testgen", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", statements]
    )
    assert said.exit_code == 0, said.output
    return [line.split("|") for line in said.output.decode().splitlines()]


class Killer:
    """Kills one of those that work together, and says what."""

    def __init__(self, daemon: OwnEngine, run: CommandLine) -> None:
        self._daemon, self._run = daemon, run
        self._chance = random.Random(SEED)  # noqa: S311 - no secret

    def strike(self, works: tuple[tuple[tuple[str, ...], float], ...], victims: list[str]) -> None:
        (arguments, seconds), victim = self._chance.choice(works), self._chance.choice(victims)
        pause = self._chance.uniform(0.1, seconds)
        print(f"{' '.join(arguments)}: {victim} after {pause:.2f} s")  # noqa: T201 - pytest shows it with a failure
        process = self._run.start(*arguments)
        end = time.monotonic() + pause
        while process.is_running and time.monotonic() < end:
            time.sleep(0.01)
        self._kill(victim, process)
        process.end(400)

    def _kill(self, victim: str, process: Process) -> None:
        match victim:
            case "dqctl":
                process.signal(signal.SIGKILL)
            case "the engine":
                self._daemon.stop(signal.SIGKILL)
                self._daemon.start()
            case "workspace":
                workspace = self._run.settings.workspace
                endpoint = Endpoint.read(workspace) if workspace else None
                assert endpoint
                os.kill(endpoint.pid, signal.SIGKILL)
            case service:
                if number := self._daemon.containers()[service].attrs["State"]["Pid"]:  # 0: a restore has it down
                    os.kill(number, signal.SIGKILL)


VICTIMS = ["dqctl", "the engine", "postgres", "engine", "workspace"]


def heal(daemon: OwnEngine, run: CommandLine) -> None:
    """What the next hour's commands do: publish, and save when nothing of what was killed works any more."""
    run("workspace", "start")  # where it was told to listen before
    run("publish", "--pending")
    end = time.monotonic() + 30
    while left := programs_of(daemon):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    run("state", "save")


def programs_of(daemon: OwnEngine) -> list[list[str]]:
    """TestGen's processes: nothing runs in its container between two commands."""
    return [row for row in daemon.containers()["engine"].top()["Processes"] if "testgen" in row[-1]]


def assert_whole(daemon: OwnEngine, run: CommandLine) -> None:
    """The saved state is the stack's; every run that the stack knows is published once; nothing is left over."""
    assert run.document("state", "verify")["unsaved"] == 0
    # Asked by a command: the workspace listens in the engine's network.
    published = run.document("workspace", "sql", "SELECT run_id FROM main.data_quality.dq_runs")
    there = Counter(str(run_id) for (run_id,) in published["rows"])
    assert max(there.values()) == 1
    runs = in_database(daemon, "datakitchen", _RUNS)
    assert {status for _, status in runs} <= {"completed", "error", "canceled"}
    assert {job for job, _ in runs} <= set(there)
    assert {name for (name,) in in_database(daemon, "postgres", _NAMES)} <= _DATABASES
    assert set(daemon.containers()) == {"engine", "postgres"}


@pytest.mark.thorough
def test_whatever_is_killed_in_containers_the_next_command_has_it_whole(
    daemon: OwnEngine, run: CommandLine
) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    killer = Killer(daemon, run)
    # The engine is what only this test kills: also when there are but a few kills.
    for number in range(KILLS):
        works = _ALWAYS
        if _upgrades():
            is_old = run.document("status")["testgen_version"] == "5.92.2"
            works = (*_ALWAYS, _UPGRADE if is_old else _ROLLBACK)
        killer.strike(works, VICTIMS if number else ["the engine"])
        heal(daemon, run)
        assert_whole(daemon, run)
    assert run.document("state", "verify", "--deep")["restored"]
