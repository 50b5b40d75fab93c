"""One of several sidecars leads, by a lock that ends with its holder."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dqctl.clock import SYSTEM_CLOCK
from dqctl.services.controller.leading import Leadership
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, write_record


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    found = StackPaths(tmp_path, "default")
    found.root.mkdir(parents=True)
    found.record.write_text("{}")
    return found


def test_one_leads_and_the_next_when_it_leaves(paths: StackPaths) -> None:
    first, second = Leadership(paths, SYSTEM_CLOCK), Leadership(paths, SYSTEM_CLOCK)
    assert first.hold()
    assert first.hold()
    assert not second.hold()
    assert second.leader
    assert "process" in second.leader
    first.leave()
    assert second.hold()
    assert second.leader is None
    second.leave()


def test_a_stack_that_was_purged_and_made_anew_has_a_lock_of_its_own(paths: StackPaths) -> None:
    first, second = Leadership(paths, SYSTEM_CLOCK), Leadership(paths, SYSTEM_CLOCK)
    assert first.hold()
    for file in paths.root.iterdir():
        file.unlink()
    assert not first.hold()
    assert list(paths.root.iterdir()) == []  # nothing of it comes back
    paths.record.write_text("{}")
    assert second.hold()
    assert not first.hold()
    second.leave()


def test_nobody_leads_a_stack_that_is_uninstalled_nor_puts_anything_into_its_directory(paths: StackPaths) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    record = StackRecord(
        runtime="local", testgen_version="5.134.0", postgres_version="15", postgres_port=5432, installed=True,
        postgres_account=None, created=now, updated=now,
    )  # fmt: skip
    write_record(paths, record)
    one = Leadership(paths, SYSTEM_CLOCK)
    assert one.hold()
    write_record(paths, record.model_copy(update={"installed": False}))
    assert not one.hold()
    assert not one.is_installed
    for file in paths.root.iterdir():  # as a purge does
        file.unlink()
        assert not one.hold()
        assert not file.exists()
    write_record(paths, record)
    assert one.hold()
    one.leave()
