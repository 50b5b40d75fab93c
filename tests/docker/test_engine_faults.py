"""The engine goes away under a stack and its jobs, PostgreSQL hangs: ended in time, settled by the next one."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from command_line import CommandLine, Process
from container_stacks import POSTGRES, TESTGEN
from engines import OwnEngine, own_engine
from sidecar import within
from target_database import PASSWORD, TABLES

# Beside the tests, the time that another file may have the one engine.
pytestmark = [pytest.mark.docker, pytest.mark.thorough, pytest.mark.timeout(1800)]

_CACHE = Path(os.environ.get("DQCTL_TEST_CACHE") or "/var/cache/dqctl-tests").absolute() / "engine"

_SYSTEM = """\
version: 1
systems:
  - name: {name}
    connections:
      - name: pg
        flavor: postgresql
        host: postgres
        port: 5432
        database: target
        user: probe
        password: {{env: PROBE_PASSWORD}}
        schema: {schema}
        table_groups:
          - name: {name}-tables
"""


@pytest.fixture(scope="module")
def daemon(images: object) -> Iterator[OwnEngine]:
    with own_engine(_CACHE, TESTGEN, POSTGRES) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def run(daemon: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A stack in an engine of its own that checks tables in its own PostgreSQL: quick ones, and an endless one."""
    home = tmp_path_factory.mktemp("engine")
    environment = {
        "DQCTL_RUNTIME": "docker",
        "DQCTL_IMAGE": TESTGEN,
        "DQCTL_POSTGRES_IMAGE": POSTGRES,
        "DQCTL_STACK": "comply-engine",
        "DOCKER_HOST": daemon.address,
        "PROBE_PASSWORD": PASSWORD,
    }
    run = CommandLine(home, environment, daemon.inside())
    run("install", timeout=400)
    in_database(daemon, "postgres", f"CREATE ROLE probe LOGIN PASSWORD '{PASSWORD}'")
    in_database(daemon, "postgres", "CREATE DATABASE target")
    in_database(daemon, "target", TABLES)
    for name, schema in (("sales", "sales"), ("endless", "slow")):
        (home / f"{name}.yaml").write_text(_SYSTEM.format(name=name, schema=schema))
        run("apply", "-f", home / f"{name}.yaml")
    return run


def in_database(daemon: OwnEngine, database: str, statements: str) -> str:
    """What psql says beside PostgreSQL: nothing of ours is between the test and what is stored."""
    said = daemon.containers()["postgres"].exec_run(
        ["timeout", "60", "psql", "-U", "testgen", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", statements]
    )
    assert said.exit_code == 0, said.output
    return str(said.output.decode().strip())


def begin_job(daemon: OwnEngine, run: CommandLine, *options: object) -> Process:
    """A profile that would not end, at its endless statement."""
    process = run.start("--output", "json", "profile", "endless", *options)
    end = time.monotonic() + 120
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'target' AND state = 'active'"
    while in_database(daemon, "postgres", query) == "0":
        if time.monotonic() > end or not process.is_running:
            process.signal(signal.SIGKILL)
            pytest.fail(f"no statement ran: {process.end(30)}")
        time.sleep(0.2)
    return process


def canceled(daemon: OwnEngine) -> int:
    return int(
        in_database(daemon, "datakitchen", "SELECT count(*) FROM testgen.job_executions WHERE status = 'canceled'")
    )


@contextlib.contextmanager
def stopped(container: Container) -> Iterator[None]:
    """What runs in the container says nothing any more, and goes on after the block: other tests ask it, too."""
    pids = [int(row[1]) for row in container.top()["Processes"]]

    def signal_all(number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a look at its health that has ended by itself
                os.kill(pid, number)

    signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(signal.SIGCONT)


def assert_settled(daemon: OwnEngine, run: CommandLine, before: int) -> None:
    """The job that was left is ended, and the next command does its own work; there is nowhere to publish it to.

    Who ends it is open: an engine that is back soon enough is asked by the command that fails, too.
    """
    document = run.document("profile", "sales", code=5)
    assert canceled(daemon) == before + 1
    assert [report["run"]["system"] for report in document["runs"]] == ["sales"]
    assert {job["status"] for job in run.document("status")["last_jobs"]} <= {"completed", "canceled"}
    assert not [row for row in daemon.containers()["engine"].top()["Processes"] if "testgen" in row[-1]]


def test_without_the_engine_a_command_says_so_and_with_it_all_is_there_again(
    daemon: OwnEngine, run: CommandLine
) -> None:
    before = run.document("systems", "list")["systems"]
    daemon.stop()
    try:
        said = run("systems", "list", code=3, timeout=30)
        assert "the Docker engine does not answer" in said.err
        assert "start it" in said.err
    finally:
        daemon.start()
    assert run.document("systems", "list")["systems"] == before
    assert run.document("status")["healthy"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_goes_away_under_a_job_ends_it_and_the_next_command_settles_it(
    daemon: OwnEngine, run: CommandLine, how: signal.Signals
) -> None:
    before = canceled(daemon)
    process = begin_job(daemon, run)
    daemon.stop(how)
    daemon.start()
    said = process.end(60)
    assert said.code == 3, said
    assert said.document["error"]["hint"]
    assert_settled(daemon, run, before)


def test_postgresql_that_hangs_under_a_job_is_given_up_in_time_and_restarted_by_the_next_command(
    daemon: OwnEngine, run: CommandLine
) -> None:
    before = canceled(daemon)
    process = begin_job(daemon, run, "--timeout", "30")
    with stopped(daemon.containers()["postgres"]):
        said = process.end(120)
        assert said.code == 3, said
        assert "was not done after 30 s" in said.err
        end = time.monotonic() + 60
        while daemon.containers()["postgres"].attrs["State"]["Health"]["Status"] != "unhealthy":
            assert time.monotonic() < end
            time.sleep(0.5)
        assert_settled(daemon, run, before)
    assert daemon.containers()["postgres"].attrs["State"]["Health"]["Status"] != "unhealthy"


# What the sidecar in the container tells of itself, asked in there.
_ASK = """
import urllib.error, urllib.request as request
ask = request.build_opener(request.ProxyHandler({})).open
try:
    print(ask("http://127.0.0.1:19187/readyz", timeout=10).read().decode())
except urllib.error.HTTPError as refused:
    print(refused.read().decode())
"""


def told_inside(daemon: OwnEngine) -> dict[str, Any]:
    """What /readyz in the controller's container says; nothing while it does not answer, or does not run."""
    controller = daemon.containers()["controller"]
    if controller.status != "running":
        return {}
    said = controller.exec_run(["/opt/dqctl/bin/python", "-I", "-c", _ASK], demux=True)
    found: dict[str, Any] = json.loads(said.output[0]) if said.exit_code == 0 else {}
    return found


def leads_well(daemon: OwnEngine) -> bool:
    told = told_inside(daemon)
    return told.get("role") == "leader" and told["ok"]


def stands_by(daemon: OwnEngine) -> dict[str, Any]:
    told = told_inside(daemon)
    return told if told.get("role") == "standby" and told["ok"] and told["leader"] else {}


def test_of_a_sidecar_in_a_container_and_one_on_the_host_one_leads_whatever_becomes_of_the_engine(
    daemon: OwnEngine, run: CommandLine, controller_image: str
) -> None:
    daemon.bring(controller_image)
    run("install", "--controller", "--controller-run", timeout=400)
    beside: Process | None = None
    try:
        within(lambda: leads_well(daemon))
        beside = run.start("controller", "run", "--listen", "0.0.0.0:0")
        assert beside.hear("listening at port"), beside.end(10)

        daemon.stop()
        assert beside.hear("leading stack comply-engine"), beside.spoken
        assert beside.hear("waiting: "), beside.spoken
        daemon.start()
        assert beside.hear("the stack is back"), beside.spoken
        waits = within(lambda: stands_by(daemon))
        assert f"process {beside.pid}," in waits["leader"]

        beside.signal(signal.SIGTERM)
        said = beside.end(60)
        assert said.code == 0, said
        assert "Traceback" not in said.err
        within(lambda: leads_well(daemon))

        # One that is killed (20.10) does not start its containers again; dqctl's next command does.
        daemon.stop(signal.SIGKILL)
        daemon.start()
        run("systems", "list")
        within(lambda: leads_well(daemon))
        assert run.document("status")["healthy"]
    finally:
        if beside and beside.is_running:
            beside.signal(signal.SIGKILL)
            beside.end(60)
        run("install", "--no-controller-run", "--no-controller", timeout=400)
