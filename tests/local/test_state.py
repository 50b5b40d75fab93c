"""Saving the state: complete, cheap, whatever happens to the tables meanwhile, and never over somebody else's."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqctl.errors import Busy, DqctlError, NotPublished
from dqctl.localworkspace import client, control
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import backup, backup_restore, state, state_commits
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.testgen.state import capture, rows, saved
from publishing import running
from state_keeping import Saving

pytestmark = pytest.mark.local

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running(tmp_path_factory.mktemp("state") / "workspace") as directory:
        yield directory


@pytest.fixture(scope="module")
def shared(installed_stack: Settings, workspace: Path) -> Saving:
    """The module's stack, saved for the first time."""
    one = Saving.of(installed_stack, workspace, "state")
    assert one.save().kind == "base"
    return one


@pytest.fixture
def saving(shared: Saving) -> Saving:
    """The module's stack with nothing to save, and the newest commit its own."""
    in_step = state.status(shared.settings, remote=True).in_step
    shared.save(take_over=not in_step)
    return shared


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["5.33.3"])  # all versions come back: see test_state_restore
def test_older_versions_are_saved_whole_and_then_only_what_changed(
    older_stack: Settings, workspace: Path, version: str
) -> None:
    one = Saving.of(older_stack, workspace, f"versions_{version.replace('.', '_')}")
    first = one.save()
    assert (first.kind, first.seq) == ("base", 1)
    one.assert_whole()
    assert one.save().kind is None
    assert one.statements == []
    one.add_suite("one")
    one.execute("UPDATE testgen.projects SET project_name = E'Größe \"x\", \\'(1)\\'\\n'")
    second = one.save()
    assert (second.kind, second.seq, second.rows) == ("delta", 2, 3)
    assert len(one.statements) == 2
    one.assert_whole()
    (base, commit) = one.commits()
    assert base["testgen_version"] == commit["testgen_version"] == version
    assert set(json.loads(base["ddl"])) == {"before", "after"}
    assert "CREATE TABLE testgen.projects" in json.loads(base["ddl"])["before"]


def test_what_came_and_went_again_is_no_change_and_costs_nothing(saving: Saving) -> None:
    saving.add_suite("brief")
    saving.execute("DELETE FROM testgen.test_suites WHERE test_suite = 'brief'")
    with saving.runtime.metadata() as connection:
        connection.execute("DELETE FROM testgen.settings")
        connection.execute("UPDATE testgen.projects SET project_name = 'never'")
        connection.rollback()
    assert saving.save().kind is None
    assert saving.statements == []
    saving.assert_whole()


def test_cascades_empty_updates_and_columns_that_go_meanwhile_leave_the_log_whole(saving: Saving) -> None:
    saving.add_suite("cascade")
    saving.execute(
        "INSERT INTO testgen.job_executions (id, job_key, source, project_code, status)"
        " VALUES ('00000000-0000-4000-8000-000000000001', 'run-tests', 'cli', 'DEFAULT', 'completed')",
        "INSERT INTO testgen.test_runs (id, test_suite_id) SELECT '00000000-0000-4000-8000-000000000001', id"
        " FROM testgen.test_suites WHERE test_suite = 'cascade'",
    )
    assert saving.save().kind == "delta"
    saving.execute("DELETE FROM testgen.job_executions")
    saving.execute("UPDATE testgen.test_types SET test_name_short = test_name_short")
    assert saving.save().rows == 2  # the job and its run: an update that changes nothing is no change
    saving.assert_whole()
    saving.execute("ALTER TABLE testgen.projects ADD COLUMN passing int")
    saving.execute("UPDATE testgen.projects SET passing = 1")
    saving.execute("ALTER TABLE testgen.projects DROP COLUMN passing")
    saving.execute("UPDATE testgen.projects SET project_name = 'after'")
    with pytest.raises(AssertionError):
        saving.assert_whole()  # it does look
    saving.save()
    saving.assert_whole()


def test_a_rows_text_does_not_depend_on_the_session_that_changes_it(saving: Saving) -> None:
    settings = (
        "SET timezone = 'Asia/Tokyo'", "SET datestyle = 'German'", "SET bytea_output = 'escape'",
        "SET extra_float_digits = -10", "SET intervalstyle = 'iso_8601'", "SET search_path = public",
    )  # fmt: skip
    saving.execute(
        "CREATE TABLE testgen.every (f float8, r real, t timestamptz, u timestamp, d date, b bytea, n numeric,"
        " i interval, j json, k jsonb, a varchar[], o text)",
    )
    saving.save()
    row = (
        "0.1::float8 + 0.2, 1e-7::real, '2026-03-29 01:30:00.123456+05:30', 'infinity', '0044-03-15 BC',"
        r""" '\x00ff5c27', 'NaN', '1 day 02:03:04.5', '{"a": 1,  "a":2}', 'null', '[0:1]={NULL,"x"}',"""
        r" E'\t\x01\\'"
    )
    saving.execute(*settings, f"INSERT INTO testgen.every VALUES ({row})")
    assert saving.save().kind == "delta"
    (found,) = [each for each in saving.log() if each["relation"] == "testgen.every"]
    assert json.loads(found["row"]) == {
        "f": "0.30000000000000004", "r": "1e-07", "t": "2026-03-28 20:00:00.123456+00", "u": "infinity",
        "d": "0044-03-15 BC", "b": "\\x00ff5c27", "n": "NaN", "i": "1 day 02:03:04.5", "j": '{"a": 1,  "a":2}',
        "k": "null", "a": '[0:1]={NULL,x}', "o": "\t\x01\\",
    }  # fmt: skip
    # The same row, gone in a session of another kind: the log adds up to nothing.
    saving.execute("SET datestyle = 'SQL, DMY'", "SET bytea_output = 'hex'", "DELETE FROM testgen.every")
    saving.save()
    saving.assert_whole()
    saving.execute("DROP TABLE testgen.every")
    assert saving.save().kind == "base"
    saving.assert_whole()


MISHAPS = {
    "a column by hand": (
        ["ALTER TABLE testgen.projects ADD COLUMN mine text"],
        ["ALTER TABLE testgen.projects DROP COLUMN mine"],
        "shape",
    ),
    "a table emptied": (["TRUNCATE testgen.variant_codings"], [], "TRUNCATE"),
    "a trigger gone": (["DROP TRIGGER dqctl_state_update ON testgen.projects"], [], "not written down"),
    "triggers off": (["ALTER TABLE testgen.projects DISABLE TRIGGER ALL"], [], "not written down"),
    "a new table": (["CREATE TABLE testgen.mine (id int)"], ["DROP TABLE testgen.mine"], "shape"),
}


@pytest.mark.thorough(but="a trigger gone")
@pytest.mark.parametrize("mishap", MISHAPS)
def test_what_changes_cannot_tell_is_found_and_everything_saved(saving: Saving, mishap: str) -> None:
    statements, undo, because = MISHAPS[mishap]
    saving.execute(*statements)
    saving.execute("UPDATE testgen.projects SET project_name = md5(random()::text)")
    done = saving.save()
    assert done.kind == "base"
    assert because in (done.because or "")
    saving.assert_whole()
    saving.execute("UPDATE testgen.projects SET project_name = 'and on'")
    assert saving.save().kind == "delta"  # triggers are whole again
    saving.execute(*undo)


def test_another_target_gets_everything_though_nothing_changed(saving: Saving, workspace: Path) -> None:
    start = saving.newest
    elsewhere = Saving.of(saving.settings, workspace, "elsewhere")
    done = elsewhere.save()
    assert (done.kind, done.seq, done.because) == ("base", 1, "it was saved elsewhere before")
    elsewhere.assert_whole()
    assert elsewhere.save().kind is None
    # And back: what is there is not what this database comes from any more.
    assert (state.status(saving.settings).next_is_base or "").startswith("it was saved elsewhere")
    with pytest.raises(Busy):
        saving.save()
    assert saving.save(take_over=True).seq == start + 1


@pytest.mark.thorough
def test_deltas_that_have_outgrown_their_base_are_followed_by_another(
    saving: Saving, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = saving.save(full=True)
    monkeypatch.setattr(state_commits, "_MANY_DELTAS", 2)
    for name in ("one", "two"):
        saving.add_suite(name)
        assert saving.save().kind == "delta"
    assert saving.save().kind is None  # a base, too, is made of something that changed
    saving.add_suite("three")
    outgrown = saving.save()
    assert (outgrown.kind, outgrown.seq) == ("base", (base.seq or 0) + 3)
    assert "outgrew" in (outgrown.because or "")
    saving.assert_whole()
    monkeypatch.undo()
    monkeypatch.setattr(state_commits, "_FEW_ROWS", 0)
    rows_there = outgrown.rows
    saving.execute(
        "INSERT INTO testgen.settings (key, value)"
        f" SELECT 'n' || n, 'null'::jsonb FROM generate_series(1, {rows_there + 1}) n"
    )
    assert saving.save().kind == "delta"  # as many rows as there are now, or nearly
    saving.execute("DELETE FROM testgen.settings WHERE key LIKE 'n%'")
    assert saving.save().kind == "delta"
    saving.add_suite("four")
    assert saving.save().kind == "base"
    saving.assert_whole()


@pytest.mark.thorough
def test_rows_of_killed_saves_go_with_the_next_base_and_those_of_saves_under_way_stay(
    saving: Saving, kill_at: Callable[[str, str], int]
) -> None:
    def strangers() -> set[str]:
        return {each["commit_id"] for each in saving.log()} - {each["commit_id"] for each in saving.commits()}

    earlier = strangers()
    saving.add_suite("of a killed save")
    assert kill_at("MERGE", "delta") == -signal.SIGKILL
    assert len(strangers() - earlier) == 1
    # Another controller's, which may still become the commit after the next.
    later = "INSERT INTO {{}}.dq_state_log VALUES ('{}', 'under way', {}, 'testgen.projects', 1, '{{{{}}}}', 'd')"
    with_warehouse(saving, later.format(saving.settings.stack, saving.newest + 2))
    try:
        assert saving.save(full=True).kind == "base"
        assert strangers() - earlier == {"under way"}
        saving.assert_whole()
    finally:
        with_warehouse(saving, "DELETE FROM {}.dq_state_log WHERE commit_id = 'under way'")


def test_secrets_are_nowhere_in_what_is_saved(saving: Saving) -> None:
    saving.execute("UPDATE testgen.projects SET observability_api_key = 'observe-me-4711'")
    with saving.runtime.metadata() as connection:
        (hashed,) = connection.execute("SELECT password FROM auth_users").fetchone() or ("",)
    saving.save()
    everything = json.dumps(saving.log()) + json.dumps(saving.commits(), default=str)
    assert "dqctl-sealed:1:" in everything
    for secret in ("observe-me-4711", str(hashed), *_secret_files(saving.runtime.paths)):
        assert secret not in everything
    saving.assert_whole()


def _secret_files(paths: StackPaths) -> list[str]:
    names = ("postgres_password", "testgen_password", "decrypt_salt", "decrypt_password", "jwt_key")
    return [(paths.secrets / name).read_text(encoding="ascii").strip() for name in names]


def test_thousands_of_rows_go_by_one_load_in_four_statements(saving: Saving) -> None:
    saving.execute(
        "INSERT INTO testgen.settings (key, value) SELECT 'n' || n, to_jsonb(repeat(md5(n::text), 20))"
        " FROM generate_series(1, 3000) n"
    )
    assert saving.save().rows == 3000
    assert [each.split()[0] for each in saving.statements] == ["PUT", "INSERT", "REMOVE", "MERGE"]
    saving.assert_whole()
    saving.execute("DELETE FROM testgen.settings WHERE key LIKE 'n%'")
    saving.save()
    saving.assert_whole()


# -- two controllers ---------------------------------------------------------------------------------------------


@pytest.fixture
def other(saving: Saving, home: Path) -> Saving:
    """The same stack on another machine: its database was copied when it was saved last."""
    settings = saving.settings
    runtime = saving.runtime
    assert isinstance(runtime, LocalRuntime)
    runtime.down()
    source, there = StackPaths(settings.home, settings.stack), StackPaths(home, settings.stack)
    # With owners, which shutil.copytree does not keep.
    subprocess.run(["cp", "-a", f"{source.root}/.", str(_made(there.root))], check=True)  # noqa: S607 - any cp
    saving.runtime = open_runtime(settings, silent)
    return Saving.of(settings.model_copy(update={"home": home}), _given(settings), settings.schema_name)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    for each in (directory, directory.parent):
        each.chmod(0o711)
    return directory


def _given(settings: Settings) -> Path:
    assert settings.workspace
    return settings.workspace


def test_two_controllers_cannot_overwrite_each_other(saving: Saving, other: Saving) -> None:
    start = saving.newest
    racers = (saving, other)
    for one, name in zip(racers, ("mine", "yours"), strict=True):
        one.add_suite(name)
    winner, loser = _race(racers, take_over=False)
    assert winner.newest == start + 1
    winner.assert_whole()
    with pytest.raises(Busy) as refused:
        loser.save()
    assert len(loser.statements) == 1  # a look
    assert "dqctl state restore" in refused.value.hint
    assert "--take-over" in refused.value.hint
    assert f"a test (commit {start + 1})" in refused.value.message
    assert state.status(loser.settings, remote=True).in_step is False
    taken = loser.save(take_over=True)
    assert (taken.kind, taken.seq) == ("base", start + 2)
    loser.assert_whole()
    winner.add_suite("mine again")
    with pytest.raises(Busy):
        winner.save()
    loser.assert_whole()
    assert loser.save().kind is None
    winner, loser = _race(racers, take_over=True)
    assert winner.newest == start + 3
    winner.assert_whole()
    loser.save(take_over=True)
    loser.assert_whole()


def _race(racers: tuple[Saving, Saving], *, take_over: bool) -> tuple[Saving, Saving]:
    """Both make their commits visible in the same moment: who did it, and who was refused."""
    both = threading.Barrier(2)
    came: dict[int, object] = {}

    def meet(_: int, text: str) -> None:
        if text.startswith("MERGE"):
            both.wait(60)

    def run(number: int) -> None:
        try:
            came[number] = racers[number].save(meet, take_over=take_over).kind
        except DqctlError as error:
            came[number] = type(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert Busy in came.values(), came
    assert {"base", "delta"} & set(map(str, came.values())), came
    refused = next(number for number, outcome in came.items() if outcome is Busy)
    return racers[1 - refused], racers[refused]


def test_a_database_that_was_made_anew_overwrites_nothing(saving: Saving) -> None:
    start = saving.newest
    saving.execute("DROP SCHEMA dqctl CASCADE")
    with pytest.raises(Busy, match="that this database does not come from"):
        saving.save()
    assert saving.newest == start
    assert saving.save(take_over=True).seq == start + 1
    saving.assert_whole()


# -- killed, cut off, refused ------------------------------------------------------------------------------------

# Waits for "MOMENT|KIND", and forks a process that saves until it kills itself at the moment: imports are done.
VICTIMS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dqctl.settings import load
from state_keeping import Saving

for line in sys.stdin:
    moment, kind = line.strip().split("|")

    def die(said):
        if said.startswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    if not (child := os.fork()):
        one = Saving.of(load({"home": Path(sys.argv[2])}, {}), Path(sys.argv[3]), sys.argv[4])
        one.save(lambda _, text: die(text), full=kind == "base", progress=die)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# What is said and what is sent, in its order: as many moments to be killed in.
MOMENTS = {
    "delta": ("saving the state", "INSERT", "MERGE", "the state is visible"),
    "base": ("saving the state whole", "PUT", "MERGE", "the state is visible"),
}


@pytest.fixture(scope="module")
def kill_at(shared: Saving) -> Iterator[Callable[[str, str], int]]:
    """Saves in a process that kills itself; its exit code."""
    settings = shared.settings
    victims = subprocess.Popen(
        [
            sys.executable, "-c", VICTIMS, str(TESTS), str(settings.home), str(_given(settings)),
            settings.schema_name,
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def kill(moment: str, kind: str) -> int:
        assert victims.stdin
        assert victims.stdout
        victims.stdin.write(f"{moment}|{kind}\n")
        victims.stdin.flush()
        return int(victims.stdout.readline())

    yield kill
    victims.communicate(timeout=60)


@pytest.mark.thorough(but="delta-MERGE")
@pytest.mark.parametrize(("kind", "moment"), [(kind, moment) for kind in MOMENTS for moment in MOMENTS[kind]])
def test_killed_in_any_moment_nothing_is_lost_and_nothing_twice(
    saving: Saving, kill_at: Callable[[str, str], int], kind: str, moment: str
) -> None:
    start = saving.newest
    saving.add_suite("before")
    assert kill_at(moment, kind) == -signal.SIGKILL
    made = saving.newest - start
    assert made == (moment == "the state is visible")
    assert state.status(saving.settings).interrupted
    saving.add_suite("after")
    done = saving.save()
    assert (done.kind, done.seq) == (kind, start + made + 1)
    saving.assert_whole()
    assert saving.save().kind is None


@pytest.mark.thorough
@pytest.mark.parametrize("kind", list(MOMENTS))
def test_what_a_killed_save_made_is_its_own_also_when_the_next_one_is_killed(
    saving: Saving, kill_at: Callable[[str, str], int], kind: str
) -> None:
    start = saving.newest
    saving.add_suite("twice")
    assert kill_at("the state is visible", kind) == -signal.SIGKILL
    assert kill_at("PUT", "base") == -signal.SIGKILL
    assert saving.newest == start + 1
    assert saving.save().seq == start + 2
    saving.assert_whole()


def test_a_table_that_another_program_locks_is_no_server_that_went_away(
    saving: Saving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_LOCK_TIMEOUT", "100ms")
    saving.execute("DROP TRIGGER dqctl_state_insert ON testgen.projects")
    with saving.runtime.metadata() as connection:
        connection.execute("LOCK TABLE testgen.projects IN ROW EXCLUSIVE MODE")
        with pytest.raises(Busy, match="locked"):
            saving.save()
    assert saving.save().kind == "base"
    saving.assert_whole()


@pytest.mark.thorough(but="MERGE")
@pytest.mark.parametrize("lost", ["INSERT", "MERGE", "SELECT"])
def test_answers_that_are_lost_and_writers_that_are_met_change_nothing(
    saving: Saving, workspace: Path, lost: str
) -> None:
    endpoint = Endpoint.read(workspace)
    assert endpoint
    start = saving.newest
    saving.add_suite("one")
    for fault in (
        Fault(Effect.LOST, matching=f"^{lost} .*state"),
        Fault(Effect.ERROR, matching=f"^{lost} .*state", skip=1),
    ):
        client.add_fault(endpoint, fault)
    try:
        assert saving.save(full=lost == "SELECT").seq == start + 1
    finally:
        client.clear_faults(endpoint)
    saving.assert_whole()


def test_a_commit_whose_rows_are_not_all_there_does_not_become_visible(saving: Saving) -> None:
    def spoil(_: int, text: str) -> None:
        if text.startswith("MERGE"):
            spoiled = f"DELETE FROM {{}}.dq_state_log WHERE seq = {start + 1} AND relation = 'testgen.projects'"
            with_warehouse(saving, spoiled)

    start = saving.newest
    saving.add_suite("one")
    saving.execute("UPDATE testgen.projects SET project_name = md5(random()::text)")
    with pytest.raises(NotPublished, match="did not arrive whole"):
        saving.save(spoil)
    assert saving.newest == start
    assert saving.save().seq == start + 1
    saving.assert_whole()


def test_tables_that_were_dropped_are_made_and_everything_is_saved_anew(saving: Saving) -> None:
    for table in ("dq_state_log", "dq_state_commits"):
        with_warehouse(saving, f"DROP TABLE {{}}.{table}")
    saving.add_suite("one")
    done = saving.save()
    saving.forget_places()
    assert (done.kind, done.seq, done.because) == ("base", 1, "what was saved before is not there")
    saving.assert_whole()


def with_warehouse(one: Saving, statement: str) -> None:
    from command_line import execute

    execute(one.settings, statement.format(f"`main`.`{one.settings.schema_name}`"))


def test_a_workspace_that_is_away_keeps_nothing_from_being_done_and_the_next_save_has_it(
    saving: Saving, workspace: Path
) -> None:
    start = saving.newest
    control.stop(workspace)
    try:
        saving.add_suite("while it is away")
        error = state.save_after(saving.settings, saving.runtime, "apply")
        assert isinstance(error, NotPublished)
        assert "safe in TestGen's database" in error.hint
        found = state.status(saving.settings)
        assert (found.seq, found.unsaved, found.is_captured, found.interrupted) == (start, 1, True, False)
    finally:
        control.start(workspace)
    saving.add_suite("back again")
    assert saving.save().rows == 2
    saving.assert_whole()


def test_turned_off_nothing_is_written_down_and_turned_on_everything_is_saved(saving: Saving) -> None:
    off = saving.settings.model_copy(update={"state": "off"})
    assert state.save_after(off, saving.runtime, "apply") is None
    saving.add_suite("that nobody saves")
    with saving.runtime.metadata() as connection:
        assert connection.execute("SELECT count(*) FROM dqctl.state_changes").fetchone() == (0,)
    assert saving.save().kind == "base"
    saving.assert_whole()


@pytest.mark.thorough(but="True")
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_restored_backup_becomes_the_newest_commit(
    saving: Saving, is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = backup.create(saving.runtime, "a test")
    saving.add_suite("of after the backup")
    saving.save()
    if is_killed:  # between the change of names and the save
        monkeypatch.setattr(backup_restore, "_save_state", lambda *_: None)
    assert backup_restore.restore(saving.settings, kept.id).unsaved is None
    if is_killed:
        assert saving.save().kind == "base"
    saving.assert_whole()
    assert "of after the backup" not in str(saving.database())


def test_checksums_of_the_head_are_those_of_the_tables(saving: Saving) -> None:
    saving.add_suite("one")
    saving.execute(
        "DELETE FROM testgen.variant_codings WHERE ctid IN (SELECT ctid FROM testgen.variant_codings LIMIT 3)"
    )
    saving.save()
    with saving.runtime.metadata() as connection:
        there = rows.contents(connection, saved.relations(connection))
    said = json.loads(saving.commits()[-1]["tables"])
    assert {name: tuple(value) for name, value in said.items()} == there
