"""A stack that changes its version is killed at every step of it; the next command ends what was begun."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from command_line import CommandLine, run_program
from dqctl.progress import silent
from dqctl.runtime import MetadataServer, databases, find_runtime, metadata, open_runtime
from dqctl.settings import Settings
from dqctl.stack import lock, upgrading
from dqctl.stack.record import read_record, write_record
from dqctl.testgen.capabilities import capabilities

pytestmark = [pytest.mark.local, pytest.mark.timeout(1200)]

OLD, NEW = "5.92.2", "5.134.0"

# A process of its own, which changes the stack to another version and kills itself when it says what it is told.
SWITCH = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4
from dqctl.runtime import databases, open_runtime
from dqctl.runtime.upgrade import switch
from dqctl.services import upgrade, upgrade_versions
from dqctl.settings import load
from dqctl.stack import lock, upgrading

home, version, moment = sys.argv[1:]

def progress(message):
    print(message, flush=True)
    if moment in message:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load({"home": Path(home)}, {})
with upgrade.opened(settings, "upgrade", progress) as runtime:
    after = upgrade_versions.of_version(settings, runtime, version, progress)
    upgrading.write(runtime.paths, upgrading.Journal(
        id=uuid4(), kind="upgrade", phase=upgrading.Phase.TRIAL, begun=datetime.now(UTC),
        before=upgrade_versions.current(runtime), after=after,
        candidate=databases.NEXT, aside=databases.BEFORE,
    ))
    settled = switch(settings, runtime.paths, lambda: None, progress)
    print("failure", settled.failure, flush=True)
"""


@dataclass
class Changing:
    """A stack with two databases, one of each version, that it may change to and fro."""

    settings: Settings
    run: CommandLine

    def prepare(self) -> str:
        """A candidate of the version that the stack does not have; that version."""
        record = read_record(open_runtime(self.settings, silent).paths)
        assert record
        wanted = NEW if record.testgen_version == OLD else OLD
        self._copy(pristine(wanted), databases.NEXT)
        return wanted

    def break_candidate(self) -> None:
        """Of the right revision, and without a column that TestGen works with."""
        with open_runtime(self.settings, silent).postgres.connect(databases.NEXT) as connection:
            connection.execute("ALTER TABLE test_suites DROP COLUMN severity CASCADE")

    def killed_at(self, version: str, moment: str) -> None:
        done = run_program(SWITCH, self.settings.home, version, moment)
        assert done.code == -signal.SIGKILL, done

    def assert_is(self, version: str) -> None:
        """After the next command the stack is ``version``, by its files and its database, and nothing is left."""
        self.run("systems", "list")
        runtime = open_runtime(self.settings, silent)
        record = read_record(runtime.paths)
        assert record
        assert record.testgen_version == version
        assert metadata.schema_revision(runtime.postgres) == capabilities(version).schema_revision
        assert upgrading.pending(runtime.paths) is None
        assert databases.existing(runtime.postgres) <= {databases.BEFORE}
        assert runtime.health().is_good

    def server(self) -> MetadataServer:
        """The stack's, as it was left."""
        return find_runtime(self.settings, silent).postgres

    def _copy(self, source: str, name: str) -> None:
        with self._administrator() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'.encode())

    def _administrator(self) -> "psycopg.Connection[tuple[object, ...]]":
        return open_runtime(self.settings, silent).postgres.connect("postgres", autocommit=True)

    def keep_pristine(self, version: str) -> None:
        runtime = open_runtime(self.settings, silent)
        metadata.drop_database(runtime.postgres, pristine(version))
        self._copy(metadata.DATABASE, pristine(version))


def pristine(version: str) -> str:
    return f"pristine_{version.replace('.', '_')}"


@pytest.fixture(scope="module")
def changing(copied_stack: Callable[[str], Settings], install_version: Callable[[str], Path]) -> Changing:
    """A stack that has metadata of both versions, each as after install."""
    settings = copied_stack(OLD)
    install_version(NEW)
    one = Changing(settings, CommandLine(settings.home))
    one.keep_pristine(OLD)
    runtime = open_runtime(settings, silent)
    metadata.drop_database(runtime.postgres, metadata.DATABASE)
    write_record(runtime.paths, runtime.record.model_copy(update={"testgen_version": NEW}))
    one.keep_pristine(NEW)
    return one


@pytest.mark.thorough(but="written down")
@pytest.mark.parametrize("moment", ["written down", "the candidate is marked"])
def test_killed_before_the_databases_have_changed_names_it_stays_what_it_was(
    changing: Changing, moment: str
) -> None:
    before = read_record(open_runtime(changing.settings, silent).paths)
    assert before
    changing.killed_at(changing.prepare(), f"switching: {moment}")
    changing.assert_is(before.testgen_version)


@pytest.mark.thorough(but="the stack has the version")
@pytest.mark.parametrize("moment", ["the databases have changed names", "the stack has the version", "checked"])
def test_killed_after_the_databases_have_changed_names_the_next_command_goes_on(
    changing: Changing, moment: str
) -> None:
    wanted = changing.prepare()
    changing.killed_at(wanted, f"switching: {moment}")
    changing.assert_is(wanted)


def test_killed_after_the_checks_what_was_done_since_stays(changing: Changing) -> None:
    wanted = changing.prepare()
    changing.killed_at(wanted, "switching: it stays so")
    with changing.server().connect(metadata.DATABASE) as connection:
        connection.execute("CREATE TABLE testgen.since AS SELECT 1")
    changing.assert_is(wanted)
    with changing.server().connect(metadata.DATABASE) as connection:
        assert connection.execute("TABLE testgen.since").fetchone() == (1,)


def test_killed_between_two_versions_and_all_data_gone_a_command_mends_it(changing: Changing) -> None:
    before = read_record(open_runtime(changing.settings, silent).paths)
    assert before
    changing.killed_at(changing.prepare(), "switching: the databases have changed names")
    for name in (metadata.DATABASE, *databases.ALL):
        metadata.drop_database(changing.server(), name)
    changing.assert_is(before.testgen_version)


def test_killed_between_two_versions_and_uninstalled_it_is_ended_by_the_next_install(changing: Changing) -> None:
    wanted = changing.prepare()
    changing.killed_at(wanted, "switching: the databases have changed names")
    paths = find_runtime(changing.settings, silent).paths
    with lock.hold(upgrading.lock_file(paths), "end of an upgrade"):
        assert "end of an upgrade" in changing.run("uninstall", code=6).err
    changing.run("uninstall")
    assert "not installed" in changing.run("systems", "list", code=2).err
    assert not (paths.postgres / "postmaster.pid").exists()
    changing.run("install")
    changing.assert_is(wanted)


@pytest.mark.thorough(but="going back: the databases have their names again")
@pytest.mark.parametrize(
    "moment",
    [
        "the databases have changed names",
        "the new version does not stand",
        "going back: the databases have their names again",
    ],
)
def test_a_version_that_does_not_stand_is_left_again_also_when_that_is_killed(
    changing: Changing, moment: str
) -> None:
    before = read_record(open_runtime(changing.settings, silent).paths)
    assert before
    wanted = changing.prepare()
    changing.break_candidate()
    changing.killed_at(wanted, moment)
    changing.assert_is(before.testgen_version)
