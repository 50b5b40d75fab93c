"""The whole life of a stack in containers, from the command line, against a local workspace on this machine."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.models.containers import Container

import docker
from command_line import SUITE, SYSTEM, CommandLine
from container_stacks import POSTGRES, TESTGEN, container_stack, containers, left_over, shop_stack
from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.stack.paths import StackPaths
from dqctl.testgen import jobs

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

STACK = "life"


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    """A stack with the shop applied, profiled and its tests generated."""
    with shop_stack(STACK) as run:
        yield run


def secrets_of(run: CommandLine) -> list[str]:
    folder = StackPaths(run.home, STACK).secrets
    found = [path.read_text().strip() for path in folder.iterdir() if path.name != "config.env"]
    assert len(found) >= 5
    return found


def test_what_was_found_is_published_as_testgen_stored_it(run: CommandLine) -> None:
    document = run.document("run-tests", f"{SYSTEM}/{SUITE}")
    assert document["exit_code"] == 0
    (report,) = document["runs"]
    run_id = report["run"]["run_id"]
    with open_runtime(run.settings, silent).metadata() as connection:
        stored = connection.execute(
            "SELECT count(*) FROM test_results WHERE test_run_id = %s", [run_id]
        ).fetchone()
    assert stored is not None
    assert stored[0] > 10
    said = run.document(
        "workspace", "sql", f"SELECT count(*) FROM main.data_quality.dq_test_results WHERE run_id = '{run_id}'"
    )
    assert said["rows"] == [[stored[0]]]


def test_again_there_is_nothing_to_do(run: CommandLine) -> None:
    before = {service: each.id for service, each in containers(STACK).items()}
    assert run.document("install")["changed"] == []
    assert {service: each.id for service, each in containers(STACK).items()} == before


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


def test_status_says_what_runs(run: CommandLine) -> None:
    found = run.document("status")
    assert (found["runtime"], found["healthy"]) == ("docker", True)
    assert found["services"] == {"postgres": "running", "engine": "running"}
    assert found["schema_revision"] == found["expected_revision"] == 235
    assert found["last_jobs"]


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


def test_what_was_stopped_is_started_by_the_next_command(run: CommandLine) -> None:
    for container in containers(STACK).values():
        container.kill()
    assert run.document("runs")["runs"]
    assert run.document("status")["healthy"]


def test_what_was_paused_goes_on(run: CommandLine) -> None:
    for container in containers(STACK).values():
        container.pause()
    assert run.document("status")["services"] == {"postgres": "paused", "engine": "paused"}
    assert run.document("runs")["runs"]


def test_rotated_credentials_are_taken_by_all_and_the_old_ones_are_refused(run: CommandLine) -> None:
    before = open_runtime(run.settings, silent).postgres
    ids = {service: each.id for service, each in containers(STACK).items()}
    old = secrets_of(run)
    run("credentials", "rotate", "--all")
    assert not set(old) & set(secrets_of(run))
    with pytest.raises(EnvironmentFault, match="password authentication failed"):
        before.connect("datakitchen")
    assert run.document("run-tests", f"{SYSTEM}/{SUITE}")["exit_code"] == 0, "the connection is still decrypted"
    assert {service: each.id for service, each in containers(STACK).items()} == ids, "nothing is restarted"


def test_stock_commands_run_inside_and_keep_their_streams_apart(run: CommandLine) -> None:
    said = run("testgen", "--", "list-projects", "--display")
    assert SYSTEM in said.out
    assert "DEPRECATED" not in said.out
    rows = run.document("testgen", "--", "list-projects")["rows"]
    assert [row["project_key"] for row in rows].count(SYSTEM) == 1
    assert run("testgen", "--", "get-nothing", code=2).err


def test_uninstalled_and_installed_again_everything_is_there(run: CommandLine) -> None:
    before = run.document("runs")["runs"]
    assert run.document("uninstall")["kept"]
    assert containers(STACK) == {}
    assert run("runs", code=2).err
    run("install")
    assert run.document("runs")["runs"] == before


def test_purged_nothing_is_left(images: object) -> None:
    with container_stack("purged") as run:
        run("install", timeout=400)
        assert left_over("purged")
        run("uninstall", "--purge")
        assert left_over("purged") == []
        assert not StackPaths(run.home, "purged").root.exists()
        assert run.document("uninstall", "--purge")["changed"] == []


def test_the_runs_of_the_stack_are_published_once(run: CommandLine) -> None:
    runs = {row["run_id"]: row for row in run.document("runs")["runs"]}
    rows = run.document(
        "workspace", "sql", "SELECT run_id, count(*) FROM main.data_quality.dq_runs GROUP BY run_id"
    )["rows"]
    assert {row[0]: row[1] for row in rows} == dict.fromkeys(runs, 1)
