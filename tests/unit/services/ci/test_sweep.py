"""What is swept and what is left alone, as far as directories tell."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from dqctl.progress import silent
from dqctl.services.ci import record
from dqctl.services.ci.owner import Owner
from dqctl.services.ci.record import CiPaths, Record
from dqctl.services.ci.sweep import sweep
from dqctl.settings import load

HERE = Owner.here()
DEAD = HERE.model_copy(update={"started": 1})


def stack(home: Path, name: str, owner: Owner | None, hours: float) -> None:
    now = datetime.now(UTC)
    made = Record(name=name, runtime="local", owner=owner, created=now, expires=now + timedelta(hours=hours))
    record.create(CiPaths(home, name), made)


def test_only_what_nobody_needs_is_removed_and_a_damaged_record_keeps_no_other(tmp_path: Path) -> None:
    stack(tmp_path, "a-damaged", None, -1)
    CiPaths(tmp_path, "a-damaged").record.write_text("{")
    stack(tmp_path, "expired", None, -1)
    stack(tmp_path, "expired-though-owned", HERE, -1)
    stack(tmp_path, "orphaned", DEAD, 1)
    stack(tmp_path, "owned", HERE, 1)
    stack(tmp_path, "unowned", None, 1)
    stack(tmp_path, "elsewhere", DEAD.model_copy(update={"namespace": "pid:[1]"}), 1)
    (tmp_path / "stacks" / "default").mkdir(parents=True)
    settings = load({"home": tmp_path}, {})

    def swept(*, dry_run: bool) -> dict[str, str]:
        found = sweep(settings, dry_run=dry_run, databricks=False, progress=silent)
        assert ["a-damaged" in error.message for error in found.errors] == [True]
        return {each.name: each.why for each in found.leftovers if each.kind == "stack"}

    over = {"expired": "expired", "expired-though-owned": "expired", "orphaned": "its owner is dead"}
    assert swept(dry_run=True) == over
    assert swept(dry_run=False) == over
    assert swept(dry_run=False) == {}
    assert set(record.names(tmp_path)) == {"a-damaged", "owned", "unowned", "elsewhere"}
    assert (tmp_path / "stacks" / "default").is_dir()
