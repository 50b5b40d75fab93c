"""What is special about a stack in containers; what both runtimes promise is in tests/compliance."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.models.containers import Container

import docker
from command_line import CommandLine
from container_stacks import POSTGRES, TESTGEN, container_stack, containers
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.metadata_template import Template
from dqctl.stack.paths import StackPaths
from dqctl.testgen import jobs

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

STACK = "life"


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    with container_stack(STACK) as run:
        run("install", timeout=400)
        yield run


def secrets_of(run: CommandLine) -> list[str]:
    folder = StackPaths(run.home, STACK).secrets
    found = [path.read_text().strip() for path in folder.iterdir() if path.name != "config.env"]
    assert len(found) >= 5
    return found


def test_another_setting_changes_only_what_differs(run: CommandLine) -> None:
    before = {service: each.id for service, each in containers(STACK).items()}
    assert run.document("install", "--memory", "1500m")["changed"] == ["Compose project", "containers", "settings"]
    after = containers(STACK)
    assert after["postgres"].id == before["postgres"]
    assert after["engine"].id != before["engine"]
    assert after["engine"].attrs["HostConfig"]["Memory"] == 1500 * 1024**2
    assert run.document("install")["changed"] == [], "the setting is remembered"


def test_no_setting_changes_under_a_job(run: CommandLine) -> None:
    before = {service: each.id for service, each in containers(STACK).items()}
    with (
        open_runtime(run.settings, silent).metadata() as connection,
        jobs.exclusive(connection, 10, "a job in a test"),
    ):
        assert "a job in a test" in run("install", "--memory", "1400m", code=6).err
    assert {service: each.id for service, each in containers(STACK).items()} == before
    assert run.document("install")["changed"] == [], "what was refused is not remembered"


def test_a_dry_run_shows_what_would_change_and_changes_nothing(run: CommandLine) -> None:
    assert run.document("install", "--dry-run")["steps"] == []
    before = {path: path.read_bytes() for path in StackPaths(run.home, STACK).root.glob("*.*")}
    plan = run.document("install", "--dry-run", "--memory", "777m")
    assert any("converge the containers" in step for step in plan["steps"])
    assert plan["steps"][-1] == "remember settings: memory"
    (diff,) = plan["diffs"].values()
    assert '+    mem_limit: "777m"' in diff
    assert (
        "pull example.invalid/other:2"
        in run.document("install", "--dry-run", "--image", "example.invalid/other:2")["steps"]
    )
    assert {path: path.read_bytes() for path in before} == before
    assert run.document("install")["changed"] == []


def is_healthy(container: Container) -> bool:
    """Whether it is, or soon gets, healthy: after a pause the engine calls it unhealthy until its next probe."""
    end = time.monotonic() + 75
    while time.monotonic() < end:
        container.reload()
        if container.attrs["State"]["Health"]["Status"] == "healthy":
            return True
        time.sleep(1)
    return False


def test_containers_have_no_more_rights_than_they_need(run: CommandLine) -> None:
    for service, container in containers(STACK).items():
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["CapAdd"] is None, service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert not host["Privileged"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        assert not host["PortBindings"], "no port is published unless it is asked for"
        assert all("docker.sock" not in mount["Source"] for mount in container.attrs["Mounts"]), service
        assert all(
            mount["Type"] != "volume" or mount["Name"].startswith("dqctl-") for mount in container.attrs["Mounts"]
        )
        user = container.exec_run(["id", "-u"]).output.decode().strip()
        assert user != "0", service
        assert is_healthy(container), service
        assert container.exec_run(["sh", "-c", "echo x > /usr/x"]).exit_code != 0


def test_no_secret_shows_anywhere_but_in_its_files(run: CommandLine) -> None:
    paths = StackPaths(run.home, STACK)
    places = {"compose.yaml": paths.compose.read_bytes(), "images.json": paths.images.read_bytes()}
    engine = docker.from_env(version="auto")
    for service, container in containers(STACK).items():
        places[f"inspect {service}"] = json.dumps(container.attrs).encode()
        places[f"logs {service}"] = container.logs()
        pid = container.attrs["State"]["Pid"]
        places[f"environ {service}"] = Path(f"/proc/{pid}/environ").read_bytes()
        places[f"command {service}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
    for image in (TESTGEN, POSTGRES):
        places[f"history {image}"] = json.dumps(engine.images.get(image).history()).encode()
    for log in paths.logs.iterdir():
        places[log.name] = log.read_bytes()
    for secret in secrets_of(run):
        for place, content in places.items():
            assert secret.encode() not in content, place
    # The same search finds it where it has to be.
    mounted = (paths.mounted / "engine" / "config.env").read_text()
    assert any(secret in mounted for secret in secrets_of(run))
    assert paths.mounted.stat().st_mode & 0o777 == 0o700


def test_compose_reads_what_was_written(run: CommandLine) -> None:
    compose = StackPaths(run.home, STACK).compose
    done = subprocess.run(
        ["docker", "compose", "-f", str(compose), "config", "--format", "json"],  # noqa: S607 - whichever there is
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert services["engine"]["entrypoint"][-1].endswith("wait $$!; done")
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/dqctl/postgres_password"


def test_what_a_set_up_left_becomes_a_database_again(run: CommandLine) -> None:
    runtime = open_runtime(run.settings, silent)
    template = Template(runtime, "a test in containers", silent)
    try:
        template.keep("datakitchen")
        assert template.restore(runtime.postgres, "probe", 235)
    finally:
        template.path.unlink(missing_ok=True)
    with runtime.postgres.connect("probe") as connection:
        assert connection.execute("SELECT count(*) FROM testgen.test_types").fetchone() == (89,)
    with runtime.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE probe")


def test_what_was_paused_goes_on(run: CommandLine) -> None:
    for container in containers(STACK).values():
        container.pause()
    assert run.document("status")["services"] == {"postgres": "paused", "engine": "paused"}
    run("runs")
    found = run.document("status")
    assert found["services"] == {"postgres": "running", "engine": "running"}
    assert found["disk_bytes"] > 10_000_000  # of the databases in the container's volume
