"""Stacks in containers, for the docker tier: a home each, gone afterwards with all that the engine had of them."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docker.models.containers import Container

import docker
from command_line import SYSTEM, CommandLine, load_shop, write_systems
from dqctl.localworkspace import control
from dqctl.runtime.docker import host_address
from tiers import cache

TESTGEN, POSTGRES = "dqctl/testgen:5.134.0", "dqctl/postgres:15"
ENVIRONMENT = {
    "DQCTL_RUNTIME": "docker",
    "DQCTL_IMAGE": TESTGEN,
    "DQCTL_POSTGRES_IMAGE": POSTGRES,
    "DQCTL_STATE": "off",  # see conftest.py
}


@contextlib.contextmanager
def container_stack(name: str, **environment: str) -> Iterator[CommandLine]:
    """A command line for a stack called ``name``, which has to be one that no other test uses."""
    home = Path(tempfile.mkdtemp(prefix="dq-"))
    # What the first set-up of these images left serves all stacks, as it would in one home.
    left = cache() / "containers"
    left.mkdir(parents=True, exist_ok=True)
    (home / "environments").symlink_to(left)
    remove_project(name)  # of tests that were killed
    try:
        yield CommandLine(home, {**ENVIRONMENT, "DQCTL_STACK": name, **environment})
    finally:
        remove_project(name)
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def shop_stack(name: str) -> Iterator[CommandLine]:
    """A container stack with the shop in a local workspace: applied, profiled, its tests generated."""
    with container_stack(name) as run:
        workspace = run.home / "workspaces" / name
        try:
            run("workspace", "start", "--set", "ANSI_MODE=false", "--proxy-address", host_address())
            run("install", "--workspace", workspace, timeout=400)
            load_shop(run.settings)
            run("apply", "-f", write_systems(run.home))
            run("profile", SYSTEM)
            run("generate", SYSTEM)
            yield run
        finally:
            control.stop(workspace)


def remove_project(name: str) -> None:
    """Remove what the engine has of a stack, however it came about."""
    for container in containers(name).values():
        container.remove(force=True, v=True)
    engine = docker.from_env(version="auto")
    for thing in (*engine.networks.list(filters=_label(name)), *engine.volumes.list(filters=_label(name))):
        thing.remove()


def containers(name: str) -> dict[str, Container]:
    """The containers of a stack by service, stopped ones included."""
    found = docker.from_env(version="auto").containers.list(all=True, filters=_label(name))
    return {each.labels["com.docker.compose.service"]: each for each in found}


def left_over(name: str) -> list[Any]:
    """Everything that the engine has of a stack."""
    engine = docker.from_env(version="auto")
    of_it = _label(name)
    return [
        *engine.containers.list(all=True, filters=of_it),
        *engine.networks.list(filters=of_it),
        *engine.volumes.list(filters=of_it),
    ]


def _label(name: str) -> dict[str, str]:
    return {"label": f"com.docker.compose.project=dqctl-{name}"}
