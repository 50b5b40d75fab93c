"""State comes back: every table, every row, in every known version; or nothing changes at all."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alert_receivers import web
from command_line import execute as in_workspace
from dqctl.clock import SYSTEM_CLOCK, Deadline
from dqctl.errors import Busy, DatabricksRefused, EnvironmentFault, UsageError
from dqctl.localworkspace import client, control
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault
from dqctl.progress import silent
from dqctl.runtime import Runtime, metadata, open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import alerts, key_transfer, state, state_replaced, state_restore, state_verify
from dqctl.services.alerts import AlertReport, raise_alerts
from dqctl.services.apply import apply
from dqctl.services.install import install
from dqctl.services.uninstall import uninstall
from dqctl.settings import Settings, load
from dqctl.testgen.capabilities import KNOWN
from dqctl.testgen.state import ddl
from stored_state import Picture, add_history, make_odd_table, picture

pytestmark = pytest.mark.local

# What a saved state leaves out, with the reasons in dqctl.testgen.state.saved.
LEFT_OUT = (
    "dqctl.state_",
    "dqctl.foreground",
    "dqctl.rotations",
    "dqctl.alert_receivers",
    "testgen.stg_",
    "testgen.oauth2_a",
    "testgen.oauth2_t",
)
STEPS = ("the schema is made", "the restored database equals", "the restored database is the stack's own")
OWN = 2  # from this step on the restored database counts

KILLED = """
import os, signal, sys
from dqctl.services import state_restore
from dqctl.settings import load
def progress(message):
    if sys.argv[4] in message:
        os.kill(os.getpid(), signal.SIGKILL)
state_restore.restore(load({"home": sys.argv[1], "workspace": sys.argv[2], "state": "auto"}, {}),
                      commit=int(sys.argv[3]), progress=progress)
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("state") / "workspace"
    try:
        control.start(directory)
        yield directory
    finally:
        control.stop(directory)


def with_state(stack: Settings, workspace: Path, schema: str) -> Settings:
    return load({"home": stack.home, "workspace": workspace, "state": "auto", "schema_name": schema}, {})


def opened(settings: Settings) -> LocalRuntime:
    runtime = open_runtime(settings, silent)
    assert isinstance(runtime, LocalRuntime)
    return runtime


def pictured(settings: Settings) -> Picture:
    with opened(settings).metadata() as connection:
        return picture(connection, without=LEFT_OUT)


def execute(settings: Settings, *statements: str) -> None:
    with opened(settings).metadata() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def databases(settings: Settings) -> set[str]:
    with opened(settings).postgres.connect("postgres") as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
    return {str(name) for (name,) in found} - {"postgres"}


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", [each.version for each in KNOWN])
def test_a_restored_database_has_every_row_of_the_saved_one(
    older_stack: Settings, workspace: Path, version: str
) -> None:
    settings = with_state(older_stack, workspace, f"v{version.replace('.', '_')}")
    runtime = opened(settings)
    with runtime.metadata() as connection:
        assert add_history(connection, version) > 90
        make_odd_table(connection)
    base = state.save(settings)
    # All of it: rows that came, went and changed, also such as stand there twice.
    execute(
        settings,
        "UPDATE test_definitions SET threshold_value = '7', lower_tolerance = NULL",
        "DELETE FROM test_results WHERE ctid IN (SELECT ctid FROM test_results LIMIT 5)",
        "UPDATE projects SET project_name = E'new \\n\\\\ name', observability_api_key = 'hush-hush-hush'",
        """DELETE FROM "odd ""things" WHERE ctid = (SELECT max(ctid) FROM "odd ""things")""",
        """INSERT INTO "odd ""things" (a_text, a_jsonb) VALUES ('x', 'null'), ('x', 'null'), ('x', NULL)""",
        "SELECT setval('test_results_result_id_seq', 4711, false)",
    )
    delta = state.save(settings)
    assert (base.kind, delta.kind) == ("base", "delta")
    before, schema = pictured(settings), ddl.read(runtime)
    assert len(before) > 40
    assert sum(map(len, before.values())) > 1500

    done = state_restore.restore(settings)
    assert (done.seq, done.is_newest, done.aside) == (2, True, None)
    after = pictured(settings)
    assert {name for name in before if before[name] != after.get(name)} == set()
    assert after.keys() == before.keys()
    assert ddl.read(opened(settings)) == schema
    assert opened(settings).health().is_good
    assert state.save(settings).kind is None  # it goes on as if nothing had been
    assert databases(settings) == {"datakitchen"}


@pytest.fixture(scope="module")
def shared_stack(copied_stack: Callable[[str], Settings], workspace: Path) -> Settings:
    """A stack with two commits, the second of which is what it has."""
    settings = with_state(copied_stack(KNOWN[0].version), workspace, "killed")
    state.save(settings)
    execute(settings, "UPDATE projects SET project_name = 'second'")
    state.save(settings)
    return settings


@pytest.fixture
def stack(shared_stack: Settings) -> Settings:
    """The same, without what another test has put aside."""
    metadata.drop_database(opened(shared_stack).postgres, state_replaced.REPLACED)
    return shared_stack


@pytest.mark.thorough(but="the restored database equals")
@pytest.mark.parametrize("moment", STEPS)
def test_killed_in_any_moment_the_old_or_the_restored_database_is_whole(
    stack: Settings, workspace: Path, moment: str
) -> None:
    execute(stack, "UPDATE projects SET project_name = 'second'")  # whatever other tests restored and saved
    state.save(stack)
    before = pictured(stack)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.replace('"auto"', '"auto", "schema_name": "killed"'), str(stack.home),
         str(workspace), "1", moment],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # The next command, whichever it is.
    after = pictured(stack)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ({"testgen.projects"} if STEPS.index(moment) >= OWN else set())
    assert databases(stack) == {"datakitchen"} | ({state_replaced.REPLACED} if changed else set())
    state_replaced.clear(opened(stack))  # as every save does
    assert databases(stack) == {"datakitchen"}
    if changed or moment == STEPS[OWN - 1]:
        state_restore.restore(stack)
    assert pictured(stack) == before


def test_after_a_restore_saves_go_on_on_top_of_the_newest_commit(stack: Settings) -> None:
    state_restore.restore(stack)
    state.save(stack)
    start, before = state.status(stack).seq or 0, pictured(stack)
    execute(stack, "UPDATE projects SET project_name = 'later'")
    assert state.save(stack).kind == "delta"
    assert state_verify.verify(stack, deep=True).restored == start + 1
    assert not state_restore.restore(stack, commit=start).is_newest
    assert pictured(stack) == before
    on_top = state.save(stack)
    assert (on_top.kind, on_top.seq) == ("base", start + 2)
    with opened(stack).metadata() as connection:  # and TestGen's own identities go on behind what is there
        connection.execute("INSERT INTO projects (project_code, project_name) VALUES ('NEW', 'new')")
        connection.rollback()
    assert databases(stack) == {"datakitchen"}


def test_what_was_never_saved_is_put_aside_and_only_when_it_is_asked_for(stack: Settings) -> None:
    state_restore.restore(stack)
    execute(stack, "UPDATE projects SET project_name = 'never saved'")
    with pytest.raises(UsageError, match="has what is in no commit: 2 changes") as refused:
        state_restore.restore(stack)
    assert "--replace" in refused.value.hint
    done = state_restore.restore(stack, replace=True)
    assert done.aside == state_replaced.REPLACED
    state.save(stack)  # which takes away what a killed restore has left, and this is none
    with opened(stack).postgres.connect(state_replaced.REPLACED) as connection:
        assert connection.execute("SELECT project_name FROM projects").fetchall() == [("never saved",)]
    assert state_restore.restore(stack).aside is None
    assert databases(stack) == {"datakitchen"}


def test_what_is_saved_while_a_restore_waits_is_not_taken_back(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_restore.restore(stack)
    wait = state_restore.standstill

    @contextlib.contextmanager
    def waited(runtime: Runtime, timeout: float, doing: str) -> Iterator[None]:
        execute(stack, "UPDATE projects SET project_name = 'saved meanwhile'")
        state.save(stack)
        with wait(runtime, timeout, doing):
            yield

    with monkeypatch.context() as patched:
        patched.setattr(state_restore, "standstill", waited)
        with pytest.raises(Busy, match="saved anew"):
            state_restore.restore(stack)
    before = pictured(stack)
    assert state_restore.restore(stack).is_newest
    assert pictured(stack) == before
    assert state.save(stack).kind is None


@pytest.mark.thorough
def test_what_another_program_changes_while_rows_come_back_is_put_aside(stack: Settings) -> None:
    state_restore.restore(stack)
    runtime = opened(stack)

    def change(said: str) -> None:
        if said.startswith("the rows are in"):
            with runtime.metadata() as connection:
                connection.execute("UPDATE projects SET project_name = 'by hand'")

    assert state_restore.restore(stack, progress=change).aside == state_replaced.REPLACED
    state.save(stack)
    with runtime.postgres.connect(state_replaced.REPLACED) as connection:
        assert connection.execute("SELECT project_name FROM projects").fetchall() == [("by hand",)]
    assert state_restore.restore(stack).aside is None


@pytest.mark.thorough
def test_a_commit_by_its_time_and_one_that_is_not_there(stack: Settings) -> None:
    state_restore.restore(stack, commit=1)
    first = state_restore.restore(stack, commit=1)
    at = state_restore.restore(stack, as_of=first.saved_at + timedelta(milliseconds=1))
    assert at.seq == 1
    with pytest.raises(UsageError, match="no commit of"):
        state_restore.restore(stack, as_of=first.saved_at - timedelta(seconds=1))
    with pytest.raises(UsageError, match="no commit 4711"):
        state_restore.restore(stack, commit=4711)
    state.save(stack)


def test_changes_past_the_triggers_are_found(stack: Settings) -> None:
    state_restore.restore(stack)
    state.save(stack)
    execute(stack, "UPDATE projects SET project_name = 'seen'")
    assert state_verify.verify(stack).unsaved == 2
    execute(stack, "SET session_replication_role = replica", "UPDATE projects SET project_name = 'unseen'")
    with pytest.raises(EnvironmentFault, match=r"testgen\.projects has 1 rows, and not those that were saved"):
        state_verify.verify(stack)
    state.save(stack, full=True)
    assert state_verify.verify(stack, deep=True).unsaved == 0
    assert databases(stack) == {"datakitchen"}


@pytest.mark.thorough
def test_a_row_that_is_lost_in_databricks_is_seen_before_it_counts(stack: Settings, workspace: Path) -> None:
    saved = state.save(stack, full=True)
    before = pictured(stack)

    condition = f"commit_id = '{saved.commit_id}' AND relation = 'testgen.variant_codings'"
    in_workspace(stack, f"DELETE FROM main.killed.dq_state_log WHERE {condition}")
    try:
        with pytest.raises(EnvironmentFault, match=r"testgen\.variant_codings has 0 rows, \d+ were saved"):
            state_restore.restore(stack)
        with pytest.raises(EnvironmentFault, match="cannot be restored as it was saved"):
            state_verify.verify(stack, deep=True)
        assert pictured(stack) == before
        assert databases(stack) == {"datakitchen"}
    finally:  # the stack is every test's
        state.save(stack, full=True)
    assert state_verify.verify(stack, deep=True).restored


def test_another_host_needs_the_keys_and_then_has_everything(
    stack: Settings, home: Path, workspace: Path, tmp_path: Path
) -> None:
    state.save(stack)
    before = pictured(stack)
    passphrase, keys = tmp_path / "passphrase", tmp_path / "keys.json"
    passphrase.write_text("correct horse battery\n")
    key_transfer.export_keys(stack, keys, passphrase, progress=silent)
    other = load({"home": home, "workspace": workspace, "state": "auto", "schema_name": "killed"}, {})

    with pytest.raises(UsageError, match="needs the keys it was saved with: there are none here") as refused:
        install(other, progress=silent)
    assert "dqctl credentials import" in refused.value.hint
    assert not (home / "stacks" / "default" / "secrets").exists()

    assert key_transfer.import_keys(other, keys, passphrase, progress=silent).secrets == key_transfer.TRAVELLING
    assert key_transfer.import_keys(other, keys, passphrase, progress=silent).secrets == ()
    with pytest.raises(UsageError, match="is of TestGen"):
        install(other, version="5.92.2", progress=silent)
    done = install(other, progress=silent)
    assert [step for step in done.changed if step.startswith("state of commit")]
    assert pictured(other) == before
    assert install(other, progress=silent).changed == ()
    # Both may not go on: who saves second is told.
    execute(stack, "UPDATE projects SET project_name = 'here'")
    execute(other, "UPDATE projects SET project_name = 'there'")
    state.save(other)
    uninstall(other, purge=True, progress=silent)
    state_restore.restore(stack, replace=True)
    assert any("there" in row for row in pictured(stack)["testgen.projects"])


def test_other_keys_are_refused_and_nothing_is_lost(
    stack: Settings, home: Path, workspace: Path, tmp_path: Path
) -> None:
    other = load({"home": home, "workspace": workspace, "state": "off", "schema_name": "killed"}, {})
    install(other, progress=silent)
    on = other.model_copy(update={"state": "auto"})
    with pytest.raises(UsageError, match="this stack has others"):
        state_restore.restore(on)
    with pytest.raises(UsageError, match="this stack has others"):
        install(on, progress=silent)
    passphrase, keys = tmp_path / "passphrase", tmp_path / "keys.json"
    passphrase.write_text("correct horse battery\n")
    key_transfer.export_keys(stack, keys, passphrase, progress=silent)
    had = {path.name: path.read_bytes() for path in (home / "stacks/default/secrets").iterdir()}
    with pytest.raises(UsageError, match="has keys of its own already") as refused:
        key_transfer.import_keys(on, keys, passphrase, progress=silent)
    assert "uninstall --purge" in refused.value.hint
    assert {path.name: path.read_bytes() for path in (home / "stacks/default/secrets").iterdir()} == had
    assert json.loads(keys.read_text())["head"]["stack"] == "default"
    assert opened(other).health().is_good


def test_without_databricks_a_new_stack_is_not_set_up_beside_its_own_state(home: Path, tmp_path: Path) -> None:
    settings = load({"home": home, "workspace": tmp_path / "none", "state": "auto"}, {})
    with pytest.raises(EnvironmentFault, match="whether this stack has saved state cannot be seen") as fault:
        install(settings, progress=silent)
    assert "DQCTL_STATE=off" in fault.value.hint
    assert not (home / "stacks/default/secrets").exists()


def test_a_state_that_may_not_be_read_is_not_taken_for_none(home: Path, workspace: Path) -> None:
    settings = with_state(load({"home": home}, {}), workspace, "forbidden")
    endpoint = Endpoint.read(workspace)
    assert endpoint
    refusal = "User does not have SELECT on Table 'main.forbidden.dq_state_commits'."
    client.add_fault(
        endpoint,
        Fault(
            Effect.ERROR, matching="dq_state_commits", error_class="INSUFFICIENT_PERMISSIONS", message=refusal,
            sqlstate="42501",
        ),
    )  # fmt: skip
    try:
        with pytest.raises(DatabricksRefused, match="does not have SELECT") as refused:
            install(settings, progress=silent)
    finally:
        client.clear_faults(endpoint)
    assert "GRANT SELECT" in refused.value.hint
    assert not (home / "stacks/default/secrets").exists()


def test_users_and_settings_of_a_project_are_data(fresh_stack: Settings) -> None:
    server = opened(fresh_stack).postgres
    assert not metadata.has_data(server)
    for change, undo in (
        (
            "INSERT INTO auth_users (id, username) VALUES (gen_random_uuid(), 'second')",
            "DELETE FROM auth_users WHERE username = 'second'",
        ),
        ("UPDATE projects SET project_name = 'Ours'", "UPDATE projects SET project_name = 'Demo'"),
        (
            "UPDATE projects SET observability_api_url = 'https://observe'",
            "UPDATE projects SET observability_api_url = NULL",
        ),
        (
            "UPDATE projects SET data_retention_days = 30",
            "UPDATE projects SET data_retention_days = 180",
        ),
    ):
        execute(fresh_stack, change)
        assert metadata.has_data(server), change
        execute(fresh_stack, undo)
        assert not metadata.has_data(server), undo


ALERTS = """
version: 1
alerts:
  routes:
    - name: chat
      apprise: {env: HOOK}
      resolved: true
  rules:
    - {name: broken, when: run_failed}
    - {name: late, when: run_late, every: 400d}
"""
_GROUP = "11111111-1111-4111-8111-111111111111"
_RUN = (
    "INSERT INTO job_executions (project_code, job_key, source, status, kwargs, started_at, completed_at)"
    f" SELECT project_code, 'run-profile', 'cli', '%s', '{{\"table_group_id\": \"{_GROUP}\"}}', now(), now()"
    " FROM projects LIMIT 1"
)


def test_what_was_said_of_alerts_comes_back_so_that_nobody_is_told_again_and_the_end_is_told(
    fresh_stack: Settings, workspace: Path, tmp_path: Path
) -> None:
    settings = with_state(fresh_stack, workspace, "alerts")
    file = tmp_path / "alerts.yaml"
    file.write_text(ALERTS)

    def look(days: int = 0) -> AlertReport:
        clock = replace(SYSTEM_CLOCK, now=lambda: datetime.now(UTC) + timedelta(days=days))
        return raise_alerts(settings, opened(settings), clock=clock)

    with web() as chat:
        hook = f"json://127.0.0.1:{chat.port}/a-token-of-the-hook-4711"
        apply(opened(settings), file, access=None, environment={"HOOK": hook}, deadline=Deadline(300))
        execute(
            settings,
            "INSERT INTO table_groups (id, project_code, table_groups_name)"
            f" SELECT '{_GROUP}', project_code, 'orders' FROM projects LIMIT 1",
            _RUN % "error",
        )
        said = look()
        assert (said.firing, len(said.sent), said.errors) == (1, 1, ())
        state.save(settings)

        state_restore.restore(settings)
        (restored,) = alerts.overview(settings).firing
        assert restored.told == ("chat",)
        again = look()
        assert (again.firing, again.began, again.sent, again.errors) == (1, (), (), ())
        assert len(chat.posted) == 1

        execute(settings, _RUN % "completed")
        assert len(look().resolved) == 1
        assert look(days=2).sent
        assert [each["title"].rpartition(": ")[2] for each in chat.posted] == ["1 run broke", "1 good again"]
