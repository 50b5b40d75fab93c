"""TestGen's scheduler beside dqctl, on one queue: who runs what, and who waits for whom."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import docker
from command_line import CommandLine
from container_stacks import TESTGEN, container_stack, containers
from dqctl.errors import Busy
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime import Runtime, find_runtime, open_runtime
from dqctl.runtime.docker import host_address
from dqctl.services.standstill import standstill
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS
from dqctl.testgen import jobs
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

STACK = "sched"

# Both on the stack's own PostgreSQL: a profile of the first takes a second, one of the second takes minutes.
_SYSTEM = """\
  - name: {schema}
    connections:
      - name: pg
        flavor: postgresql
        host: postgres
        port: 5432
        database: target
        user: probe
        password: {{env: PROBE_PASSWORD}}
        schema: {schema}
        table_groups:
          - name: {schema}
"""

# Each change of a job's status, and the transaction that made it.
_WRITTEN_DOWN = """
CREATE TABLE dqctl.seen AS SELECT id, status, 0::bigint AS change FROM job_executions LIMIT 0;
CREATE FUNCTION dqctl.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO dqctl.seen VALUES (NEW.id, NEW.status, txid_current()); RETURN NEW; END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE ON job_executions FOR EACH ROW EXECUTE FUNCTION dqctl.see();
"""


def within(seconds: float, found: Callable[[], Any]) -> Any:
    """What ``found`` finds, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"nothing after {seconds:g} s"
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module")
def impatient(images: object, engine: docker.DockerClient) -> Iterator[str]:
    """TestGen's image, but for its scheduler, which looks for jobs every second and not every 5: for this file."""
    name = "dqctl-test/sched"
    made = engine.containers.create(TESTGEN)
    try:
        made.commit(repository=name, tag="1", changes="ENV TG_JOB_POLL_INTERVAL=1")
    finally:
        made.remove(v=True)
    yield f"{name}:1"
    engine.images.remove(f"{name}:1")


@pytest.fixture(scope="module")
def run(impatient: str) -> Iterator[CommandLine]:
    """A stack with a scheduler, and two systems in its own PostgreSQL."""
    with container_stack(STACK, PROBE_PASSWORD=PASSWORD, DQCTL_IMAGE=impatient) as run:
        workspace = run.home / "workspace"
        starting = run.start("workspace", "start", "--data-dir", workspace, "--proxy-address", host_address())
        try:
            run("install", "--workspace", workspace, "--scheduler", timeout=400)
            runtime = open_runtime(run.settings, silent)
            Target.make(runtime)  # type: ignore[arg-type] - it asks for no more than both runtimes have
            with runtime.metadata() as connection:
                connection.execute("CREATE SCHEMA dqctl")
                connection.execute(_WRITTEN_DOWN)
            file = run.home / "systems.yaml"
            file.write_text(
                "version: 1\nsystems:\n" + "".join(_SYSTEM.format(schema=each) for each in ("sales", "slow"))
            )
            assert starting.end().code == 0
            run("apply", "-f", file)
            yield run
        finally:
            starting.end()
            control.stop(workspace)


@pytest.fixture
def runtime(run: CommandLine) -> Iterator[Runtime]:
    """The stack, its scheduler at work and nothing in its queue; and so it is left."""
    runtime = open_runtime(run.settings, silent)
    within(90, is_looking)
    yield runtime
    open_runtime(run.settings, silent)
    within(90, is_looking)
    with runtime.metadata() as connection:  # what a test that failed has left
        connection.execute(
            "UPDATE job_executions SET status = 'cancel_requested' WHERE job_key <> 'refresh-project-scores'"
            " AND status IN ('pending', 'claimed', 'running')"
        )
    within(90, lambda: not at_work(runtime))


def is_looking() -> bool:
    """Whether the scheduler looks for jobs, by its container's own health check."""
    container = containers(STACK)["scheduler"]
    probe = container.attrs["Config"]["Healthcheck"]["Test"][1:]
    return container.status == "running" and container.exec_run(probe).exit_code == 0


def at_work(runtime: Runtime) -> list[tuple[Any, ...]]:
    with runtime.metadata() as connection:
        return connection.execute(
            "SELECT job_key, status FROM job_executions WHERE status NOT IN ('completed', 'error', 'canceled')"
        ).fetchall()


def queue(runtime: Runtime, system: str) -> UUID:
    """Ask for a profile as others do: TestGen's web application, its API, its schedules."""
    with runtime.metadata() as connection:
        row = connection.execute(
            "INSERT INTO job_executions (job_key, kwargs, source, project_code)"
            " SELECT 'run-profile', jsonb_build_object('table_group_id', id), 'api', project_code"
            " FROM table_groups WHERE table_groups_name = %s RETURNING id",
            [system],
        ).fetchone()
    assert row
    return UUID(str(row[0]))


def row_of(runtime: Runtime, job: UUID) -> tuple[Any, ...]:
    with runtime.metadata() as connection:
        row = connection.execute(
            "SELECT status, error_message FROM job_executions WHERE id = %s", [job]
        ).fetchone()
    assert row
    return tuple(row)


def insert(runtime: Runtime, status: str, *, ours: bool = False) -> UUID:
    """A job that nobody runs."""
    with runtime.metadata() as connection:
        row = connection.execute(
            "INSERT INTO job_executions (job_key, status, source, project_code, claimed_at)"
            " VALUES ('run-tests', %s, 'test', 'sales', now()) RETURNING id",
            [status],
        ).fetchone()
        assert row
        if ours:
            connection.execute("INSERT INTO dqctl.foreground VALUES (%s)", [row[0]])
    return UUID(str(row[0]))


def said() -> str:
    return containers(STACK)["scheduler"].logs().decode()


def last_look() -> float:
    """When the scheduler looked for jobs last, by its container's clock."""
    answer = containers(STACK)["scheduler"].exec_run(["stat", "-c", "%.Y", "/tmp/scheduler"])
    return float(answer.output)


def begun() -> str:
    return str(containers(STACK)["scheduler"].attrs["State"]["StartedAt"])


def test_what_somebody_queues_is_run_by_the_scheduler_and_published_by_the_next_command_beside_what_still_runs(
    run: CommandLine, runtime: Runtime
) -> None:
    with standstill(runtime, 10, "a test"):
        quick, endless = queue(runtime, "sales"), queue(runtime, "slow")
        looked = last_look()
        within(90, lambda: last_look() > looked + 0.5)
        assert (row_of(runtime, quick)[0], row_of(runtime, endless)[0]) == ("pending", "pending")
    assert within(90, lambda: (row := row_of(runtime, quick))[0] in ("completed", "error") and row) == (
        "completed",
        None,
    )
    assert f"Dispatching job execution {quick}" in said()
    within(90, lambda: row_of(runtime, endless)[0] == "running")
    assert str(quick) in [each["run_id"] for each in run.document("publish", "--pending")["runs"]]
    assert run.document("publish", "--pending")["runs"] == []
    with runtime.metadata() as connection:
        stored = connection.execute(
            "SELECT count(*) FROM profile_results WHERE profile_run_id = %s", [quick]
        ).fetchone()
    found = run.document(
        "workspace", "sql", f"SELECT count(*) FROM main.data_quality.dq_profile_columns WHERE run_id = '{quick}'"
    )
    assert tuple(found["rows"][0]) == stored == (8,)

    orphan = insert(runtime, "running", ours=True)
    assert [each.job_id for each in jobs.settle_orphans(runtime)] == [orphan], "what dqctl left behind, no other"
    assert row_of(runtime, orphan) == ("canceled", jobs.INTERRUPTED)
    ids = {service: each.id for service, each in containers(STACK).items()}
    assert "its scheduler runs run-profile (since 2" in run("credentials", "rotate", "--all", code=6).err
    with pytest.raises(Busy, match="its scheduler runs run-profile"), standstill(runtime, 0, "a test"):
        pytest.fail("the stack does not stand still")
    assert row_of(runtime, endless) == ("running", None)
    assert {service: each.id for service, each in containers(STACK).items()} == ids
    with runtime.metadata() as connection:
        connection.execute("UPDATE job_executions SET status = 'cancel_requested' WHERE id = %s", [endless])
    assert within(90, lambda: row_of(runtime, endless)[0] == "canceled")


def test_a_scheduler_that_starts_waits_for_the_job_that_dqctl_runs(run: CommandLine, runtime: Runtime) -> None:
    process = run.start("profile", "slow")
    (job,) = within(90, lambda: [row for row in at_work(runtime) if row == ("run-profile", "running")])
    before = said()
    containers(STACK)["scheduler"].restart(timeout=30)
    within(90, lambda: "dqctl runs a job: waiting for its end" in said()[len(before) :])
    time.sleep(1)
    assert at_work(runtime) == [job]
    process.signal(signal.SIGINT)
    assert process.end().code == 130
    within(90, lambda: "Starting CLI Scheduler" in said()[len(before) :])


def test_what_dqctl_runs_is_never_run_by_the_scheduler_too(run: CommandLine, runtime: Runtime) -> None:
    (report,) = run.document("profile", "sales")["runs"]
    with runtime.metadata() as connection:
        ours = {str(row[0]) for row in connection.execute("SELECT job_id FROM dqctl.foreground").fetchall()}
        claims = connection.execute(
            "SELECT id, count(*) FROM dqctl.seen WHERE status = 'claimed' GROUP BY id HAVING count(*) > 1"
        ).fetchall()
        changes = connection.execute(
            "SELECT status, change FROM dqctl.seen WHERE id = %s ORDER BY ctid", [report["run"]["run_id"]]
        ).fetchall()
    assert report["run"]["run_id"] in ours
    assert not [job for job in ours if job in said()]
    assert claims == []
    assert list(dict.fromkeys(status for status, _ in changes)) == ["pending", "claimed", "running", "completed"]
    assert changes[0][1] == changes[1][1], "nobody else ever sees it in the queue"


def test_there_is_no_second_scheduler_on_a_database(runtime: Runtime) -> None:
    second = (
        '"$@" >/tmp/second 2>&1 & n=0; until grep -q "another scheduler works on this database" /tmp/second; '
        "do n=$((n + 1)); [ $n -lt 300 ] || break; sleep 0.2; done; kill $!; wait $!; echo $?; cat /tmp/second"
    )
    program = containers(STACK)["scheduler"].attrs["Config"]["Entrypoint"]
    answer = containers(STACK)["engine"].exec_run(["sh", "-c", second, "sh", *program]).output.decode()
    assert answer.startswith("143\n"), "it ends when it is told to"
    assert "another scheduler works on this database: waiting for its end" in answer
    assert "Starting CLI Scheduler" not in answer


def test_rotated_secrets_reach_the_scheduler(run: CommandLine, runtime: Runtime) -> None:
    before = begun()
    run("credentials", "rotate", "--all")
    within(90, lambda: begun() != before and is_looking())
    assert "The configuration has changed: the scheduler starts anew" in said()


def test_it_comes_and_goes_as_it_is_asked_for_and_the_rest_stays(run: CommandLine, runtime: Runtime) -> None:
    ids = {service: each.id for service, each in containers(STACK).items()}
    assert run.document("install")["changed"] == []
    assert run.document("install", "--no-scheduler")["changed"] == ["Compose project", "containers", "settings"]
    assert set(containers(STACK)) == set(run.document("status")["services"]) == {"postgres", "engine"}
    assert "there is no service 'scheduler'" in run("logs", "scheduler", code=2).err
    running, queued = insert(runtime, "running"), insert(runtime, "pending")
    assert {each.job_id for each in jobs.settle_orphans(runtime)} == {running, queued}
    run("install", "--scheduler")
    after = {service: each.id for service, each in containers(STACK).items()}
    assert {**after, "scheduler": ids["scheduler"]} == ids
    found = {each["id"]: each for each in run.document("doctor", code=None)["findings"]}
    assert "is running" in found["docker.scheduler"]["evidence"]
    assert found["docker.definition"]["verdict"] == found["docker.images"]["verdict"] == "ok"


def test_one_that_is_down_is_started_by_the_next_command_which_leaves_it_the_queue(
    run: CommandLine, runtime: Runtime
) -> None:
    containers(STACK)["scheduler"].stop(timeout=30)
    assert containers(STACK)["scheduler"].attrs["State"]["ExitCode"] == 0
    running, queued = insert(runtime, "running"), insert(runtime, "pending")
    down = find_runtime(run.settings, silent)
    assert [each.job_id for each in jobs.settle_orphans(down, keep_queued=True)] == [running]
    assert down.health().services["scheduler"] == "exited"
    assert open_runtime(run.settings, silent).health().is_good
    assert within(90, lambda: row_of(runtime, queued)[0] == "error"), "nobody can run tests of no suite"


def test_it_has_no_more_rights_than_the_engine_and_shows_no_secret(run: CommandLine, runtime: Runtime) -> None:
    found = containers(STACK)
    ours, engine = (found[service].attrs for service in ("scheduler", "engine"))
    for name in (
        "ReadonlyRootfs",
        "CapDrop",
        "CapAdd",
        "SecurityOpt",
        "Memory",
        "PidsLimit",
        "PortBindings",
        "Tmpfs",
    ):
        assert ours["HostConfig"][name] == engine["HostConfig"][name], name
    assert ours["Image"] == engine["Image"]
    assert ours["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    # A job's process, and that of the health check, end soon.
    within(60, lambda: len(found["scheduler"].top()["Processes"]) == 1)
    pid = ours["State"]["Pid"]
    places = (json.dumps(ours), said(), Path(f"/proc/{pid}/environ").read_text(), run("logs", "scheduler").out)
    for name in LENGTHS:
        secret = (StackPaths(run.home, STACK).secrets / name).read_text().strip()
        assert not [place for place in places if secret in place], name


def test_its_health_is_that_of_its_way_to_the_queue(run: CommandLine, runtime: Runtime) -> None:
    postgres = containers(STACK)["postgres"]
    postgres.pause()
    try:
        containers(STACK)["scheduler"].exec_run(["touch", "-d", "1 minute ago", "/tmp/scheduler"])
        time.sleep(2.5)  # it looks every second
        assert not is_looking()
    finally:
        postgres.unpause()
    within(90, is_looking)
