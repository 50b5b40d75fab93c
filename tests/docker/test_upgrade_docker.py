"""Upgrades of a stack in containers: another image for the same data, tried beside it first."""

import signal
from collections.abc import Callable, Iterator

import pytest

from command_line import CommandLine
from container_stacks import ENVIRONMENT, container_stack, containers
from dqctl.progress import silent
from dqctl.runtime import databases, open_runtime
from dqctl.stack import upgrading
from dqctl.stack.images import read_images
from dqctl.testgen import scheduler

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

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
    assert run.document("install")["changed"] == []


def test_an_upgrade_in_containers_happens_whole_or_not_at_all(run: CommandLine) -> None:
    runtime = open_runtime(run.settings, silent)
    with runtime.metadata() as connection:
        # Script 0217 wants to make it, when those before it have been carried out and committed.
        connection.execute("CREATE TABLE suite_versions (id uuid PRIMARY KEY)")
    story = run.document("upgrade", code=4)
    assert (story["outcome"], story["version"]) == ("undone", OLD)
    assert "script 0217" in story["error"]["message"]
    assert_is(run, OLD, kept=False)
    with runtime.metadata() as connection:
        connection.execute("DROP TABLE suite_versions")

    killed = run.start("upgrade")
    assert killed.hear("migrates the copy")
    killed.signal(signal.SIGKILL)
    killed.end()
    assert "trial" in containers(STACK)
    run("systems", "list")
    assert_is(run, OLD, kept=False)

    story = run.document("upgrade", "--to", NEW)
    assert (story["outcome"], story["version"], story["kept"]) == ("upgraded", NEW, databases.BEFORE)
    assert_is(run, NEW, kept=True)
    with open_runtime(run.settings, silent).metadata() as connection:
        assert scheduler.is_living(connection)

    killed = run.start("rollback")
    assert killed.hear("the databases have changed names")
    killed.signal(signal.SIGKILL)
    killed.end()
    run("systems", "list")
    assert_is(run, OLD, kept=False)
