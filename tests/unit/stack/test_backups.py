"""Which backups are listed, and which retention takes away."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.stack import backups
from dqctl.stack.backups import Backup, Manifest
from dqctl.stack.paths import StackPaths

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def manifest(number: int, **what: object) -> Manifest:
    made = NOW - timedelta(days=number)
    known = {
        "id": f"{made:%Y%m%dt%H%M%S}-{number:04x}",
        "stack": "default",
        "created": made,
        "reason": "dqctl backup create",
        "dqctl_version": "0.1.0",
        "testgen_version": "5.134.0",
        "schema_revision": 235,
        "postgres_version": "16.14",
        "keys": "0" * 32,
        "bytes": 4,
        "sha256": hashlib.sha256(b"dump").hexdigest(),
        "database_bytes": 10**7,
        "tables": {"testgen.test_results": (2, 2**70)},
        "sequences": {"testgen.ids": (7, True)},
        "objects": {"function": 1},
    }
    return Manifest.model_validate(known | what)


def of_days(*days: int, **special: object) -> list[Backup]:
    return [Backup(Path("backups"), manifest(day, **special)) for day in days]


def make(paths: StackPaths, number: int, **what: object) -> Backup:
    found = manifest(number, **what)
    with backups.making(paths, found.id) as directory:
        (directory / backups.DUMP).write_bytes(b"dump")
        return backups.complete(paths, directory, found)


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    return StackPaths(tmp_path, "default")


def days_removed(found: list[Backup], keep: int, days: float | None) -> list[int]:
    gone = backups.superfluous(found, keep=keep, days=days, now=NOW)
    return sorted((NOW - each.manifest.created).days for each in gone)


def test_retention_keeps_the_newest_by_count() -> None:
    assert days_removed(of_days(5, 1, 3, 2, 4), keep=3, days=None) == [4, 5]


def test_retention_removes_what_is_older_than_its_days_however_few_there_are() -> None:
    assert days_removed(of_days(1, 2, 9), keep=10, days=8) == [9]


def test_retention_never_removes_the_newest_however_old_it_is() -> None:
    assert days_removed(of_days(400, 500), keep=1, days=1) == [500]


def test_retention_never_removes_the_newest_that_was_verified() -> None:
    found = of_days(1, 2) + of_days(3, 4, verified=NOW)
    assert days_removed(found, keep=1, days=None) == [2, 4]


def test_retention_never_removes_what_an_upgrade_needs() -> None:
    assert days_removed(of_days(1, 2, 3) + of_days(4, held_for="upgrade"), keep=1, days=1) == [2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.booleans()), unique_by=lambda each: each[0]),
    st.integers(1, 5),
    st.none() | st.floats(0.1, 60),
)
def test_retention_always_leaves_something_to_go_back_to(
    made: list[tuple[int, bool, bool]], keep: int, days: float | None
) -> None:
    found = [
        Backup(Path(), manifest(day, verified=NOW if verified else None, held_for="x" if held else None))
        for day, verified, held in made
    ]
    gone = {each.id for each in backups.superfluous(found, keep=keep, days=days, now=NOW)}
    left = [each for each in found if each.id not in gone]
    assert bool(left) == bool(found)
    assert any(each.manifest.verified for each in left) == any(each.manifest.verified for each in found)
    assert all(each in left for each in found if each.manifest.held_for)
    if not any(verified or held for _, verified, held in made):
        assert len(left) <= max(keep, 1)


def test_a_backup_comes_back_as_it_was_made(paths: StackPaths) -> None:
    made = make(paths, 1)
    assert backups.listed(paths) == (made,)
    assert made.manifest.tables == {"testgen.test_results": (2, 2**70)}
    assert backups.find(paths, "latest") == backups.find(paths, made.id) == made


def test_a_backup_is_for_its_owner_alone(paths: StackPaths) -> None:
    made = make(paths, 1)
    modes = {path: path.stat().st_mode & 0o777 for path in (paths.backups, made.directory)}
    assert set(modes.values()) == {0o700}, modes
    assert (made.directory / backups.MANIFEST).stat().st_mode & 0o777 == 0o600


def test_what_is_not_whole_is_not_listed_and_goes_with_the_next_command(paths: StackPaths) -> None:
    with backups.making(paths, manifest(1).id) as directory:
        (directory / backups.DUMP).write_bytes(b"du")
        killed = directory.with_name(f"{directory.name}-killed")
        directory.rename(killed)
    assert backups.listed(paths) == ()
    assert killed.exists()
    with backups.held(paths, "test", 0):
        assert list(paths.backups.iterdir()) == []


def test_backups_are_listed_newest_first(paths: StackPaths) -> None:
    made = [make(paths, number) for number in (3, 1, 2)]
    assert [each.id for each in backups.listed(paths)] == [made[1].id, made[2].id, made[0].id]


@pytest.mark.parametrize("damage", ["{", '{"format": 2}', ""])
def test_a_manifest_that_cannot_be_read_is_told_and_hides_no_other(paths: StackPaths, damage: str) -> None:
    good, bad = make(paths, 1), make(paths, 2)
    (bad.directory / backups.MANIFEST).write_text(damage)
    assert backups.listed(paths) == (good,)
    assert backups.damaged(paths) == (bad.id,)
    with pytest.raises(EnvironmentFault, match="manifest"):
        backups.find(paths, bad.id)


def test_a_backup_under_another_name_is_none(paths: StackPaths) -> None:
    made = make(paths, 1)
    made.directory.rename(paths.backups / manifest(2).id)
    assert backups.listed(paths) == ()


def test_an_unknown_backup_names_those_that_there_are(paths: StackPaths) -> None:
    with pytest.raises(UsageError) as none:
        backups.find(paths, "latest")
    assert none.value.hint == "make one: dqctl backup create"
    made = make(paths, 1)
    with pytest.raises(UsageError) as other:
        backups.find(paths, "../secrets")
    assert made.id in other.value.hint


def test_verified_and_held_are_written_down(paths: StackPaths) -> None:
    made = make(paths, 1)
    backups.change(made, verified=NOW)
    backups.change(made, held_for="upgrade to 5.134.0")
    (found,) = backups.listed(paths)
    assert (found.manifest.verified, found.manifest.held_for) == (NOW, "upgrade to 5.134.0")


def test_a_deleted_backup_leaves_nothing(paths: StackPaths) -> None:
    made, other = make(paths, 1), make(paths, 2)
    backups.delete(made)
    backups.delete(made)
    assert backups.listed(paths) == (other,)
    assert [path.name for path in paths.backups.iterdir()] == [other.id]


def test_two_commands_do_not_make_backups_at_once(paths: StackPaths) -> None:
    with backups.held(paths, "the first", 0), pytest.raises(Busy, match="the first"), backups.held(paths, "b", 0):
        pass


def test_the_manifest_is_json_with_exact_checksums(paths: StackPaths) -> None:
    made = make(paths, 1)
    document = json.loads((made.directory / backups.MANIFEST).read_text())
    assert document["tables"]["testgen.test_results"] == [2, 2**70]
    assert document["sha256"] == backups.sha256(made.dump)


def test_a_backup_that_somebody_removed_meanwhile_is_said_to_be_gone(paths: StackPaths) -> None:
    made = make(paths, 1)
    backups.delete(made)
    with pytest.raises(EnvironmentFault, match="is gone") as raised:
        backups.change(made, verified=NOW)
    assert "dqctl backup list" in raised.value.hint
