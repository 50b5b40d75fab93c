"""``compose/ci.yaml`` and the image for CI: a whole run without a network, for a user whom nobody knows, and for
root.

The image is large and is not built for this: ``scripts/images workspace ci`` builds it, DQCTL_CI_IMAGE names
another one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("DQCTL_CI_IMAGE", "dqctl/ci:0.1.0")
SOMEBODY = 12345
SET_UP = "making TestGen's metadata database"  # what the image has done already

pytestmark = [pytest.mark.docker, pytest.mark.thorough, pytest.mark.timeout(1200)]


def docker(*arguments: str, folder: Path = ROOT, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["docker", *arguments],  # noqa: S607
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(autouse=True)
def _is_built() -> None:
    if docker("image", "inspect", IMAGE).returncode:
        pytest.skip(f"{IMAGE} is not built: scripts/images workspace ci")


@pytest.mark.parametrize("user", [SOMEBODY, 0])
def test_a_run_in_the_image_needs_no_network_and_leaves_what_is_the_callers(user: int, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "ci", project)
    for path in (project, *project.rglob("*")):
        os.chown(path, user, user)
    name = f"dqctl_ci_test_{os.getpid()}"
    done = docker(
        *("compose", "--file", str(ROOT / "compose" / "ci.yaml"), "run", "--rm", "-T", "dqctl"),
        *("ci", "run", "-f", "systems.yaml", "--seed", "seed", "--artifacts", "dq", "--", "./check.sh"),
        folder=project,
        DQCTL_CI_NAME=name,
        DQCTL_CI_IMAGE=IMAGE,
        DQCTL_CI_USER=f"{user}:{user}",
        DQCTL_CI_PROJECT=str(project),
        DQCTL_CI_NETWORK="none",
    )
    assert done.returncode == 0, done
    assert SET_UP not in done.stderr
    (run,) = json.loads((project / "dq" / "results.json").read_text())["runs"]
    assert run["counts"]["total"] > 20
    assert {path.stat().st_uid for path in (project / "dq").rglob("*")} == {user}
    of_it = f"label=com.docker.compose.project={name}"
    for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
        assert docker(*kind, "--quiet", "--filter", of_it).stdout == ""


def test_a_job_of_gitlab_is_root_in_the_image() -> None:
    done = docker("run", "--rm", "--network=none", "--user=0", IMAGE, "ci", "run", "--", "true")
    assert done.returncode == 0, done
    assert "owned by the account" in done.stderr
    assert SET_UP not in done.stderr
