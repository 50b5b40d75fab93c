"""The whole job in containers alone: TestGen, dqctl itself as the controller, and a workspace on their network."""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from docker.models.containers import Container

import docker
from command_line import DATA, SUITE, SYSTEM, CommandLine, Said, write_systems
from container_stacks import container_stack, containers, left_over
from dqctl import __version__
from dqctl.localworkspace.layout import HOST
from dqctl.localworkspace.wire.warehouses import LOCAL
from dqctl.localworkspace.wire.warehouses_api import http_path
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from sidecar import within

pytestmark = [pytest.mark.docker, pytest.mark.thorough]

STACK, PROJECT = "place", "place_workspace"
_WORKSPACE = ["docker", "compose", "--project-name", PROJECT, "--file"]
_SERVER = "/var/lib/dqctl/workspaces/default/server"


def said_by(argv: list[str], timeout: float = 120) -> Said:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    return Said(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Workspace:
    """The local workspace in a container, with the copies of its files that a client of it is given."""

    definition: Path
    directory: Path

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        said = said_by([*_WORKSPACE, str(self.definition), *arguments], timeout)
        assert said.code == 0, (arguments, said)
        return said.out

    def sql(self, statement: str) -> list[list[object]]:
        said = self.compose("exec", "-T", "workspace", "dqctl", "--output", "json", "workspace", "sql", statement)
        rows: list[list[object]] = json.loads(said)["rows"]
        return rows

    def file(self, name: str) -> Path:
        """A copy of one of the server's files, as soon as it has made them."""
        end = time.monotonic() + 30
        while said_by(
            [*_WORKSPACE, str(self.definition), "cp", f"workspace:{_SERVER}/{name}", str(self.directory)]
        ).code:
            assert time.monotonic() < end, self.compose("logs")
            time.sleep(0.2)
        return self.directory / name


@pytest.fixture(scope="module")
def workspace(build_images: Callable[..., list[str]]) -> Iterator[Workspace]:
    build_images("workspace")
    definition = Path(__file__).parents[2] / "compose" / "workspace.yaml"
    with tempfile.TemporaryDirectory() as directory:
        found = Workspace(definition, Path(directory))
        found.compose("down", "--volumes")  # of tests that were killed
        try:
            found.compose("up", "--detach")
            yield found
        finally:
            found.compose("down", "--volumes")


@pytest.fixture(scope="module")
def run(images: object, controller_image: str, workspace: Workspace) -> Iterator[CommandLine]:
    """A stack that knows the workspace as it would know Databricks; its controller has the engine's socket."""
    with container_stack(STACK) as run:
        where = {"--host": HOST, "--http-path": http_path(LOCAL), "--network": f"{PROJECT}_default"}
        trust = {"--ca-bundle": workspace.file("ca.pem"), "--controller-credential": workspace.file("token")}
        given = [part for pair in (where | trust).items() for part in pair]
        run("install", "--controller", "--controller-socket", *given, timeout=400)
        workspace.compose("exec", "-T", "workspace", "dqctl", "workspace", "start", "--set", "ANSI_MODE=false")
        for statement in DATA:
            workspace.sql(statement)
        yield run
        # A controller that is at work when its stack is purged goes with it.
        with idle_controller(run):
            run("uninstall", "--purge")
            assert left_over(STACK) == []


def controller(run: CommandLine, *arguments: object, code: int = 0, options: tuple[str, ...] = ()) -> Said:
    """A command of dqctl in a controller's container."""
    compose = [
        "docker",
        "compose",
        "--file",
        str(run.home / "stacks" / STACK / "compose.yaml"),
        "run",
        "--rm",
        "-T",
    ]
    said = said_by([*compose, *options, "controller", *map(str, arguments)])
    assert said.code == code, (arguments, said)
    return said


@pytest.fixture(scope="module")
def job(run: CommandLine) -> Said:
    """The job from start to end, in a controller."""
    systems = write_systems(run.home / "stacks" / STACK)
    script = (
        f"set -e; dqctl apply -f {systems} >&2; dqctl profile {SYSTEM} >&2; dqctl generate {SYSTEM} >&2; "
        "dqctl --output json run-tests --all --fail-on never"
    )
    return controller(run, "-c", script, options=("--entrypoint", "sh"))


@contextlib.contextmanager
def settings(run: CommandLine, *flags: str) -> Iterator[None]:
    """The stack installed with other settings, and as it was again afterwards."""
    run("install", *flags)
    yield
    run("install", "--controller", "--no-controller-run", "--controller-socket")


@contextlib.contextmanager
def idle_controller(run: CommandLine) -> Iterator[Container]:
    """A controller's container to look at."""
    out = controller(run, "120", options=("--detach", "--entrypoint", "sleep")).out
    container = docker.from_env(version="auto").containers.get(out.split()[-1])
    try:
        yield container
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)


def test_what_testgen_found_is_in_the_workspace_and_the_host_sees_the_same(
    run: CommandLine, workspace: Workspace, job: Said
) -> None:
    (found,) = job.document["runs"]
    counts = "SELECT count(*), count_if(result_status = 'Error') FROM main.data_quality.dq_test_results"
    ((results, errors),) = workspace.sql(counts)
    assert int(str(results)) > 10
    assert int(str(errors)) == 0
    assert len(run.document("results", found["run"]["run_id"])["results"]) == int(str(results))
    kinds = workspace.sql("SELECT kind, count(*) FROM main.data_quality.dq_runs GROUP BY kind ORDER BY kind")
    assert [kind for kind, _ in kinds] == ["generate", "profile", "test"]
    assert {each["run_id"] for each in run.document("runs")["runs"]} == {
        str(run_id) for (run_id,) in workspace.sql("SELECT run_id FROM main.data_quality.dq_runs")
    }


def test_testgen_itself_reached_the_workspace_by_its_name_on_port_443(run: CommandLine, job: Said) -> None:
    with open_runtime(run.settings, silent).metadata() as connection:
        places = connection.execute("SELECT project_host, project_port FROM connections").fetchall()
    assert places == [(HOST, "443")]
    assert not [each for each in containers(STACK)["engine"].attrs["Config"]["Env"] if "proxy" in each.lower()]


def test_a_workspace_in_a_container_becomes_healthy_and_keeps_its_data(workspace: Workspace, job: Said) -> None:
    before = workspace.sql("SELECT run_id FROM main.data_quality.dq_runs ORDER BY run_id")
    workspace.compose("up", "--detach", "--force-recreate", "--wait")
    assert workspace.sql("SELECT run_id FROM main.data_quality.dq_runs ORDER BY run_id") == before


def test_without_the_socket_a_job_is_refused_and_what_needs_no_engine_works(
    run: CommandLine, workspace: Workspace, job: Said
) -> None:
    with settings(run, "--no-controller-socket"):
        refused = controller(run, "run-tests", "--all", code=3)
        assert "the Docker engine, whose socket the controller does not have" in refused.err
        assert "--controller-socket" in refused.err
        status = controller(run, "--output", "json", "status").document
        assert status["healthy"]
        assert status["services"] == {"postgres": "running", "engine": "running"}
        (found,) = job.document["runs"]
        page = run.home / "stacks" / STACK / "reports" / "page.html"
        controller(run, "report", found["run"]["run_id"], "--format", "html", "--file", page)
        assert SUITE in page.read_text()
        # Nothing is published there yet, and nothing saved: for that pg_dump is needed, which the engine runs.
        elsewhere = ("-e", "DQCTL_SCHEMA=elsewhere")
        unsaved = controller(run, "publish", "--pending", options=elsewhere, code=5)
        assert "the state is not saved: this needs the Docker engine" in unsaved.err
        assert workspace.sql("SELECT count(*) FROM main.elsewhere.dq_runs") == [[3]]
        assert workspace.sql("SELECT count(*) FROM main.elsewhere.dq_test_results") == workspace.sql(
            "SELECT count(*) FROM main.data_quality.dq_test_results"
        )


@pytest.mark.parametrize("command", [("install",), ("uninstall", "--purge")])
def test_a_controller_changes_no_containers(run: CommandLine, command: tuple[str, ...]) -> None:
    before = {name: each.id for name, each in containers(STACK).items()}
    said = controller(run, *command, code=3)
    assert "run it on the host" in said.err
    assert {name: each.id for name, each in containers(STACK).items()} == before
    assert run.document("status")["installed"]


def test_a_controller_may_do_no_more_than_it_has_to(run: CommandLine, workspace: Workspace) -> None:
    (run.home / "stacks" / "other").mkdir(exist_ok=True)
    with settings(run, "--no-controller-socket"), idle_controller(run) as container:
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["PidsLimit"] == 512
        assert host["Memory"] == 2**30
        assert not host["PortBindings"]
        mounted = {each["Destination"]: each["RW"] for each in container.attrs["Mounts"]}
        assert mounted == {str(run.home / "stacks" / STACK): True, "/run/dqctl/credential": False}
        seen = container.exec_run(["ls", str(run.home / "stacks")]).output.decode().split()
        assert seen == [STACK]
        planted = [workspace.file("token").read_text().strip()]
        planted += [each.read_text().strip() for each in (run.home / "stacks" / STACK / "secrets").iterdir()]
        assert not [secret for secret in planted if secret in json.dumps(container.attrs)]
        healthy = container.attrs["Config"]["Healthcheck"]["Test"][1:]
        assert container.exec_run(healthy).exit_code == 0
        engine = docker.from_env(version="auto")
        engine.networks.get(f"dqctl-{STACK}_default").disconnect(container)
        assert container.exec_run(healthy).exit_code == 1


def test_taking_the_controller_away_or_adding_it_touches_no_other_container(run: CommandLine) -> None:
    before = {name: (each.id, each.attrs["State"]["StartedAt"]) for name, each in containers(STACK).items()}
    assert set(before) == {"postgres", "engine"}
    with settings(run, "--no-controller", "--no-controller-socket"):
        definition = yaml.safe_load((run.home / "stacks" / STACK / "compose.yaml").read_text())
        assert "controller" not in definition["services"]
    assert {
        name: (each.id, each.attrs["State"]["StartedAt"]) for name, each in containers(STACK).items()
    } == before
    assert run.document("install")["changed"] == []


def test_a_controller_that_runs_all_the_time_publishes_and_ends_when_it_is_told_to(
    run: CommandLine, workspace: Workspace, job: Said
) -> None:
    with settings(run, "--controller-run"):
        sidecar = containers(STACK)["controller"]
        probe = sidecar.attrs["Config"]["Healthcheck"]["Test"][1:]
        within(lambda: sidecar.exec_run(probe).exit_code == 0)
        ended = uuid4()
        with open_runtime(run.settings, silent).metadata() as connection:
            connection.execute(
                "INSERT INTO job_executions (id, job_key, kwargs, source, status, project_code, completed_at)"
                " SELECT %s, 'run-test-generation', jsonb_build_object('test_suite_id', id::text), 'cli',"
                " 'completed', project_code, now() FROM test_suites",
                [ended],
            )
        there = f"SELECT count(*) FROM main.data_quality.dq_runs WHERE run_id = '{ended}'"
        within(lambda: workspace.sql(there) == [[1]])
        status = run.document("status")
        assert (status["healthy"], status["services"]["controller"]) == (True, "running")
        assert run.document("install")["changed"] == []
        assert controller(run, "--output", "json", "runs").document["runs"][0]["run_id"] == str(ended)
        assert "leading stack" in run("logs", "controller").out
        sidecar.stop(timeout=60)
        sidecar.reload()
        assert sidecar.attrs["State"]["ExitCode"] == 0
    assert set(containers(STACK)) == {"postgres", "engine"}
    # The other tests count runs.
    with open_runtime(run.settings, silent).metadata() as connection:
        connection.execute("DELETE FROM job_executions WHERE id = %s", [ended])
        connection.execute("DELETE FROM dqctl.published WHERE run_id = %s", [ended])
    for table in ("dq_runs", "dq_test_definitions", "dq_scores", "dq_systems"):
        workspace.sql(f"DELETE FROM main.data_quality.{table} WHERE run_id = '{ended}'")


def test_an_image_that_is_no_controller_is_refused(run: CommandLine) -> None:
    said = run("install", "--controller-image", "dqctl/postgres:15", code=2)
    assert "no image of dqctl" in said.err
    said = run("install", "--controller-image", "dqctl/controller:none", code=3)
    assert "scripts/images" in said.err
    assert run.document("install")["changed"] == []


def test_the_workspace_is_hardened_and_of_this_version(workspace: Workspace) -> None:
    definition = yaml.safe_load(workspace.compose("config"))["services"]["workspace"]
    assert definition["image"] == f"dqctl/workspace:{__version__}"
    assert (definition["read_only"], definition["cap_drop"]) == (True, ["ALL"])
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in definition
    assert "user" not in definition  # the image's, which is not root
