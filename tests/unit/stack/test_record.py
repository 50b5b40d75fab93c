import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record, write_record

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RECORD = StackRecord(
    installed=True,
    testgen_version="5.134.0",
    postgres_version="16.14",
    postgres_port=40000,
    postgres_account="postgres",
    created=NOW,
    updated=NOW,
)


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    paths = StackPaths(tmp_path, "default")
    paths.root.mkdir(parents=True)
    return paths


def test_a_record_comes_back_as_it_was_written(paths: StackPaths) -> None:
    write_record(paths, RECORD)
    assert read_record(paths) == RECORD
    assert paths.record.stat().st_mode & 0o777 == 0o600


def test_no_record_is_none(paths: StackPaths) -> None:
    assert read_record(paths) is None


@pytest.mark.parametrize(
    "change",
    [{"colour": "red"}, {"format": 2}, {"testgen_version": "../x"}, {"postgres_port": 0}, {"runtime": "x"}],
)
def test_what_this_dqctl_does_not_know_is_refused(paths: StackPaths, change: dict[str, object]) -> None:
    paths.record.write_text(json.dumps(RECORD.model_dump(mode="json") | change))
    with pytest.raises(EnvironmentFault, match=next(iter(change))) as raised:
        read_record(paths)
    assert "data is safe" in raised.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_damaged_record_is_a_fault_and_no_traceback(paths: StackPaths, content: bytes) -> None:
    paths.record.write_bytes(content)
    with pytest.raises(EnvironmentFault, match=r"stack\.json"):
        read_record(paths)
