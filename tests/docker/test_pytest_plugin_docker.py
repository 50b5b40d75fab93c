"""The pytest plugin with ``--dq-runtime docker``: workspace and stack are containers, and gone afterwards."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.models.containers import Container

import docker
from container_stacks import ENVIRONMENT
from dqctl.stack.labels import STACK
from pytest_projects import Project, add_systems, project_in, written
from remains import wait_until_nothing_is_left
from tiers import cache

pytestmark = [pytest.mark.docker, pytest.mark.thorough, pytest.mark.timeout(900)]


@pytest.fixture
def project(tmp_path: Path, build_images: Callable[..., list[str]]) -> Project:
    testgen, postgres, workspace = build_images("testgen", "postgres", "workspace")
    home = tmp_path / "home"
    home.mkdir(mode=0o711)
    left = cache() / "containers"
    left.mkdir(parents=True, exist_ok=True)
    (home / "environments").symlink_to(left)
    images = {"DQCTL_IMAGE": testgen, "DQCTL_POSTGRES_IMAGE": postgres, "DQCTL_WORKSPACE_IMAGE": workspace}
    (tmp_path / "project").mkdir()
    return project_in(tmp_path / "project", home, **ENVIRONMENT | images)


def test_the_stack_of_data_tests_is_in_containers_that_are_gone_afterwards(
    project: Project, engine: docker.DockerClient
) -> None:
    add_systems(project)
    (project.root / "test_stack.py").write_text(
        "def test_its_name(dq_stack, dq_schema):\n    open('name', 'w').write(dq_stack.name)\n"
    )
    with project.start("-v", "--dq-runtime", "docker", "--dq-system", "systems.yaml", "--dq-seed", "seeds") as run:
        name = written(project.root / "name", run)
        seen = {each.labels["com.docker.compose.service"] for each in _containers(engine, name)}
        said, _ = run.communicate(timeout=800)
    assert run.returncode == 0, said
    assert "systems.yaml::orders::Required[orders.amount] PASSED" in said
    assert {"engine", "postgres"} <= seen
    assert _containers(engine, name) == []
    wait_until_nothing_is_left(project.temporary)


def test_a_workspace_without_a_stack_is_a_container_also_of_a_run_that_is_killed(
    project: Project, engine: docker.DockerClient
) -> None:
    project.pytest("--dq-runtime", "docker")
    wait_until_nothing_is_left(project.temporary)
    (project.root / "test_hangs.py").write_text(
        "import time\n\n"
        "def test_that_hangs(dq_schema, dq_workspace):\n"
        "    open('port', 'w').write(str(dq_workspace.port))\n"
        "    time.sleep(600)\n"
    )
    with project.start("--dq-runtime", "docker", "test_hangs.py") as run:
        port = written(project.root / "port", run)
        (container,) = [each for each in _containers(engine) if _publishes(each, port)]
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=400)
    wait_until_nothing_is_left(project.temporary)
    assert container.id not in {each.id for each in _containers(engine)}


def _containers(engine: docker.DockerClient, name: str | None = None) -> list[Container]:
    """Of ephemeral stacks and workspaces, or of one."""
    found: list[Container] = engine.containers.list(
        all=True, filters={"label": f"{STACK}={name}" if name else STACK}, ignore_removed=True
    )
    return found


def _publishes(container: Container, port: str) -> bool:
    bindings = container.attrs["NetworkSettings"]["Ports"].values()
    return port in {each["HostPort"] for published in bindings for each in published or ()}
