"""The sidecar of a real stack: what it sees, what it survives, and how it ends."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import Connection

from alert_receivers import web
from command_line import CommandLine
from dqctl import __version__
from dqctl.clock import SYSTEM_CLOCK, Deadline
from dqctl.localworkspace import client, control
from dqctl.localworkspace.faults import Effect, Fault
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import tables
from dqctl.services.apply import apply
from dqctl.services.controller.rounds import Rounds
from dqctl.services.controller.standing import Standing
from dqctl.services.target import find_endpoint
from dqctl.settings import Settings
from dqctl.stack import schedules
from dqctl.stack.paths import StackPaths
from dqctl.testgen import exclusive, foreground
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.noticing import Notice, Noticed
from publishing import published, running
from sidecar import PATIENCE, Sidecar, within
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

DEFINE = """
    INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name, skip_errors,
                                  custom_query, test_active, lock_refresh)
    SELECT s.table_groups_id, s.id, 'CUSTOM', 'sales', 'orders', 0,
           'SELECT 1 FROM sales.orders WHERE order_id < 4', 'Y', 'Y'
    FROM test_suites s
"""
CLAIM = """
    INSERT INTO job_executions (job_key, kwargs, source, status, project_code, claimed_at)
    SELECT 'run-tests', jsonb_build_object('test_suite_id', id::text), 'cli', 'claimed', project_code, now()
    FROM test_suites RETURNING id
"""
FINISH = """
    INSERT INTO job_executions (id, job_key, kwargs, source, status, project_code, started_at, completed_at)
    SELECT %s, 'run-test-generation', jsonb_build_object('test_suite_id', id::text), 'cli', 'completed',
           project_code, now(), now()
    FROM test_suites
"""


FINISH_ANY = """
    INSERT INTO job_executions (id, job_key, kwargs, source, status, project_code, started_at, completed_at)
    VALUES (%s, 'run-tests', '{}', 'cli', 'completed', 'DEFAULT', now(), now())
"""


@pytest.fixture(scope="module")
def settings(installed_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack with a suite of one test, and a workspace to publish to."""
    directory = tmp_path_factory.mktemp("sidecar")
    target = Target.make(open_runtime(installed_stack, silent))
    file = target.write_systems(directory, "sales")
    apply(target.runtime, file, access=None, environment={"PROBE_PASSWORD": PASSWORD}, deadline=Deadline(300))
    with target.runtime.metadata() as connection:
        connection.execute(DEFINE)
    with running(directory / "workspace") as workspace:
        found = installed_stack.model_copy(update={"workspace": workspace})
        tables.init(found)
        yield found


@pytest.fixture
def runtime(settings: Settings) -> LocalRuntime:
    """The stack, up, and its workspace."""
    assert settings.workspace
    control.start(settings.workspace)
    return open_runtime(settings, silent)


@pytest.fixture
def command(settings: Settings, runtime: LocalRuntime) -> CommandLine:
    return CommandLine(settings.home, {"DQCTL_WORKSPACE": str(settings.workspace)})


@pytest.fixture
def sidecar(command: CommandLine) -> Iterator[Callable[..., Sidecar]]:
    """Start one, with more variables; those that still run end with the test."""
    started: list[Sidecar] = []

    def start(**environment: str) -> Sidecar:
        started.append(Sidecar(replace(command, environment={**command.environment, **environment})))
        return started[-1]

    yield start
    for each in started:
        if each.process.is_running:
            each.process.signal(signal.SIGKILL)
        each.process.end(60)


def finish(runtime: LocalRuntime) -> str:
    """A run that somebody else has brought to its end, just now; its id."""
    run = uuid4()
    with runtime.metadata() as connection:
        connection.execute(FINISH, [run])
    return str(run)


def is_published(runtime: LocalRuntime, run: str) -> bool:
    """Whether the ledger has it, which is written when everything is there."""
    with runtime.metadata() as connection:
        return connection.execute("SELECT 1 FROM dqctl.published WHERE run_id = %s", [run]).fetchone() is not None


def times_published(settings: Settings) -> Counter[str]:
    return Counter(row["run_id"] for row in published(settings, "dq_runs"))


def processes_of(settings: Settings) -> list[str]:
    """Command lines of processes of this home that a sidecar starts."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if str(settings.home) in argv and ("once" in argv or "schedule" in argv or "logs" in argv):
            found.append(" ".join(argv))
    return found


def test_a_run_of_testgens_own_is_published_and_saved_and_numbers_are_served(
    settings: Settings, runtime: LocalRuntime, command: CommandLine, sidecar: Callable[..., Sidecar]
) -> None:
    one = sidecar(DQCTL_STATE="auto").settled()
    with runtime.metadata() as connection:
        (job,) = connection.execute(CLAIM).fetchone() or (None,)
    assert isinstance(job, UUID)
    within(lambda: [each for each in processes_of(settings) if "--told" in each])  # ready for its end
    done = runtime.run(["exec-job", str(job)], deadline=Deadline(200))
    assert done.exit_code == 0, done
    assert one.process.hear("published 1 run to")  # before it the process has ended that did it
    assert times_published(settings)[str(job)] == 1
    (result,) = (row for row in published(settings, "dq_test_results") if row["run_id"] == str(job))
    assert result["result_status"] == "Failed"
    within(lambda: not processes_of(settings))
    saving = replace(command, environment={**command.environment, "DQCTL_STATE": "auto"})
    saved = saving.document("state", "status")
    assert saved["seq"] >= 2  # the round that it begins with saved everything
    assert saved["unsaved"] == 0

    within(lambda: one.number('dqctl_unpublished_runs{stack="default"}') == 0)
    assert one.number('dqctl_up{stack="default"}') == 1
    assert one.number('dqctl_controller_leader{stack="default"}') == 1
    assert one.number('dqctl_controller_errors_total{kind="round",stack="default"}') == 0
    memory = one.number("dqctl_controller_process_resident_memory_bytes")
    assert memory
    assert memory < 120e6
    assert one.get("/healthz")[0] == 200
    ready = one.ready()
    assert (ready["status"], ready["role"], ready["troubles"]) == (200, "leader", {})
    assert one.get("/metrics?x=y")[0] == 200
    assert one.get("/else")[0] == 404
    said = one.end()
    assert said.code == 0, said
    assert said.out == ""


def test_a_test_that_fails_under_testgens_own_command_is_told(
    runtime: LocalRuntime, sidecar: Callable[..., Sidecar], tmp_path: Path
) -> None:
    with web() as chat:
        declared = tmp_path / "alerts.yaml"
        declared.write_text(
            "version: 1\nalerts:\n  routes:\n    - {name: chat, apprise: {env: HOOK}}\n"
            "  rules:\n    - {name: failures, when: failed}\n"
        )
        hook = {"HOOK": f"json://127.0.0.1:{chat.port}/"}
        apply(runtime, declared, access=None, environment=hook, deadline=Deadline(300))
        try:
            sidecar().settled()
            with runtime.metadata() as connection:
                (job,) = connection.execute(CLAIM).fetchone() or (None,)
            assert runtime.run(["exec-job", str(job)], deadline=Deadline(200)).exit_code == 0
            assert within(lambda: "orders" in str(chat.posted))
        finally:
            with runtime.metadata() as connection:
                for table in ("alerts", "alert_told", "alert_rules", "alert_routes", "alert_receivers"):
                    connection.execute(f"DELETE FROM dqctl.{table}")


@pytest.mark.thorough
def test_what_goes_away_is_waited_for(
    settings: Settings, runtime: LocalRuntime, sidecar: Callable[..., Sidecar]
) -> None:
    one = sidecar().settled()
    pid = runtime.health().postgres_pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    within(lambda: one.ready()["status"] == 503)
    assert "database" in one.ready()["troubles"]["watch"]
    within(lambda: one.number('dqctl_up{stack="default"}') == 0)
    assert one.number('dqctl_unpublished_runs{stack="default"}') is None
    assert one.get("/healthz")[0] == 200
    assert not runtime.health().postgres_running  # it has not started it: whoever stops it has a reason
    open_runtime(settings, silent)
    within(lambda: one.ready()["status"] == 200)

    assert settings.workspace
    control.stop(settings.workspace)
    run = finish(runtime)
    within(lambda: "round" in one.ready()["troubles"])
    assert "1 finished run waits to be published" in one.ready()["troubles"]["round"]
    control.start(settings.workspace)
    within(lambda: is_published(runtime, run))
    within(lambda: one.ready()["status"] == 200)
    assert times_published(settings)[run] == 1
    said = one.end()
    assert said.code == 0
    assert said.err.count("waiting: the metadata database") >= 1
    assert "Traceback" not in said.err


def test_told_to_end_in_the_middle_of_publishing_it_leaves_nothing_half_done(
    settings: Settings, runtime: LocalRuntime, command: CommandLine, sidecar: Callable[..., Sidecar]
) -> None:
    one = sidecar().settled()
    assert settings.workspace
    endpoint = find_endpoint(settings.workspace)
    client.add_fault(endpoint, Fault(Effect.DELAY, matching="INSERT INTO .*dq_runs", seconds=60, times=0))
    try:
        run = finish(runtime)
        within(lambda: client.list_faults(endpoint)[0]["hit"])
        said = one.end()
    finally:
        client.clear_faults(endpoint)
    assert said.code == 0, said
    within(lambda: not processes_of(settings))
    assert not is_published(runtime, run)
    command("publish", "--pending")
    assert times_published(settings)[run] == 1


def test_one_leads_and_the_other_takes_over_when_it_is_killed(
    settings: Settings, runtime: LocalRuntime, sidecar: Callable[..., Sidecar]
) -> None:
    first = sidecar().settled()
    second = sidecar()
    within(lambda: second.ready()["leader"])
    waits = second.ready()
    assert (waits["status"], waits["role"]) == (200, "standby")
    assert f"process {first.process.pid}," in waits["leader"]
    assert second.number('dqctl_controller_leader{stack="default"}') == 0
    assert second.number('dqctl_up{stack="default"}') is None
    first.process.signal(signal.SIGKILL)
    within(lambda: second.ready()["role"] == "leader")
    run = finish(runtime)
    within(lambda: is_published(runtime, run))
    assert times_published(settings)[run] == 1
    assert second.end().code == 0


def test_a_schedule_that_was_missed_runs_once_and_ends_with_the_sidecar(
    settings: Settings, command: CommandLine, sidecar: Callable[..., Sidecar]
) -> None:
    paths = StackPaths(settings.home, settings.stack)
    for name, arguments in {"short": ("systems", "list"), "long": ("logs", "--follow")}.items():
        added = command.document("schedule", "add", name, "--at", "@daily", "--by", "controller", "--", *arguments)
        assert added["change"] == "added"
        days_ago = time.time() - 3 * 86400
        os.utime(paths.schedules / f"{name}.json", (days_ago, days_ago))
    try:
        one = sidecar()
        last = within(lambda: schedules.read_last(paths, "short"))
        assert last.exit_code == 0
        within(lambda: any("logs" in each for each in processes_of(settings)))
        said = one.end()
        assert said.code == 0
        assert "begin schedule short, which was due" in said.err
        within(lambda: not processes_of(settings))
        assert schedules.read_last(paths, "long") is None

        again = sidecar().settled()
        assert again.ready()["troubles"] == {}
        assert again.end().err.count("begin schedule") == 0
        listed = {each["schedule"]["name"]: each for each in command.document("schedule", "list")["schedules"]}
        assert listed["short"]["installed"]
        assert listed["short"]["schedule"]["environment"] == {}
    finally:
        for name in ("short", "long"):
            assert command.document("schedule", "remove", name)["change"] == "removed"
    assert not list(paths.schedules.glob("*.begun"))


def test_a_command_works_beside_it_and_everything_is_there_once(
    settings: Settings, runtime: LocalRuntime, command: CommandLine, sidecar: Callable[..., Sidecar]
) -> None:
    one = sidecar().settled()
    beside = command.start("--output", "json", "run-tests", "--all")
    run = finish(runtime)
    document = beside.end().document
    assert document["exit_code"] == 1, document  # the test fails, and nobody was in the way
    within(lambda: is_published(runtime, run))
    found = times_published(settings)
    ran = [each["run"]["run_id"] for each in document["runs"]]
    assert len(ran) == 1
    assert set(found.values()) == {1}
    assert {run, *ran} <= set(found)
    assert one.end().code == 0


def test_what_a_killed_command_left_is_settled_and_what_others_run_is_not(
    runtime: LocalRuntime, sidecar: Callable[..., Sidecar]
) -> None:
    with runtime.metadata() as connection:
        foreground.ensure(connection, capabilities(runtime.version))
        ours, theirs = (connection.execute(CLAIM).fetchone() or (None,) for _ in range(2))
        connection.execute("INSERT INTO dqctl.foreground VALUES (%s)", ours)

    def status(job: tuple[object, ...]) -> str:
        with runtime.metadata() as connection:
            (found,) = connection.execute("SELECT status FROM job_executions WHERE id = %s", job).fetchone() or (
                "",
            )
            return str(found)

    one = sidecar()
    within(lambda: status(ours) == "canceled")
    within(lambda: is_published(runtime, str(ours[0])))
    assert status(theirs) == "claimed"
    assert one.end().code == 0
    with runtime.metadata() as connection:
        connection.execute("DELETE FROM job_executions WHERE id = %s", theirs)


@pytest.mark.thorough
def test_a_process_is_ready_while_a_run_is_under_way_and_none_while_nothing_is(
    settings: Settings, runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQCTL_WORKSPACE", str(settings.workspace))
    seconds = 0.0
    clock = replace(SYSTEM_CLOCK, monotonic=lambda: time.monotonic() + seconds)
    rounds = Rounds(Standing("default", clock), clock)
    coming = Noticed(coming=True)

    def go(seen: Noticed) -> None:
        rounds.tend(seen, settings)
        assert rounds.running
        rounds.running.wait(PATIENCE)
        assert rounds.tend(seen, settings)

    go(Noticed())  # it begins by cleaning up
    rounds.tend(Noticed(), settings)
    assert rounds.running is None
    rounds.tend(coming, settings)
    ready = rounds.running
    assert ready
    rounds.tend(coming, settings)
    assert rounds.running is ready
    finish(runtime)
    go(Noticed(waiting=True))
    assert ready.returncode == 0
    # One that dies (memory) is not started again and again; the round does without it.
    rounds.tend(coming, settings)
    assert rounds.running
    rounds.running.kill()
    rounds.running.wait(PATIENCE)
    dead = rounds.running
    rounds.tend(coming, settings)
    assert rounds.running is dead
    run = finish(runtime)
    go(Noticed(waiting=True))
    assert is_published(runtime, run)
    # A job that nobody runs any more keeps none for longer than a job may take.
    rounds.tend(coming, settings)
    assert rounds.running
    seconds += settings.job_timeout + 1
    rounds.tend(coming, settings)
    assert rounds.running is None
    rounds.tend(coming, settings)
    assert rounds.running is None
    # Over, and the next one.
    rounds.tend(Noticed(), settings)
    rounds.tend(coming, settings)
    assert rounds.running
    rounds.rest()
    assert rounds.running is None


def test_what_a_command_runs_is_not_waited_for(runtime: LocalRuntime) -> None:
    with runtime.metadata() as connection, runtime.metadata() as command, runtime.metadata() as watching:
        watching.autocommit = True
        foreground.ensure(connection, capabilities(runtime.version))
        (job,) = connection.execute(CLAIM).fetchone() or (None,)
        connection.commit()
        try:
            assert coming(watching)
            connection.execute("INSERT INTO dqctl.foreground VALUES (%s)", [job])
            connection.commit()
            assert coming(watching)  # of a command that was killed: it will not publish it
            with exclusive.exclusive(command, 60.0):
                assert not coming(watching)
            connection.execute("UPDATE job_executions SET status = 'pending' WHERE id = %s", [job])
            connection.commit()
            assert not coming(watching)  # nobody may ever come for it
        finally:
            connection.execute("DELETE FROM job_executions WHERE id = %s", [job])
            connection.execute("DELETE FROM dqctl.foreground")


def coming(connection: "Connection[Any]") -> bool:
    return Notice(connection, capabilities("5.134.0")).look().coming


@pytest.mark.thorough
def test_a_sidecar_lives_through_an_upgrade_a_rollback_an_uninstall_and_a_purge(
    settings: Settings, runtime: LocalRuntime, copied_stack: Callable[[str], Settings]
) -> None:
    del runtime  # but the workspace is up
    home = copied_stack("5.92.2").home
    run = CommandLine(home, {"DQCTL_WORKSPACE": str(settings.workspace)})
    run("status")
    open_runtime(run.settings, silent)
    one = Sidecar(run)
    try:
        one.settled()
        for command, version in (("upgrade", "5.134.0"), ("rollback", "5.92.2")):
            run(command)
            about = (
                f'dqctl_info{{dqctl_version="{__version__}",runtime="local",stack="default",'
                f'testgen_version="{version}"}}'
            )
            within(lambda about=about: one.number(about) == 1)
            assert one.ready()["role"] == "leader"
            with open_runtime(run.settings, silent).metadata() as connection:
                ended = uuid4()
                connection.execute(FINISH_ANY, [ended])
            within(lambda ended=ended: times_published(settings)[str(ended)] == 1)
            within(lambda: one.ready()["troubles"] == {})
            if command == "upgrade":
                with open_runtime(run.settings, silent).metadata() as connection:
                    connection.execute("DELETE FROM job_executions WHERE id = %s", [ended])

        run("uninstall")
        within(lambda: one.ready()["status"] == 503)
        assert "is not installed" in one.ready()["troubles"]["watch"]
        assert one.number('dqctl_up{stack="default"}') is None
        run("install")
        within(lambda: one.ready()["status"] == 200)
        assert one.ready()["role"] == "leader"
        run("uninstall", "--purge")
        within(lambda: one.ready()["status"] == 503)
        assert not (home / "stacks" / "default").exists()
        said = one.end()
        assert said.code == 0, said
        assert "Traceback" not in said.err
        assert said.err.count("leading stack default") == 2
    finally:
        if one.process.is_running:
            one.process.signal(signal.SIGKILL)
            one.process.end(60)
