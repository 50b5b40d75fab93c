"""A stack is broken in every way that doctor knows: exactly the check about it fails, and its fix mends."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_line import CommandLine
from doctoring import GOOD, black_hole, elsewhere, failures, fake_workspace, mend, mute, the_failure, verdicts
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services.doctor import Verdict, examine
from dqctl.settings import Settings, load
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record, write_record
from workspaces import running_workspace

pytestmark = pytest.mark.local
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a file system")
BUDGET = 3.0  # seconds, for a whole command without a network


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as endpoint:
        yield endpoint


@pytest.fixture
def stack(fresh_stack: Settings, endpoint: Endpoint) -> Settings:
    """An installed stack that is up, with a workspace that is up."""
    settings = load({"home": fresh_stack.home, "workspace": endpoint.data_dir}, {})
    open_runtime(settings, silent)
    return settings


def runtime_of(settings: Settings) -> LocalRuntime:
    paths = StackPaths(settings.home, settings.stack)
    record = read_record(paths)
    assert record
    return LocalRuntime(paths, record, silent)


def postmaster(settings: Settings) -> int:
    running = runtime_of(settings).postgres.postmaster()
    assert running
    return running.pid


def execute(settings: Settings, statement: str) -> None:
    with runtime_of(settings).metadata() as connection:
        connection.execute(statement.encode())


def with_workspace(
    settings: Settings, data_dir: Path | None, environment: dict[str, str] | None = None
) -> Settings:
    return load({"home": settings.home, "workspace": data_dir}, environment or {})


def test_nothing_fails_in_a_stack_that_is_well(stack: Settings) -> None:
    diagnosis = examine(stack)
    assert failures(diagnosis) == {}
    assert diagnosis.exit_code == 0
    found = {each.id: each.verdict for each in diagnosis.findings}
    assert found["databricks.ansi_mode"] is Verdict.OK
    assert found["databricks.grants"] is Verdict.OK
    # The stack has no backup and no state: no failure, and no promise.
    assert {name for name, verdict in found.items() if verdict is Verdict.SKIPPED} == {
        "stack.backup",
        "state.saved",
    }
    assert found["databricks.token"] is Verdict.OK
    well = {"postgres.running", "postgres.port", "metadata.revision", "metadata.jobs", "databricks.credentials"}
    assert {found[name] for name in well} == {Verdict.OK}
    assert found["machine.clock"] is Verdict.OK


def test_the_command_shows_it_and_ends_in_time(stack: Settings) -> None:
    run = CommandLine(stack.home, {"DQCTL_WORKSPACE": str(stack.workspace), "DQCTL_PROFILE_ANSI": "as-is"})
    began = time.monotonic()
    document = run.document("doctor")
    assert time.monotonic() - began < 3 * BUDGET  # a crowded machine; the benchmark measures
    assert {"stack", "home", "runtime", "dqctl_version", "findings", "seconds"} <= set(document)
    assert {"id", "verdict", "evidence", "fix"} <= set(document["findings"][0])
    said = run("doctor")
    assert "databricks.ansi_mode (warning)\n  fix: unset DQCTL_PROFILE_ANSI" in said.out
    assert "1 warning" in said.out


def test_nothing_is_started_or_changed(fresh_stack: Settings) -> None:
    def state() -> dict[str, tuple[int, int, int]]:
        root = StackPaths(fresh_stack.home, fresh_stack.stack).root
        found = {str(path): path.lstat() for path in root.rglob("*")}
        return {path: (s.st_mtime_ns, s.st_size, s.st_mode) for path, s in found.items()}

    # All fresh stacks are copies of one, port included: starting it once finds this one a port of its own.
    open_runtime(fresh_stack, silent).down()
    before = state()
    assert list(failures(examine(fresh_stack))) == ["postgres.running"]
    assert state() == before
    assert runtime_of(fresh_stack).postgres.postmaster() is None


def test_a_killed_postgres_is_seen_and_started_by_the_fix(stack: Settings) -> None:
    os.kill(postmaster(stack), signal.SIGKILL)
    wait_until(lambda: runtime_of(stack).postgres.postmaster() is None)
    failure = the_failure(stack, "postgres.running")
    assert "does not run" in failure.evidence
    mend(failure.fix.partition(" (")[0])
    assert failures(examine(stack)) == {}


def test_a_hanging_postgres_holds_up_nothing(stack: Settings) -> None:
    os.kill(postmaster(stack), signal.SIGSTOP)
    try:
        began = time.monotonic()
        failure = the_failure(stack, "metadata.reachable")
        assert time.monotonic() - began < 2 * BUDGET
        assert failure.evidence == "no answer within 2 s"
        assert "kill -STOP" in failure.fix
    finally:
        os.kill(postmaster(stack), signal.SIGCONT)


def test_an_open_secret_is_seen_and_closed_by_the_fix(stack: Settings) -> None:
    secrets = StackPaths(stack.home, stack.stack).secrets
    (secrets / "jwt_key").chmod(0o644)
    failure = the_failure(stack, "secrets.permissions")
    assert f"{secrets / 'jwt_key'} is 0644" in failure.evidence
    mend(failure.fix.partition(";")[0])
    assert failures(examine(stack)) == {}
    secrets.chmod(0o755)
    mend(the_failure(stack, "secrets.permissions").fix.partition(";")[0])
    assert failures(examine(stack)) == {}


def test_a_lost_secret_is_seen(stack: Settings) -> None:
    secret = StackPaths(stack.home, stack.stack).secrets / "decrypt_salt"
    secret.unlink()
    failure = the_failure(stack, "secrets.files")
    assert str(secret) in failure.evidence
    assert "restore" in failure.fix


def test_a_password_that_is_not_the_right_one_is_seen(stack: Settings) -> None:
    secret = StackPaths(stack.home, stack.stack).secrets / "postgres_password"
    right = secret.read_text()
    secret.write_text("another-password-than-the-right-one\n")
    failure = the_failure(stack, "metadata.reachable")
    assert "password authentication failed" in failure.evidence
    secret.write_text(right)  # the fixture stops the server


def test_a_wrong_token_is_refused_with_an_exit_code_of_its_own(
    stack: Settings, endpoint: Endpoint, tmp_path: Path
) -> None:
    workspace = elsewhere(endpoint, tmp_path / "workspace")
    (workspace / "token").write_text("dapi-wrong-token-of-a-test\n")
    settings = with_workspace(stack, workspace)
    failure = the_failure(settings, "databricks.credentials")
    assert failure.refused
    assert "403" in failure.evidence
    run = CommandLine(stack.home, {"DQCTL_WORKSPACE": str(workspace)})
    document = run.document("doctor", code=7)
    assert document["outcome"] == "databricks_refused"
    assert "dapi-wrong-token-of-a-test" not in str(document)


def test_a_foreign_listener_on_the_port_is_named(stack: Settings) -> None:
    runtime = runtime_of(stack)
    runtime.down()
    assert runtime.record.postgres_port
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", runtime.record.postgres_port))
        listener.listen()
        found = failures(examine(stack))
        assert list(found) == ["postgres.port", "postgres.running"]
        assert f"process {os.getpid()}" in found["postgres.port"].evidence
        mend(found["postgres.port"].fix.partition(" (")[0])
        assert failures(examine(stack)) == {}


@needs_root
def test_a_disk_that_is_nearly_full_is_seen(tmp_path: Path) -> None:
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        failure = the_failure(load({"home": tmp_path}, {}), "machine.disk")
        assert f"0.1 GB free at {tmp_path}" in failure.evidence
        assert f"MB at {tmp_path}" in failure.fix
    finally:
        subprocess.run(["/bin/umount", tmp_path], check=True)


def test_a_schema_of_another_version_is_seen(stack: Settings) -> None:
    execute(stack, "UPDATE tg_revision SET revision = '0240' WHERE component = 'metadata_db'")
    failure = the_failure(stack, "metadata.revision")
    assert "schema revision 240, TestGen 5.134.0 works with 235" in failure.evidence


def test_a_clock_that_is_wrong_is_seen(stack: Settings, tmp_path: Path) -> None:
    with fake_workspace(tmp_path / "fake", GOOD, skew=-90) as workspace:
        failure = the_failure(with_workspace(stack, workspace), "machine.clock")
        assert failure.evidence.startswith(("90 s ahead of", "89 s ahead of", "91 s ahead of"))
        assert "timedatectl" in failure.fix
    with fake_workspace(tmp_path / "another", GOOD, skew=30) as workspace:
        assert failures(examine(with_workspace(stack, workspace))) == {}


def test_a_host_that_does_not_resolve_is_told_at_once(stack: Settings) -> None:
    # .invalid never resolves; whether the name server says so or says nothing is up to the network.
    environment = {
        "DATABRICKS_HOST": "adb-1.dqctl.invalid",
        "DATABRICKS_TOKEN": "dapi-of-a-test-0123456789",
        "DATABRICKS_WAREHOUSE_ID": "abc",
    }
    failure = the_failure(with_workspace(stack, None, environment), "databricks.host")
    assert "does not resolve" in failure.evidence or "no answer" in failure.evidence
    assert "DATABRICKS_HOST" in failure.fix
    without_proxy = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), "")
    began = time.monotonic()
    CommandLine(stack.home, environment | without_proxy)("doctor", code=3)
    assert time.monotonic() - began < 3 * BUDGET


@pytest.mark.parametrize("hole", [black_hole, mute])
def test_a_host_that_swallows_everything_is_told_in_time(
    stack: Settings, endpoint: Endpoint, tmp_path: Path, hole: Callable[[], "Iterator[int]"]
) -> None:
    with hole() as port:  # type: ignore[attr-defined]
        settings = with_workspace(stack, elsewhere(endpoint, tmp_path / "workspace", port=port))
        began = time.monotonic()
        failure = the_failure(settings, "databricks.host")
        assert time.monotonic() - began < 2 * BUDGET
        assert "no answer within 1 s" in failure.evidence


def test_a_certificate_that_nobody_trusts_is_told(stack: Settings, endpoint: Endpoint, tmp_path: Path) -> None:
    with fake_workspace(tmp_path / "fake", GOOD) as workspace:
        other = Endpoint.read(workspace)
        assert other
        mixed = elsewhere(endpoint, tmp_path / "mixed", port=other.port)
        failure = the_failure(with_workspace(stack, mixed), "databricks.host")
    assert "not trusted" in failure.evidence
    assert "SSL_CERT_FILE" in failure.fix


def test_a_workspace_that_does_not_run_is_told(stack: Settings, tmp_path: Path) -> None:
    failure = the_failure(with_workspace(stack, tmp_path), "databricks.settings")
    assert failure.fix.endswith(f"dqctl workspace start --data-dir {tmp_path}")


def test_a_stack_without_a_workspace_is_no_failure(stack: Settings) -> None:
    found = verdicts(with_workspace(stack, None))
    assert found["databricks.settings"].verdict is Verdict.SKIPPED
    assert not [each for each in found.values() if each.verdict is Verdict.FAILED]


def test_half_of_the_settings_is_a_failure(stack: Settings) -> None:
    settings = with_workspace(stack, None, {"DATABRICKS_HOST": "adb-1.dqctl.invalid"})
    assert "DATABRICKS_WAREHOUSE_ID" in the_failure(settings, "databricks.settings").fix


def test_a_damaged_record_hides_nothing_else(stack: Settings) -> None:
    paths = StackPaths(stack.home, stack.stack)
    record = paths.record.read_text()
    paths.record.write_text('{"format": 7}')
    assert "stack.json" in the_failure(stack, "stack.record").evidence
    paths.record.write_text(record)


def test_missing_programs_are_told(stack: Settings, tmp_path: Path) -> None:
    environments = stack.home / "environments"
    programs = environments.readlink()
    environments.unlink()
    failure = the_failure(stack, "stack.programs")
    assert "testgen-5.134.0" in failure.evidence
    assert failure.fix == f"dqctl --home {stack.home} install"
    environments.symlink_to(programs)


def add_job(settings: Settings, status: str) -> None:
    """A job's row as TestGen leaves it."""
    with runtime_of(settings).metadata() as connection:
        connection.execute(
            "INSERT INTO job_executions"
            " (id, project_code, job_key, kwargs, source, status, created_at, completed_at) VALUES"
            " (gen_random_uuid(), 'DEFAULT', 'run-tests', '{}', 'cli', %(status)s, now(), %(end)s)",
            {"status": status, "end": datetime.now(UTC).replace(tzinfo=None) if status == "completed" else None},
        )


def test_a_job_that_nobody_runs_is_seen_and_settled_by_the_fix(stack: Settings) -> None:
    add_job(stack, "running")
    job = verdicts(stack)["metadata.jobs"]
    assert job.verdict is Verdict.WARNING
    assert job.evidence.startswith("1 job on the way since")
    assert f"{datetime.now(UTC):%Y-%m-}" in job.evidence
    CommandLine(stack.home, {"DQCTL_WORKSPACE": str(stack.workspace)})(*job.fix.partition(" (")[0].split()[1:])
    assert verdicts(stack)["metadata.jobs"].verdict is Verdict.OK


def test_a_run_that_waits_to_be_published_is_seen(stack: Settings) -> None:
    assert verdicts(stack)["metadata.unpublished"].verdict is Verdict.OK
    add_job(stack, "completed")
    waiting = verdicts(stack)["metadata.unpublished"]
    assert waiting.verdict is Verdict.WARNING
    assert waiting.evidence == "1 of 1 finished runs wait to be published"
    assert waiting.fix == f"dqctl --home {stack.home} publish --pending"


def test_a_stray_configuration_is_seen_without_its_values(stack: Settings, tmp_path: Path) -> None:
    stray = tmp_path / ".testgen" / "config.env"
    stray.parent.mkdir()
    stray.write_text("TG_STANDALONE_MODE=yes\nTG_METADATA_DB_PASSWORD=planted-password-0815\n")
    run = CommandLine(stack.home, {"HOME": str(tmp_path)})
    document = run.document("doctor")
    (found,) = [each for each in document["findings"] if each["id"] == "testgen.config_env"]
    assert found["verdict"] == "warning"
    assert "sets 2 variables" in found["evidence"]
    assert "TG_STANDALONE_MODE" in found["evidence"]
    assert "planted-password-0815" not in str(document)
    assert found["fix"] == f"mv {stray} {stray}.off"


def test_what_no_record_knows_is_seen(stack: Settings) -> None:
    paths = StackPaths(stack.home, stack.stack)
    (stack.home / "stacks" / "lost").mkdir()
    record = read_record(paths)
    assert record
    write_record(paths, record.model_copy(update={"installed": False}))
    found = verdicts(stack)
    assert found["leftovers.stacks"].evidence == "without a record: lost"
    assert "postgres, process" in found["leftovers.processes"].evidence
    assert found["stack.record"].verdict is Verdict.WARNING
    write_record(paths, record)


def test_before_an_install_the_machine_is_looked_at(tmp_path: Path) -> None:
    diagnosis = examine(load({"home": tmp_path / "home"}, {}))
    assert failures(diagnosis) == {}
    found = {each.id: each for each in diagnosis.findings}
    assert found["stack.record"].verdict is Verdict.SKIPPED
    assert found["stack.record"].fix.endswith("install")
    assert not any(name.startswith(("postgres.", "metadata.", "docker.")) for name in found)
    assert not (tmp_path / "home").exists()


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
