"""The engine goes away under a stack and its jobs, PostgreSQL hangs: ended in time, settled by the next one."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine, Process
from container_stacks import POSTGRES, TESTGEN
from engines import OwnEngine, own_engine
from sidecar import within
from target_database import PASSWORD, TABLES

# Beside the tests, the time that another file may have the one engine.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

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
        ["psql", "-U", "testgen", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", statements]
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


def assert_settled(daemon: OwnEngine, run: CommandLine, before: int) -> None:
    """The job that was left is ended, and the next command does its own work; there is nowhere to publish it to.

    Who ends it is open: an engine that is back soon enough is asked by the command that fails, too.
    """
    document = run.document("profile", "sales", code=5)
    assert canceled(daemon) == before + 1
    assert [report["run"]["system"] for report in document["runs"]] == ["sales"]
    assert {job["status"] for job in run.document("status")["last_jobs"]} <= {"completed", "canceled"}
    assert not [row for row in daemon.containers()["engine"].top()["Processes"] if "testgen" in row[-1]]


def test_debug(daemon, run, controller_image):
    daemon.bring(controller_image)
    run("install", "--controller", "--controller-run", timeout=400)
    within(lambda: leads_well(daemon))
    daemon.stop(signal.SIGKILL)
    daemon.start()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            print(time.monotonic() - end, {n: (c.status, c.attrs["State"].get("ExitCode"), c.attrs["State"].get("Error"), c.attrs["RestartCount"], c.attrs["HostConfig"]["RestartPolicy"]) for n, c in daemon.containers().items()}, told_inside(daemon))
        except Exception as e:
            print(repr(e))
        time.sleep(8)
    print(daemon.containers()["controller"].logs()[-3000:].decode())
