"""Programs of one version never meet the database of another."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault
from dqctl.runtime import fence
from dqctl.stack import upgrading
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, write_record
from dqctl.stack.upgrading import Journal, Kept, Phase, Side

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def record(version: str) -> StackRecord:
    return StackRecord(
        installed=True,
        testgen_version=version,
        postgres_version="16.14",
        postgres_port=5432,
        postgres_account=None,
        created=NOW,
        updated=NOW,
    )


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    paths = StackPaths(tmp_path, "default")
    paths.root.mkdir(parents=True)
    write_record(paths, record("5.92.2"))
    return paths


def journal(phase: Phase) -> Journal:
    return Journal(
        id=uuid4(),
        kind="upgrade",
        phase=phase,
        begun=NOW,
        before=Side(record=record("5.92.2")),
        after=Side(record=record("5.134.0")),
        candidate="datakitchen_next",
        aside="datakitchen_before",
        rows={"test_runs": 3},
    )


def test_who_knows_the_version_of_now_passes(paths: StackPaths) -> None:
    with fence.shared(paths, record("5.92.2")), fence.shared(paths, record("5.92.2")):
        pass


def test_who_knows_another_version_is_told_to_run_again(paths: StackPaths) -> None:
    with pytest.raises(Busy, match=r"changed from TestGen 5\.33\.3 to 5\.92\.2") as raised:
        fence.require_current(paths, record("5.33.3"))
    assert "same command again" in raised.value.hint


def test_a_trial_keeps_nobody_out_and_a_switch_everybody(paths: StackPaths) -> None:
    upgrading.write(paths, journal(Phase.TRIAL))
    fence.require_current(paths, record("5.92.2"))
    for phase in (Phase.SWITCH, Phase.BACK):
        upgrading.write(paths, journal(phase))
        for version in ("5.92.2", "5.134.0"):
            with pytest.raises(Busy, match=r"is changing from TestGen 5\.92\.2 to 5\.134\.0"):
                fence.require_current(paths, record(version))


def test_programs_that_run_are_waited_for(paths: StackPaths) -> None:
    inside, leave = threading.Event(), threading.Event()

    def program() -> None:
        with fence.shared(paths, record("5.92.2")):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=program)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(Busy, match="still runs"):
        fence.close(paths, Deadline(0.0))
    leave.set()
    fence.close(paths, Deadline(30.0))
    thread.join()


def test_a_journal_comes_back_as_it_was_written_and_ends_without_a_trace(paths: StackPaths) -> None:
    before = set(paths.root.iterdir())
    written = journal(Phase.SWITCH)
    upgrading.write(paths, written)
    assert upgrading.pending(paths) == written
    assert (paths.root / "upgrade.json").stat().st_mode & 0o777 == 0o600
    upgrading.end(paths)
    upgrading.end(paths)
    assert upgrading.pending(paths) is None
    assert set(paths.root.iterdir()) == before


def test_a_journal_that_cannot_be_read_is_not_taken_for_none(paths: StackPaths) -> None:
    (paths.root / "upgrade.json").write_text('{"format": 2}')
    with pytest.raises(EnvironmentFault, match="cannot be read") as raised:
        upgrading.pending(paths)
    assert "do not delete" in raised.value.hint.lower()


def test_the_way_back_is_remembered_until_it_is_forgotten(paths: StackPaths) -> None:
    assert upgrading.kept(paths) is None
    kept = Kept(side=Side(record=record("5.92.2")), upgrade=uuid4(), backup="20261121t120000-abcd")
    upgrading.keep(paths, kept)
    assert upgrading.kept(paths) == kept
    upgrading.forget(paths)
    assert upgrading.kept(paths) is None
