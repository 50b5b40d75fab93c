"""Ephemeral stacks in containers: nothing of them is left, and nobody else's containers are touched."""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from docker.models.containers import Container

import docker
from ci_processes import left_of, watchers
from command_line import CommandLine, write_systems
from container_stacks import ENVIRONMENT, POSTGRES
from dqctl.services.ci import record
from dqctl.services.ci.record import CiPaths
from tiers import cache

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    home = Path(tempfile.mkdtemp(prefix="dq-"))
    home.chmod(0o711)
    left = cache() / "containers"
    left.mkdir(parents=True, exist_ok=True)
    (home / "environments").symlink_to(left)
    yield CommandLine(home, ENVIRONMENT)
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "seeds"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "orders.csv").write_text("order_id,amount\n" + "".join(f"{n},{n}.5\n" for n in range(50)))
    return folder


@pytest.fixture
def neighbours(engine: docker.DockerClient) -> Iterator[dict[str, Container]]:
    """Containers that have nothing to do with the stacks of ``run``, and one that expired."""
    now = datetime.now(UTC)
    soon, past = ((now + each).isoformat() for each in (timedelta(hours=1), timedelta(hours=-1)))
    made = {
        name: engine.containers.run(POSTGRES, ["sleep", "600"], entrypoint="", detach=True, labels=labels)
        for name, labels in {
            "unlabelled": {},
            "unexpired": {"dqctl.ci": "ci-elsewhere", "dqctl.expires": soon, "dqctl.root": "/elsewhere"},
            "unreadable": {"dqctl.ci": "ci-elsewhere", "dqctl.expires": "some day"},
            "unseen": {"dqctl.ci": "ci-elsewhere", "dqctl.expires": soon, "dqctl.owner": "h/b/n/1/1"},
            "expired": {"dqctl.ci": "ci-elsewhere", "dqctl.expires": past},
        }.items()
    }
    yield made
    for container in made.values():
        try:
            container.remove(force=True)
        except docker.errors.NotFound:  # removed, as it had to be
            continue


def test_all_tests_run_in_containers_that_are_gone_afterwards_and_reports_stay(
    run: CommandLine, seeds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = run.start(
        "--output", "json", "ci", "run", "--runtime", "docker", "-f", write_systems(tmp_path), "--seed", seeds,
        "--artifacts", out,
    )  # fmt: skip
    assert process.hear("seeds are loaded", 240)
    (name,) = record.names(run.home)
    labels = [thing.labels for thing in things(name) if isinstance(thing, Container)]
    assert all("dqctl.expires" in each and "dqctl.owner" in each for each in labels)
    mounts = [mount for each in things(name) if isinstance(each, Container) for mount in each.attrs["Mounts"]]
    assert {mount["Type"] for mount in mounts} == {"bind"}, "what a volume has takes seconds to remove"
    said = process.end(600)
    assert said.code == 0, said
    (tests,) = said.document["runs"]
    assert len(tests["results"]) > 1
    assert (out / "shop-shop-standard.junit.xml").exists()
    assert "database system is ready" in (out / "logs" / "container-postgres.log").read_text()
    starts = [each for each in (out / "logs" / "testgen.log").read_text().splitlines() if " python -c " in each]
    assert len(starts) == 1, "who stood by did all of it"
    assert things(name) == []
    assert left_of(run.home) == []
    assert record.names(run.home) == ()


def test_killed_with_its_watcher_gc_leaves_nothing_and_touches_nobody_else(
    run: CommandLine, neighbours: dict[str, Container]
) -> None:
    process = run.start("ci", "run", "--runtime", "docker", "--", "sleep", "600")
    end = time.monotonic() + 120
    while not record.names(run.home):
        assert time.monotonic() < end
        time.sleep(0.05)
    (name,) = record.names(run.home)
    # Somewhere between the first container and the end of the beginning.
    time.sleep(random.uniform(0, 6))  # noqa: S311 - any moment will do
    for each in [*watchers(name), process.pid]:
        os.kill(each, signal.SIGKILL)
    removed = run.document("ci", "gc")["removed"]
    process.end()
    assert {"kind": "stack", "name": name, "why": "its owner is dead"} in removed
    mine = {each["name"] for each in removed if each["kind"] == "container"} & {
        container.name for container in neighbours.values()
    }
    assert mine == {neighbours["expired"].name}
    for kind, container in neighbours.items():
        if kind != "expired":
            container.reload()
            assert container.status == "running", kind
    assert things(name) == []
    assert left_of(run.home) == []


@pytest.mark.thorough(but="all")
@pytest.mark.parametrize("left", ["all", "network and volume"])
def test_a_stack_that_the_command_installs_in_containers_goes_with_that_of_the_run(
    left: str, run: CommandLine, engine: docker.DockerClient
) -> None:
    inside = f"inside-{os.getpid()}"
    install = (sys.executable, "-m", "dqctl", "--stack", inside, "install", "--runtime", "docker")
    there = {"label": f"com.docker.compose.project=dqctl-{inside}"}
    script = '"$@" && docker volume ls'
    if left != "all":
        script += f" && docker rm --force $(docker ps --all --quiet --filter label={there['label']})"
    out = run.start("ci", "run", "--runtime", "local", "--", "sh", "-c", script, "sh", *install)
    said = out.end(600)
    assert said.code == 0, said
    assert f"dqctl-{inside}_metadata" in said.out
    for kind in (engine.containers, engine.networks, engine.volumes):
        assert kind.list(**({"all": True} if kind is engine.containers else {}), filters=there) == []
    assert left_of(run.home) == []


def test_a_database_that_went_with_its_container_is_missed_and_not_made_anew(run: CommandLine) -> None:
    run("ci", "up", "--runtime", "docker", "--name", "ci-lost")
    try:
        inside = CommandLine(CiPaths(run.home, "ci-lost").root, {**ENVIRONMENT, "DQCTL_STACK": "ci-lost"})
        assert inside.document("systems", "list")["systems"] == []
        (postgres,) = (each for each in things("ci-lost") if "postgres" in str(getattr(each, "name", "")))
        assert isinstance(postgres, Container)
        postgres.kill()
        for _ in range(2):
            said = inside("systems", "list", code=3)
            assert "the database of ci-lost is gone: it was in memory" in said.err
    finally:
        run("ci", "down", "ci-lost")
    assert things("ci-lost") == []


def things(name: str) -> list[object]:
    """Everything that the engine has of a stack."""
    engine = docker.from_env(version="auto")
    filters = {"label": f"dqctl.ci={name}"}
    return [
        *engine.containers.list(all=True, filters=filters),
        *engine.networks.list(filters=filters),
        *engine.volumes.list(filters=filters),
        *engine.volumes.list(filters={"label": f"com.docker.compose.project=dqctl-{name}"}),
    ]
