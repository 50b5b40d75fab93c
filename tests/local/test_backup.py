"""Backups of a stack's metadata: equal row by row, trusted for nothing but that, and whole whatever is killed."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from command_line import CommandLine, run_program
from corpora import VERSIONS
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime import Runtime, find_runtime, metadata, open_runtime
from dqctl.services import backup, backup_restore, backups
from dqctl.services.doctor.stack import backup as newest_backup
from dqctl.services.doctor.subject import Subject
from dqctl.services.status import status
from dqctl.settings import Settings, load
from dqctl.stack import backups as kept
from dqctl.testgen import jobs
from stored_state import Picture, add_history, make_odd_table, picture

pytestmark = pytest.mark.local
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")

# Changes when a process is killed; printed, so that a failure can be repeated.
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))
OWN = ["datakitchen", "postgres", "template0", "template1"]
SWAP = "takes its place"


def seen(runtime: Runtime) -> Picture:
    with runtime.metadata() as connection:
        return picture(connection)


def databases(runtime: Runtime) -> list[str]:
    with runtime.postgres.connect("postgres") as connection:
        return sorted(str(name) for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall())


def fill(runtime: Runtime) -> None:
    with runtime.metadata() as connection:
        make_odd_table(connection)
        assert add_history(connection, runtime.version) > 30


def spoil(runtime: Runtime) -> None:
    with runtime.metadata() as connection:
        connection.execute("DELETE FROM test_results")
        connection.execute(
            "UPDATE test_types SET test_name_short = 'other' WHERE id = (SELECT min(id) FROM test_types)"
        )
        connection.execute('ALTER TABLE "odd ""things" ADD COLUMN another int DEFAULT 7')
        connection.execute("CREATE TABLE too_many (id int)")


def assert_nothing_is_left(runtime: Runtime) -> None:
    assert databases(runtime) == OWN
    assert not [
        path.name for path in runtime.paths.root.rglob("*") if path.name.startswith((".making", "aside.json"))
    ]
    assert list(runtime.paths.work.iterdir()) == []


def rights(runtime: Runtime) -> list[tuple[object, ...]]:
    with runtime.metadata() as connection:
        return connection.execute(
            "SELECT c.relname, c.relacl::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'testgen' ORDER BY 1"
        ).fetchall()


@pytest.fixture(scope="module")
def filled(installed_stack: Settings) -> Settings:
    """A stack with a history and values that are hard to carry."""
    fill(open_runtime(installed_stack, silent))
    return installed_stack


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_backup_comes_back_row_by_row_in_every_version(older_stack: Settings) -> None:
    runtime = open_runtime(older_stack, silent)
    fill(runtime)
    before, granted = seen(runtime), rights(runtime)
    made = backups.create(older_stack)
    spoil(runtime)
    assert seen(runtime) != before
    restored = backup_restore.restore(older_stack, made.backup.id)
    assert seen(runtime) == before
    assert rights(runtime) == granted
    assert (restored.id, restored.rows) == (
        made.backup.id,
        sum(len(rows) for rows in before.values()) - ids(before),
    )
    assert_nothing_is_left(runtime)


def ids(found: Picture) -> int:
    """Sequences, which a picture has among its tables."""
    return sum(name.endswith("_seq") for name in found)


def test_a_backup_is_of_one_moment_while_others_write(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    over = threading.Event()

    def write() -> None:
        columns = "n int, id bigint GENERATED ALWAYS AS IDENTITY"
        with runtime.metadata() as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS testgen.pairs_a ({columns})".encode())
            connection.execute(f"CREATE TABLE IF NOT EXISTS testgen.pairs_b ({columns})".encode())
            connection.commit()
            number = 0
            while not over.is_set():
                number += 1
                for table in ("pairs_a", "pairs_b"):
                    connection.execute(f"INSERT INTO testgen.{table} VALUES (%s)".encode(), [number])
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup.create(runtime, "test") for _ in range(3)]
    finally:
        over.set()
        writer.join()
    counts = [each.manifest.tables.get("testgen.pairs_b", (0, 0)) for each in made]
    assert counts[0] != counts[2]
    for each in made:
        assert each.manifest.tables.get("testgen.pairs_a") == each.manifest.tables.get("testgen.pairs_b")
    assert backup.verify(runtime, made[-1]).rows == made[-1].manifest.rows


def test_a_database_that_the_server_is_still_making_for_a_killed_command_is_not_left(filled: Settings) -> None:
    server, name = open_runtime(filled, silent).postgres, "datakitchen_next_making"
    ended: list[BaseException] = []

    def make() -> None:
        try:
            with server.connect("postgres", autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        except EnvironmentFault as fault:
            ended.append(fault)

    maker = threading.Thread(target=make)
    dropper = threading.Thread(target=metadata.drop_database, args=(server, name))
    with server.connect("postgres") as slow:
        slow.execute("LOCK TABLE pg_database IN SHARE ROW EXCLUSIVE MODE")
        maker.start()
        wait_for(slow, "query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock'")
        dropper.start()
        wait_for(slow, "query LIKE 'DROP DATABASE%' AND wait_event_type = 'Lock'")
    maker.join(60)
    dropper.join(60)
    assert len(ended) == 1
    assert name not in databases(open_runtime(filled, silent))


def wait_for(connection: "psycopg.Connection[tuple[object, ...]]", what: str) -> None:
    end = time.monotonic() + 60
    while not connection.execute(f"SELECT 1 FROM pg_stat_activity WHERE {what}".encode()).fetchone():
        assert time.monotonic() < end, what
        connection.execute("SELECT pg_stat_clear_snapshot()")
        time.sleep(0.05)


def test_a_database_that_is_there_again_meanwhile_is_said(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    metadata.create_database(runtime.postgres, "datakitchen_restored")
    with pytest.raises(Busy, match="another command"):
        metadata.rename_databases(runtime.postgres, [("datakitchen_restored", metadata.DATABASE)])
    metadata.drop_database(runtime.postgres, "datakitchen_restored")


@pytest.mark.thorough(but="a byte")
@pytest.mark.parametrize("damage", ["a byte", "the end", "all of it", "a byte and its checksum", "a count"])
def test_a_dump_that_is_not_what_was_made_is_refused_and_nothing_is_changed(filled: Settings, damage: str) -> None:
    runtime = open_runtime(filled, silent)
    made = backup.create(runtime, "test")
    before = seen(runtime)
    content = bytearray(made.dump.read_bytes())
    content[len(content) // 2] ^= 0xFF
    if damage == "the end":
        content = content[:-100]
    if damage == "a count":
        rows, checksum = made.manifest.tables["testgen.test_types"]
        made = kept.change(made, tables=made.manifest.tables | {"testgen.test_types": (rows + 1, checksum)})
    elif damage == "all of it":
        made.dump.unlink()
    else:
        made.dump.write_bytes(content)
    if damage == "a byte and its checksum":
        made = kept.change(made, sha256=kept.sha256(made.dump))
    with pytest.raises(
        EnvironmentFault, match=made.id if damage != "a byte and its checksum" else "pg_restore|not what"
    ):
        backup.verify(runtime, made)
    with pytest.raises(EnvironmentFault):
        backup_restore.restore(filled, made.id)
    assert kept.find(runtime.paths, made.id).manifest.verified is None
    assert seen(runtime) == before
    assert_nothing_is_left(runtime)
    kept.delete(made)


_COMMAND = """
import os, signal, sys, threading
from dqctl.services import backup_restore, backups
from dqctl.settings import load

home, command, wanted, moment, seconds = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def progress(message):
    if moment in message:
        die() if float(seconds) == 0 else threading.Timer(float(seconds), die).start()

settings = load({"home": home}, {})
if command == "create":
    backups.create(settings, progress=progress)
else:
    backup_restore.restore(settings, wanted, progress=progress)
"""


@pytest.mark.thorough
def test_killed_at_any_moment_the_stack_has_the_old_metadata_or_the_restored_one(fresh_stack: Settings) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    runtime = open_runtime(fresh_stack, silent)
    fill(runtime)
    restored = seen(runtime)
    made = backup.create(runtime, "test")
    spoil(runtime)
    old = seen(runtime)
    moments = [
        ("create", "backing up", chance.uniform(0.05, 0.3)),
        ("create", "comparing", 0.0),
        ("restore", "restoring", chance.uniform(0.1, 0.6)),
        ("restore", "backing up", chance.uniform(0.05, 0.3)),
        ("restore", SWAP, 0.0),
        ("restore", SWAP, chance.uniform(0.0, 0.1)),
    ]
    for command, moment, seconds in moments:
        done = run_program(_COMMAND, fresh_stack.home, command, made.id, moment, seconds)
        assert done.code == -signal.SIGKILL or (seconds and done.code == 0), (moment, done.err)
        found = seen(open_runtime(fresh_stack, silent))
        assert found in (old, restored), (moment, seconds)
        if moment != SWAP:
            assert found == old, moment
        assert databases(runtime) == OWN, (moment, seconds)
        for each in kept.listed(runtime.paths):
            assert kept.sha256(each.dump) == each.manifest.sha256
    backup_restore.restore(fresh_stack, made.id)
    assert seen(runtime) == restored
    assert_nothing_is_left(runtime)


@contextmanager
def mounted(place: Path, size: str) -> Iterator[None]:
    place.mkdir(exist_ok=True, mode=0o700)
    argv = ["/bin/mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "-l", str(place)], check=True)


@needs_root
def test_a_disk_that_fills_up_under_a_dump_is_said_and_leaves_nothing(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    for path in kept.listed(runtime.paths):
        kept.delete(path)
    with mounted(runtime.paths.backups, "64k"):
        with pytest.raises(EnvironmentFault, match=r"disk is full|No space left") as raised:
            backup.create(runtime, "test")
        assert list(runtime.paths.backups.iterdir()) == []
    assert "free some space" in raised.value.hint
    backup.verify(runtime, backup.create(runtime, "test"))


def test_what_a_restore_replaced_is_no_further_away_than_one_command(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    made = backup.create(runtime, "test")
    with runtime.metadata() as connection:
        connection.execute("INSERT INTO projects (project_code, project_name) VALUES ('LATER', 'made since')")
    later = seen(runtime)
    restored = backup_restore.restore(filled, made.id)
    assert restored.before
    assert seen(runtime) != later
    backup_restore.restore(filled, restored.before)
    assert seen(runtime) == later
    with runtime.metadata() as connection:
        connection.execute("DELETE FROM projects WHERE project_code = 'LATER'")


def test_a_restore_waits_for_nobody_unless_told_and_says_who_works(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    made = backup.create(runtime, "test")
    before = seen(runtime)
    with (
        runtime.metadata() as connection,
        jobs.exclusive(connection, 0, "dqctl run-tests --all"),
        pytest.raises(Busy, match="run-tests --all"),
    ):
        backup_restore.restore(filled, made.id)
    assert seen(runtime) == before
    assert_nothing_is_left(runtime)


def test_a_restore_ends_sessions_of_others_rather_than_failing(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    made = backup.create(runtime, "test")
    idle = runtime.metadata()
    idle.execute("SELECT 1")
    backup_restore.restore(filled, made.id)
    with pytest.raises(psycopg.OperationalError):
        idle.execute("SELECT 1")
    assert_nothing_is_left(runtime)


@pytest.mark.parametrize(("revision", "way"), [(1, "rollback --to-backup"), (10**6, "dqctl upgrade --to")])
def test_a_backup_of_another_version_is_refused_and_the_way_is_named(
    filled: Settings, revision: int, way: str
) -> None:
    made = backup.create(open_runtime(filled, silent), "test")
    kept.change(made, schema_revision=revision)
    with pytest.raises(UsageError) as raised:
        backup_restore.restore(filled, made.id)
    assert way in raised.value.hint


def test_a_backup_of_other_keys_is_refused_unless_that_is_wanted(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    made = backup.create(runtime, "test")
    kept.change(made, keys="f" * 32)
    with pytest.raises(UsageError, match="other keys") as raised:
        backup_restore.restore(filled, made.id)
    assert "dqctl apply" in raised.value.hint
    assert backup_restore.restore(filled, made.id, other_keys=True).rows == made.manifest.rows


def test_a_stack_whose_database_is_gone_gets_it_back(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    fill(runtime)
    before = seen(runtime)
    made = backup.create(runtime, "test")
    with runtime.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE datakitchen WITH (FORCE)")
    restored = backup_restore.restore(fresh_stack, made.id)
    assert restored.before is None
    assert seen(runtime) == before


def test_backups_by_the_command_line(fresh_stack: Settings) -> None:
    run = CommandLine(fresh_stack.home)
    made = run.document("backup", "create")["backup"]
    assert (made["places"], made["verified"] is not None, made["held_for"]) == (["stack"], True, None)
    listed = run("backup", "list").out.splitlines()
    assert len(listed) == 2
    assert made["id"] in listed[1]
    assert newest_backup.look(Subject(fresh_stack)).verdict == "ok"
    place = fresh_stack.home / "stacks" / "default" / "backups"
    assert f"1 backup in {place}" in run("uninstall").out
    assert f"dqctl --home {run.home} install" in run("backup", "restore", "latest", code=2).err
    assert (place / made["id"] / kept.DUMP).exists()


def test_retention_is_applied_after_each_backup(filled: Settings) -> None:
    settings = filled.model_copy(update={"backup_keep": 2})
    first, second, third = (backups.create(settings, verified=False) for _ in range(3))
    assert first.backup.id in third.removed
    left = {each.id for each in backups.listing(settings).backups}
    assert {second.backup.id, third.backup.id} <= left
    assert first.backup.id not in left


def test_nothing_secret_is_in_what_a_backup_says_or_in_its_manifest(filled: Settings) -> None:
    runtime = open_runtime(filled, silent)
    made = backup.create(runtime, "test")
    values = [path.read_text().strip() for path in runtime.paths.secrets.iterdir() if path.is_file()]
    text = (made.directory / kept.MANIFEST).read_text()
    assert values
    assert not [value for value in values if value and value in text]
    assert made.dump.stat().st_mode & 0o777 == 0o600
    assert status(filled).newest_backup == made.id


@pytest.fixture(scope="module")
def workspace(filled: Settings) -> Iterator[Path]:
    place = filled.home / "workspaces" / "backups"
    control.start(place)
    yield place
    control.stop(place)


def test_a_copy_in_a_volume_is_compared_listed_and_restored(filled: Settings, workspace: Path) -> None:
    settings = load({"home": filled.home, "workspace": workspace}, {})
    runtime = find_runtime(settings, silent)
    before = seen(open_runtime(settings, silent))
    made = backups.create(settings, to_volume=True)
    assert made.copy == f"/Volumes/main/data_quality/dq_backups/default/{made.backup.id}"
    (entry,) = [each for each in backups.listing(settings, volume=True).backups if each.id == made.backup.id]
    assert entry.places == ("stack", "volume")
    # The stack's own are gone: the copy is enough.
    for each in kept.listed(runtime.paths):
        kept.delete(each)
    (entry,) = backups.listing(settings, volume=True).backups
    assert (entry.id, entry.places, entry.rows) == (made.backup.id, ("volume",), made.backup.rows)
    with pytest.raises(UsageError, match="has no backup"):
        backup_restore.restore(settings, made.backup.id)
    spoil(runtime)
    assert backup_restore.restore(settings, made.backup.id, from_volume=True).rows == made.backup.rows
    assert seen(runtime) == before
    assert list(runtime.paths.work.iterdir()) == []
    # A directory under the id of another backup is no copy of that.
    (directory,) = [path.parent for path in workspace.rglob("metadata.dump") if made.backup.id in str(path)]
    other = directory.with_name("20200101t000000-0000")
    shutil.copytree(directory, other)
    with pytest.raises(UsageError, match="there is no backup"):
        backups.verify(settings, other.name, from_volume=True)
    assert [each.id for each in backups.listing(settings, volume=True).backups].count(made.backup.id) == 1
    shutil.rmtree(other)
    # Somebody writes over it.
    (dump,) = [path for path in workspace.rglob("metadata.dump") if made.backup.id in str(path)]
    dump.write_bytes(dump.read_bytes()[:-1] + b"x")
    with pytest.raises(EnvironmentFault, match="checksum differs"):
        backups.verify(settings, made.backup.id, from_volume=True)
    backups.delete(settings, made.backup.id, from_volume=True)
    assert backups.listing(settings, volume=True).backups == backups.listing(settings).backups
    assert not list(workspace.rglob(f"*{made.backup.id}*"))
    with pytest.raises(UsageError, match="there is no backup"):
        backups.verify(settings, "latest", from_volume=True)
    assert_nothing_is_left(runtime)


def test_a_workspace_that_is_away_does_not_cost_the_backup(filled: Settings) -> None:
    settings = load({"home": filled.home, "workspace": filled.home / "workspaces" / "nowhere"}, {})
    with pytest.raises(EnvironmentFault, match="does not run"):
        backups.create(settings, to_volume=True)
    started = time.monotonic()
    assert backups.create(settings).backup.verified
    assert time.monotonic() - started < 60
