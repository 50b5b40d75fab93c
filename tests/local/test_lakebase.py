"""A stack whose metadata is in Lakebase: the whole path against the local workspace, which is as strict."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import postgres as sdk
from pydantic import SecretStr

from command_line import SUITE, SYSTEM, CommandLine, load_shop, write_systems
from dqctl.clock import Clock
from dqctl.errors import EnvironmentFault
from dqctl.localworkspace import control
from dqctl.localworkspace.certificates import Certificates
from dqctl.localworkspace.client import request
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import find_runtime
from dqctl.runtime.lakebase import LakebaseServer
from dqctl.services.controller.watch import Watch
from dqctl.services.metrics import measure
from dqctl.testgen.noticing import Noticed
from publishing import published

pytestmark = [
    pytest.mark.local,
    pytest.mark.timeout(600),
]

PROJECT = "dqctl-default"
INSTALL = ("install", "--metadata", "lakebase")


@dataclass(frozen=True)
class Stack:
    """An installed stack, and the local workspace that its Lakebase is in."""

    run: CommandLine
    workspace: Path

    @property
    def endpoint(self) -> Endpoint:
        found = Endpoint.read(self.workspace)
        assert found
        return found

    @property
    def server(self) -> LakebaseServer:
        found = find_runtime(self.run.settings, silent).postgres
        assert isinstance(found, LakebaseServer)
        return found

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return request(self.endpoint, method, path, body, 60)

    def suspend(self, project: str = PROJECT) -> None:
        self.ask("POST", f"/api/dqctl/lakebase/{project}/suspend")

    @property
    def state(self) -> str:
        path = f"/api/2.0/postgres/projects/{PROJECT}/branches/production/endpoints/primary"
        return str(self.ask("GET", path)["status"]["current_state"])


@pytest.fixture(scope="module")
def stack(module_home: Path) -> Iterator[Stack]:
    """Installed, its tests generated; nothing was run yet."""
    run = CommandLine(module_home)
    workspace = module_home / "workspaces" / "default"
    try:
        run("workspace", "start", "--lakebase", "--set", "ANSI_MODE=false")
        said = run.document(*INSTALL, "--workspace", workspace)
        assert said["metadata"] == "lakebase"
        assert {"Lakebase project", "Lakebase role", "metadata database"} <= set(said["changed"])
        load_shop(run.settings)
        run("apply", "-f", write_systems(module_home))
        run("profile", SYSTEM)
        run("generate", SYSTEM)
        yield Stack(run, workspace)
    finally:
        control.stop(workspace)


@pytest.fixture
def client(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> WorkspaceClient:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stack.endpoint.ca_file))
    return WorkspaceClient(
        host=f"https://{stack.endpoint.address}:{stack.endpoint.port}",
        token=stack.endpoint.token_file.read_text().strip(),
        auth_type="pat",
    )


def test_results_are_published_after_the_compute_slept_and_after_a_rotation(stack: Stack) -> None:
    run = stack.run
    before = stack.server
    stack.suspend()
    assert stack.state == "IDLE"
    first = run.document("run-tests", SUITE, code=None)
    assert first["exit_code"] in (0, 1), first
    run("credentials", "rotate", "postgres_password", "decrypt_password")
    with pytest.raises(EnvironmentFault, match="authentication failed"):
        before.connect("datakitchen")
    stack.server.connect("datakitchen").close()
    second = run.document("run-tests", SUITE, code=None)
    ids = [document["runs"][0]["run"]["run_id"] for document in (first, second)]
    rows = published(run.settings, "dq_test_results")
    counts = [sum(row["run_id"] == each for row in rows) for each in ids]
    assert counts[0] == counts[1] > 10


@pytest.mark.thorough
def test_a_compute_that_is_suspended_under_a_run_costs_this_run_alone(stack: Stack) -> None:
    process = stack.run.start("profile", SYSTEM)
    assert process.hear("profil")
    stack.suspend()
    said = process.end()
    assert "Traceback" not in said.err
    # Whatever the run had reached by then, the next command finds the stack whole.
    assert stack.run("profile", SYSTEM, code=None).code in (0, 1)
    assert stack.run.document("runs")["runs"]


@pytest.mark.thorough
def test_a_backup_is_made_verified_and_restored_under_tls(stack: Stack) -> None:
    made = stack.run.document("backup", "create")["backup"]
    assert made["verified"]
    with stack.server.connect("datakitchen") as connection:
        connection.execute("DELETE FROM test_definitions")
    restored = stack.run.document("backup", "restore", made["id"])
    assert (restored["rows"], restored["before"] is None) == (made["rows"], False)
    with stack.server.connect("datakitchen") as connection:
        assert connection.execute("SELECT count(*) > 10 FROM test_definitions").fetchone() == (True,)


def test_nothing_of_a_database_is_in_the_stack(stack: Stack) -> None:
    again = stack.run.document(*INSTALL)
    assert again["changed"] == []
    paths = find_runtime(stack.run.settings, silent).paths
    assert not paths.postgres.exists()
    status = stack.run.document("status")
    assert (status["healthy"], status["services"], status["postgres_pid"]) == (True, {}, None)
    assert status["lakebase"] == f"projects/{PROJECT}/branches/production/endpoints/primary"


def test_the_role_may_sign_in_and_make_databases_and_no_more(stack: Stack) -> None:
    with stack.server.connect("postgres", autocommit=True) as connection:
        found = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolreplication, rolbypassrls, rolcreatedb FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        assert found == (False, False, False, False, True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE another LOGIN")


def test_the_server_has_to_be_the_one_that_the_certificates_vouch_for(stack: Stack, tmp_path: Path) -> None:
    server = stack.server
    with pytest.raises(EnvironmentFault, match="certificate verify failed"):
        replace(server, ca_file=_another_authority(tmp_path)).connect("postgres")
    with pytest.raises(psycopg.OperationalError, match="insecure"):
        psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password.get_secret_value(),
            dbname="postgres",
            sslmode="disable",
        )
    config = (find_runtime(stack.run.settings, silent).paths.secrets / "config.env").read_text()
    assert f"TG_METADATA_DB_SSLMODE=verify-full\nTG_METADATA_DB_SSLROOTCERT={server.ca_file}\n" in config


def _another_authority(directory: Path) -> Path:
    other = Certificates(directory, "other.invalid")
    other.ensure()
    return other.ca_file


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("default", ("install", "--metadata", "disposable")),
        ("default", (*INSTALL, "--lakebase-project", "another")),
        ("older", (*INSTALL, "--version", "5.92.2")),
        ("lost", (*INSTALL, "--lakebase-branch", "nowhere", "--lakebase-project", PROJECT)),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(
    stack: Stack, name: str, arguments: tuple[str, ...]
) -> None:
    run = replace(stack.run, environment={"DQCTL_WORKSPACE": str(stack.workspace), "DQCTL_STACK": name})
    assert "hint:" in run(*arguments, code=2).err
    assert PROJECT in str(stack.ask("GET", "/api/2.0/postgres/projects"))


@pytest.mark.thorough
def test_another_stacks_role_is_not_taken_and_its_project_not_removed(stack: Stack) -> None:
    other = replace(stack.run, environment={"DQCTL_WORKSPACE": str(stack.workspace)})
    said = other("--stack", "second", *INSTALL, "--lakebase-project", PROJECT, code=2)
    assert "role 'testgen' of somebody else" in said.err
    other("--stack", "second", "uninstall", "--purge")
    assert stack.run.document("status")["healthy"]


def test_doctor_wakes_nothing(stack: Stack) -> None:
    def verdicts() -> dict[str, str]:
        document = stack.run.document("doctor", code=None)
        return {finding["id"]: finding["verdict"] for finding in document["findings"]}

    stack.server.connect("postgres").close()
    found = verdicts()
    assert "postgres.running" not in found
    names = ("lakebase.trust", "lakebase.network", "lakebase.endpoint", "metadata.reachable", "metadata.revision")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "ok")
    stack.suspend()
    found = verdicts()
    assert (found["lakebase.endpoint"], found["metadata.reachable"]) == ("skipped", "skipped")
    assert stack.state == "IDLE"


def test_status_wakes_nothing(stack: Stack) -> None:
    stack.server.connect("postgres").close()
    found = stack.run.document("status")
    assert (found["healthy"], found["lakebase_state"]) == (True, "active")
    stack.suspend()
    found = stack.run.document("status")
    assert (found["healthy"], found["lakebase_state"], found["schema_revision"]) == (True, "asleep", None)
    assert f"{PROJECT}/branches/production/endpoints/primary, asleep" in stack.run("status").out
    assert stack.state == "IDLE"


def test_numbers_wake_nothing_and_hold_while_it_sleeps(stack: Stack) -> None:
    stack.server.connect("postgres").close()
    settings = stack.run.settings
    awake = measure(settings)
    assert (awake.up, awake.asleep) == (True, False)
    stack.suspend()
    asleep = measure(settings)
    assert (asleep.up, asleep.asleep, asleep.underway) == (False, True, None)
    held = measure(settings, before=awake)
    assert replace(held, at=awake.at) == replace(awake, up=False, asleep=True)
    assert held.at > awake.at
    assert measure(settings, before=held).underway == awake.underway, "they hold for as long as it sleeps"
    assert measure(settings, before=asleep).underway is None
    assert stack.state == "IDLE"


def test_a_lakebase_that_is_away_is_not_waited_for_as_one_that_wakes(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(EnvironmentFault, match=f"nobody listens at {stack.server.host}:{port}"):
        replace(stack.server, port=port).connect("postgres")
    assert time.monotonic() - started < 25  # one that wakes is given 90


@pytest.mark.thorough
def test_the_sdk_makes_and_removes_a_project(client: WorkspaceClient, stack: Stack) -> None:
    spec = sdk.Project(spec=sdk.ProjectSpec(enable_pg_native_login=False))
    made = client.postgres.create_project(spec, "by-sdk").wait()
    assert made.status
    assert made.status.default_branch == "projects/by-sdk/branches/production"
    (endpoint,) = client.postgres.list_endpoints(made.status.default_branch)
    described: Any = endpoint.status
    credential = client.postgres.generate_database_credential(str(endpoint.name))
    host, _, port = described.hosts.host.partition(":")
    owner: dict[str, Any] = {
        "host": host, "port": port, "dbname": "databricks_postgres", "sslmode": "verify-full", "autocommit": True,
        "sslrootcert": str(stack.endpoint.ca_file), "user": "owner@dqctl.invalid", "password": credential.token,
    }  # fmt: skip
    with psycopg.connect(**owner) as connection:
        databases = [
            name for (name,) in connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate")
        ]
        assert databases == ["databricks_postgres"]
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
            False,
        )
        for weak in (b"CREATE ROLE x LOGIN PASSWORD 'weak'", b"CREATE ROLE x LOGIN PASSWORD 'md5abc'"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="insecure password"):
                connection.execute(weak, prepare=True)
        connection.execute("CREATE ROLE x LOGIN PASSWORD 'abcDEF123456ghijk'")
        # Passwords of roles count where the project says so, and not before.
        with pytest.raises(psycopg.OperationalError, match="not permitted"):
            psycopg.connect(**owner | {"user": "x", "password": "abcDEF123456ghijk"})
        stack.suspend("by-sdk")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    for stranger in ("cloud_admin", "nobody-knows"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**owner | {"user": stranger})
    client.postgres.delete_project("projects/by-sdk", purge=True)
    assert "by-sdk" not in str(stack.ask("GET", "/api/2.0/postgres/projects"))


def test_uninstall_keeps_the_metadata_and_so_does_a_workspace_that_is_killed(stack: Stack) -> None:
    run = stack.run
    runs = {each["run_id"] for each in run.document("runs")["runs"]}
    stack.server.connect("postgres").close()  # awake
    kept = run.document("uninstall")
    assert kept["project"] == PROJECT
    sockets = _sockets(stack)
    os.kill(stack.endpoint.pid, signal.SIGKILL)
    run("workspace", "start")  # Lakebase comes back with it, at the same port
    assert run.document(*INSTALL)["changed"] == ["record"]
    assert {each["run_id"] for each in run.document("runs")["runs"]} == runs
    assert _sockets(stack) != sockets
    assert not sockets.exists()


def _sockets(stack: Stack) -> Path:
    data = stack.workspace / "lakebase" / "projects" / PROJECT / "data"
    return Path((data / "postmaster.pid").read_text().splitlines()[4])


@pytest.mark.thorough
@pytest.mark.parametrize("made_by", ["dqctl", "others"])
def test_a_purge_removes_what_dqctl_made_and_no_more(stack: Stack, client: WorkspaceClient, made_by: str) -> None:
    project = f"made-by-{made_by}"
    if made_by == "others":
        spec = sdk.Project(spec=sdk.ProjectSpec(enable_pg_native_login=True))
        client.postgres.create_project(spec, project).wait()
    run = replace(stack.run, environment={"DQCTL_WORKSPACE": str(stack.workspace), "DQCTL_STACK": made_by})
    # Interrupted: whatever is there by then has to go.
    install = run.start(*INSTALL, "--lakebase-project", project)
    assert install.hear("setting up TestGen")
    install.signal(signal.SIGINT)
    install.end()
    purged = run.document("uninstall", "--purge")
    names = [each["project_id"] for each in stack.ask("GET", "/api/2.0/postgres/projects")["projects"]]
    if made_by == "dqctl":
        assert f"Lakebase project {project}" in purged["changed"]
        assert project not in names
        return
    assert f"databases and role in the Lakebase project {project}" in purged["changed"]
    assert project in names
    endpoint = f"projects/{project}/branches/production/endpoints/primary"
    credential = stack.ask("POST", "/api/2.0/postgres/credentials", {"endpoint": endpoint})
    host = stack.ask("GET", f"/api/2.0/postgres/{endpoint}")["status"]["hosts"]["host"]
    address, _, port = host.partition(":")
    token = SecretStr(credential["token"])
    owner = LakebaseServer(address, int(port), stack.endpoint.ca_file, token, "owner@dqctl.invalid")
    with owner.connect("databricks_postgres") as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'datakitchen%'").fetchall()
        assert found == []
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'testgen'").fetchone() is None
    client.postgres.delete_project(f"projects/{project}", purge=True)


@pytest.mark.thorough
def test_the_sidecar_wakes_nothing_and_sees_what_somebody_else_woke(stack: Stack) -> None:
    stack.run("publish", "--pending")
    seconds = 1000.0
    watch = Watch(lambda: stack.run.settings, Clock(monotonic=lambda: seconds))
    stack.suspend()
    assert (watch.look(), watch.runtime, stack.state) == (Noticed(), None, "IDLE")

    def finish_a_run() -> None:
        with stack.server.connect("datakitchen") as connection:
            connection.execute(
                "INSERT INTO job_executions (job_key, kwargs, source, status, project_code, completed_at)"
                " VALUES ('run-tests', '{}', 'cli', 'completed', 'DEFAULT', now())"
            )

    finish_a_run()
    assert not watch.look().waiting  # nobody was asked yet
    seconds += 31
    assert watch.look().waiting
    assert watch.may_ask()
    assert not watch.may_ask()
    stack.run("publish", "--pending")
    seconds += 6
    assert not watch.look().waiting
    # From now on it may fall asleep: who looked at it would keep it awake.
    finish_a_run()
    for _ in range(30):
        seconds += 60
        assert not watch.look().waiting
    assert watch.runtime is None
    seconds += 15 * 60
    assert watch.look().waiting
    stack.run("publish", "--pending")
