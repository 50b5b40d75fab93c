"""The records of ephemeral stacks: there before anything of the stack is, and gone last."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.services.ci import record
from dqctl.services.ci.down import take_down
from dqctl.services.ci.owner import Owner
from dqctl.services.ci.record import CiPaths, Record
from dqctl.settings import load


def made(name: str = "ci-one", *, expires: timedelta = timedelta(hours=1), owner: Owner | None = None) -> Record:
    now = datetime.now(UTC)
    return Record(name=name, runtime="local", owner=owner, created=now, expires=now + expires)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    paths = CiPaths(tmp_path, "ci-one")
    written = made(owner=Owner.here())
    record.create(paths, written)
    assert record.read(paths) == written
    assert record.names(tmp_path) == ("ci-one",)
    assert paths.record.stat().st_mode & 0o777 == 0o600
    assert (paths.root / "environments").resolve() == (tmp_path / "environments").resolve()
    assert list(record.half_made(tmp_path)) == []


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    record.create(CiPaths(tmp_path, "ci-one"), made())
    with pytest.raises(UsageError, match="there is an ephemeral stack 'ci-one' already"):
        record.create(CiPaths(tmp_path, "ci-one"), made())
    assert [each.name for each in (tmp_path / "ci").iterdir()] == ["ci-one"]


def test_a_damaged_record_is_named_and_left_alone(tmp_path: Path) -> None:
    paths = CiPaths(tmp_path, "ci-one")
    record.create(paths, made())
    paths.record.write_text("{")
    with pytest.raises(EnvironmentFault, match=r"ci\.json cannot be read"):
        take_down(paths, load({"home": tmp_path}, {}))
    assert paths.record.exists()


def test_half_made_directories_of_the_dead_are_found_and_of_the_living_not(tmp_path: Path) -> None:
    paths = CiPaths(tmp_path, "ci-one")
    record.create(paths, made())
    own = Owner.here()
    folder = tmp_path / "ci"
    (folder / f".making-{own.pid}-{own.started}-aa").mkdir()
    dead = folder / f".making-{own.pid}-{own.started + 1}-bb"
    dead.mkdir()
    (dead / "ci.json").write_text("{}")
    empty = folder / "ci-two"  # its record went, and whoever removed it was killed
    empty.mkdir()
    assert set(record.half_made(tmp_path)) == {dead, empty}
    assert record.names(tmp_path) == ("ci-one",)


def test_taking_down_leaves_the_programs_of_all_stacks(tmp_path: Path) -> None:
    settings = load({"home": tmp_path}, {})
    paths = CiPaths(tmp_path, "ci-one")
    record.create(paths, made())
    (tmp_path / "environments" / "testgen-1.0").mkdir()
    assert take_down(paths, settings)
    assert not paths.root.exists()
    assert (tmp_path / "environments" / "testgen-1.0").is_dir()
    assert not take_down(paths, settings)
