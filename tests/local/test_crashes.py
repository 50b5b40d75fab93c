"""Random kills over everything that saves, restores, publishes and upgrades: the state is whole after each.

A few in the usual tests; ``DQCTL_TEST_KILLS=200 scripts/test -n 0 tests/local/test_crashes.py`` makes many.
``DQCTL_TEST_SEED`` repeats a failure's.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import CommandLine, Process, stored_tables
from corpora import assert_rows
from dqctl import records
from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.local import LocalRuntime
from dqctl.services import state, state_verify
from dqctl.services.publish import publish
from dqctl.settings import Settings
from publishing import STORED, published
from target_database import PASSWORD, Target

KILLS = int(os.environ.get("DQCTL_TEST_KILLS") or 6)
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))

pytestmark = [pytest.mark.local, pytest.mark.timeout(400 + 120 * KILLS)]

OLD, NEW = "5.92.2", "5.134.0"
SUITE = "sales/sales-suite"

# The databases that a stack has between commands: what was before the last upgrade, restore or rollback stays.
_DATABASES = {
    *("datakitchen", "datakitchen_before", "datakitchen_older", "datakitchen_undone", "datakitchen_replaced"),
    *("target", "postgres"),
}


@dataclass(frozen=True)
class Work:
    """A command, and the seconds that it takes, more or less."""

    arguments: tuple[str, ...]
    seconds: float


_ALWAYS = (
    Work(("run-tests", SUITE), 6.0),
    Work(("state", "save", "--full"), 2.5),
    Work(("state", "restore", "--replace"), 5.0),
)
_UPGRADE = Work(("upgrade", "--to", NEW), 20.0)
_ROLLBACK = Work(("rollback", "--discard-runs"), 12.0)


@pytest.fixture(scope="module")
def run(
    copied_stack: Callable[[str], Settings],
    install_version: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CommandLine]:
    """A stack of an older TestGen, its state saved, with tests of a PostgreSQL beside it."""
    install_version(NEW)
    home = copied_stack(OLD).home
    workspace = home / "workspaces" / "default"
    run = CommandLine(home, {"PROBE_PASSWORD": PASSWORD, "DQCTL_STATE": "auto"})
    try:
        run("workspace", "start")
        run("install", "--workspace", workspace)
        target = Target.make(runtime_of(run))
        run("apply", "-f", target.write_systems(tmp_path_factory.mktemp("systems"), "sales"))
        run("profile", "sales")
        run("generate", "sales")
        run("run-tests", SUITE)
        yield run
    finally:
        control.stop(workspace)


def runtime_of(run: CommandLine) -> LocalRuntime:
    runtime = open_runtime(run.settings, silent)
    assert isinstance(runtime, LocalRuntime)
    return runtime


class Killer:
    """Kills one of those that work together; ``said`` tells what was killed, for whoever reads a failure."""

    def __init__(self, run: CommandLine) -> None:
        self._run = run
        self._chance = random.Random(SEED)  # noqa: S311 - no secret
        self.said: list[str] = []

    def strike(self, works: tuple[Work, ...]) -> None:
        work, victim = (
            self._chance.choice(works),
            self._chance.choice((self.dqctl, self.dqctl, self.postgres, self.workspace)),
        )
        pause = self._chance.uniform(0.1, work.seconds)
        self.said.append(f"{' '.join(work.arguments)}: {victim.__name__} after {pause:.2f} s")
        print(self.said[-1], flush=True)  # noqa: T201 - pytest shows it with a failure
        process = self._run.start(*work.arguments)
        end = time.monotonic() + pause
        while process.is_running and time.monotonic() < end:
            time.sleep(0.01)
        victim(process)
        process.end(400)  # an upgrade takes two minutes where six others work, and saves its state after it

    def dqctl(self, process: Process) -> None:
        process.signal(signal.SIGKILL)

    def postgres(self, _: Process) -> None:
        number = int((self._run.home / "stacks/default/postgres/postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGKILL)

    def workspace(self, _: Process) -> None:
        workspace = self._run.settings.workspace
        endpoint = Endpoint.read(workspace) if workspace else None
        assert endpoint
        os.kill(endpoint.pid, signal.SIGKILL)


def heal(run: CommandLine) -> None:
    """What the next hour's commands do, when nothing of what was killed works any more: publish, and save."""
    end = time.monotonic() + 30
    while left := processes_of(run.home):  # TestGen has 8 s to end its job in order
        assert time.monotonic() < end, left
        time.sleep(0.05)
    workspace = run.settings.workspace
    assert workspace
    try:
        control.start(workspace)
    except control.WorkspaceError as error:
        raise AssertionError(f"{error}: {error.log_tail}") from error
    runtime = runtime_of(run)
    publish(run.settings, runtime)
    state.save_of(run.settings, runtime, "the next command")


def assert_whole(run: CommandLine) -> None:
    """The saved state is the stack's; every run that the stack knows is published once, row for row."""
    verified = state_verify.verify(run.settings)
    assert verified.unsaved == 0
    runtime = runtime_of(run)
    stored = stored_tables(runtime)
    runs = [
        job
        for job in stored.rows["job_executions"]
        if job["job_key"] in ("run-profile", "run-tests", "run-test-generation")
    ]
    there = Counter(each["run_id"] for each in published(run.settings, "dq_runs"))
    assert max(there.values()) == 1
    assert {job["status"] for job in runs} <= {"completed", "error", "canceled"}
    assert {job["id"] for job in runs} <= set(there)
    with runtime.postgres.connect("postgres") as connection:
        databases = {
            str(name) for (name,) in connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate")
        }
    assert databases <= _DATABASES


def assert_every_row_is_published_once(run: CommandLine) -> None:
    stored = stored_tables(runtime_of(run))
    for table in records.RUN_CONTENT:
        rows = published(run.settings, table.name)
        assert len({tuple(row[key] for key in table.key) for row in rows}) == len(rows)
        counts = Counter(row["run_id"] for row in rows)
        for each in published(run.settings, "dq_runs"):
            assert counts[each["run_id"]] == json.loads(each["row_counts"]).get(table.name, 0)
        if table.name in STORED:
            name, run_of, _ = STORED[table.name]
            known = {row[run_of] for row in stored.rows[name]}
            assert_rows(stored, [row for row in rows if row["run_id"] in known], table, name, {})


def processes_of(home: Path) -> list[bytes]:
    """Processes that were started for a stack of ``home``, but for its PostgreSQL and the workspace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, said = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"TG_TESTGEN_HOME={home}".encode() in environment and said:
            found.append(said)
    return found


@pytest.mark.thorough
def test_whatever_is_killed_the_next_command_has_it_whole(run: CommandLine) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    killer = Killer(run)
    for _ in range(KILLS):
        is_old = runtime_of(run).version == OLD
        killer.strike((*_ALWAYS, _UPGRADE if is_old else _ROLLBACK))
        heal(run)
        assert_whole(run)
    assert run.document("state", "verify", "--deep")["restored"]
    assert_every_row_is_published_once(run)
    assert list((run.home / "stacks/default/work").iterdir()) == []
