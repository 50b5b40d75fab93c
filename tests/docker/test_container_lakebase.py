"""A stack in containers whose metadata is in Lakebase: the local workspace's, on this machine."""

from collections.abc import Iterator

import pytest

from command_line import SYSTEM, CommandLine, load_shop, write_systems
from container_stacks import container_stack, containers, left_over
from dqctl.localworkspace import control
from dqctl.localworkspace.client import request
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.runtime.docker import host_address
from publishing import published

pytestmark = [pytest.mark.docker, pytest.mark.thorough, pytest.mark.timeout(600)]

STACK = "lake"


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    del images  # built or there
    with container_stack(STACK) as run:
        workspace = run.home / "workspaces" / STACK
        run.home.chmod(0o711)  # for PostgreSQL's account
        try:
            run("workspace", "start", "--lakebase", "--proxy-address", host_address(), timeout=400)
            run("install", "--metadata", "lakebase", "--workspace", workspace, timeout=400)
            yield run
            run("uninstall", "--purge")
            assert left_over(STACK) == []
        finally:
            control.stop(workspace)


def endpoint(run: CommandLine) -> Endpoint:
    found = Endpoint.read(run.home / "workspaces" / STACK)
    assert found
    return found


def test_the_engine_is_all_there_is(run: CommandLine) -> None:
    assert run.document("install", "--metadata", "lakebase")["changed"] == []
    assert set(containers(STACK)) == {"engine"}
    status = run.document("status")
    assert (status["healthy"], status["services"]) == (True, {"engine": "running"})
    found = {each["id"]: each["verdict"] for each in run.document("doctor", code=None)["findings"]}
    assert "docker.postgres" not in found
    names = ("docker.testgen", "docker.images", "docker.definition", "lakebase.endpoint", "metadata.revision")
    assert {found[name] for name in names} == {"ok"}, found


def test_a_job_inside_works_with_it_after_it_slept_and_after_a_rotation(run: CommandLine) -> None:
    load_shop(run.settings)
    run("apply", "-f", write_systems(run.home))
    request(endpoint(run), "POST", f"/api/dqctl/lakebase/dqctl-{STACK}/suspend", None, 60)
    run("credentials", "rotate", "postgres_password")
    run("profile", SYSTEM)
    assert published(run.settings, "dq_profile_columns")


def test_a_backup_is_made_verified_and_restored(run: CommandLine) -> None:
    made = run.document("backup", "create")["backup"]
    assert made["verified"]
    restored = run.document("backup", "restore", made["id"])
    assert (restored["id"], restored["rows"]) == (made["id"], made["rows"])
    assert set(containers(STACK)) == {"engine"}
    assert run.document("status")["healthy"]
