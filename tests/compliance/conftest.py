"""The same stack in every runtime that this machine can host; both check the same shop in the same workspace."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from both_runtimes import ContainerStack, LocalStack, Stack
from command_line import SYSTEM, CommandLine, load_shop, write_systems
from container_stacks import container_stack
from dqctl.errors import EnvironmentFault
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime.docker import host_address
from dqctl.services.work import assess
from dqctl.settings import load
from local.conftest import _homes, environments_cache, install_version  # noqa: F401 - fixtures of the local tier
from tiers import unavailable

NAME = "comply"
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local workspace with the shop, within reach of containers where there can be any."""
    directory = tmp_path_factory.mktemp("compliance") / "workspace"
    addresses = ()
    with contextlib.suppress(EnvironmentFault):
        addresses = (host_address(),)
    try:
        control.start(directory, proxy_addresses=addresses, settings={"ANSI_MODE": "false"})
        load_shop(load({"home": directory.parent, "workspace": directory}, {}))
        yield directory
    finally:
        control.stop(directory)


@pytest.fixture(scope="module")
def local_stack(_homes: Callable[[], Path], workspace: Path) -> Stack:  # noqa: F811 - pytest's way
    run = CommandLine(_homes(), {"DQCTL_STACK": f"{NAME}-local", "DQCTL_WORKSPACE": str(workspace)})
    return _at_work(LocalStack(run))


@pytest.fixture(scope="module")
def docker_stack(workspace: Path) -> Iterator[Stack]:
    done = subprocess.run(
        [str(_ROOT / "scripts" / "images"), "testgen", "postgres"], capture_output=True, text=True, timeout=290
    )
    if done.returncode:
        unavailable("docker", f"scripts/images: {done.stderr.strip()[-500:]}")
    with container_stack(NAME, DQCTL_WORKSPACE=str(workspace)) as run:
        yield _at_work(ContainerStack(run, NAME))


def _at_work(stack: Stack) -> Stack:
    run = stack.run
    run("install", timeout=400)
    run("apply", "-f", write_systems(run.home))
    report = assess(run.settings, SYSTEM, progress=silent)
    assert report.exit_code() == 0, report.errors
    return stack


RUNTIMES = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("local", "docker")]


@pytest.fixture(scope="module", params=RUNTIMES)
def stack(request: pytest.FixtureRequest) -> Stack:
    """A stack that has profiled the shop, generated its tests and run them once."""
    found: Stack = request.getfixturevalue(f"{request.param}_stack")
    return found
