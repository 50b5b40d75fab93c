"""Upgrades of a stack in containers: another image for the same data, tried beside it first."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from command_line import CommandLine
from container_stacks import ENVIRONMENT, container_stack, containers
from dqctl.errors import ExitCode
from dqctl.progress import silent
from dqctl.runtime import databases, open_runtime
from dqctl.stack import upgrading
from dqctl.stack.images import read_images

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

STACK, OLD, NEW = "upgraded", "5.92.2", "5.134.0"


@pytest.fixture
def run(build_images: Callable[..., list[str]]) -> Iterator[CommandLine]:
    """A stack of an older version with a scheduler."""
    (image,) = build_images("--version", OLD, "testgen")
    build_images("testgen", "postgres")
    with container_stack(STACK) as made:
        own = {name: value for name, value in ENVIRONMENT.items() if name != "DQCTL_IMAGE"}
        run = CommandLine(made.home, {**own, "DQCTL_STACK": STACK})
        run("install", "--image", image, "--scheduler", timeout=400)
        yield run


def assert_is(run: CommandLine, version: str, *, kept: bool) -> None:
    """All containers are of the version and run, and nothing of a trial is left."""
    runtime = open_runtime(run.settings, silent)
    pinned = read_images(runtime.paths)
    assert pinned
    assert pinned.engine.version == runtime.version == version
    found = containers(STACK)
    assert set(found) == {"engine", "postgres", "scheduler"}
    for service in ("engine", "scheduler"):
        assert found[service].attrs["Image"] == pinned.engine.id
        assert found[service].status == "running"
    assert runtime.health().is_good
    assert databases.existing(runtime.postgres) == ({databases.BEFORE} if kept else set())
    assert upgrading.pending(runtime.paths) is None
    assert run.settings.image == f"dqctl/testgen:{version}"


@pytest.mark.thorough
def test_an_upgrade_in_containers_happens_whole_or_not_at_all(run: CommandLine) -> None:
    failing = run.start("--output", "json", "upgrade")
    assert failing.hear("migrates the copy")
    containers(STACK)["trial"].kill()
    said = failing.end()
    story = said.document
    assert said.code in (ExitCode.ENVIRONMENT, ExitCode.TESTGEN), said
    assert (story["result"], story["version"]) == ("undone", OLD)
    assert_is(run, OLD, kept=False)

    killed = run.start("upgrade")
    assert killed.hear("migrates the copy")
    killed.signal(signal.SIGKILL)
    killed.end()
    assert "trial" in containers(STACK)
    run("systems", "list")
    assert_is(run, OLD, kept=False)

    upgrading = run.start("--output", "json", "upgrade", "--to", NEW)
    assert upgrading.hear("migrates the copy")
    job = queue_a_job(run)  # as the scheduler does when a schedule comes due
    story = upgrading.end().document
    assert (story["result"], story["version"], story["kept"]) == ("upgraded", NEW, databases.BEFORE)
    assert_is(run, NEW, kept=True)
    assert_run_by_the_scheduler(run, job)
    assert run.document("install")["changed"] == []

    killed = run.start("rollback", "--discard-runs")
    assert killed.hear("the databases have changed names")
    killed.signal(signal.SIGKILL)
    killed.end()
    run("systems", "list")
    assert_is(run, OLD, kept=False)


def queue_a_job(run: CommandLine) -> str:
    """A job that waits in the queue, and fails when it is run: it says nothing of what is to be tested."""
    with open_runtime(run.settings, silent).metadata() as connection:
        row = connection.execute(
            "INSERT INTO job_executions (job_key, source, project_code)"
            " VALUES ('run-tests', 'scheduler', 'DEFAULT') RETURNING id::text"
        ).fetchone()
    assert row
    return str(row[0])


def assert_run_by_the_scheduler(run: CommandLine, job: str) -> None:
    end = time.monotonic() + 60
    while True:
        with open_runtime(run.settings, silent).metadata() as connection:
            found = connection.execute("SELECT status FROM job_executions WHERE id = %s", [job]).fetchone()
        if found == ("error",):
            return
        assert time.monotonic() < end, found
        time.sleep(0.5)
