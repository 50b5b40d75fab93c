"""A table's log: what is read is what was committed, and a version is made once."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from dqctl.localworkspace import delta, transaction_log
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.transaction_log import Commit


@pytest.fixture
def table(tmp_path: Path) -> Path:
    place = tmp_path / "table"
    for number in range(3):
        write_deltalake(str(place), pa.table({"id": [number]}), mode="append")
    return place


def test_a_version_is_read_as_delta_rs_reads_it(table: Path) -> None:
    for version in range(3):
        found = transaction_log.read(table, version)
        assert len(found.files) == version + 1
        assert set(found.files) == set(_names(table, version))


def test_texts_in_the_statistics_may_hold_whatever_python_ends_a_line_at(tmp_path: Path) -> None:
    odd = "\x85\u2028\u2029"  # those that JSON does not escape
    write_deltalake(str(tmp_path), pa.table({"text": [f"a{odd}b"]}))
    assert odd in (tmp_path / "_delta_log" / f"{0:020}.json").read_text(encoding="utf-8")
    assert len(transaction_log.read(tmp_path).files) == 1


def _names(table: Path, version: int) -> list[str]:
    return [Path(uri).name for uri in DeltaTable(str(table), version=version).file_uris()]


def test_a_checkpoint_says_what_the_commits_said(table: Path) -> None:
    transaction_log.commit(
        table,
        before := transaction_log.read(table),
        Commit("DELETE"),
        removed=[transaction_log.removal(next(iter(before.files.values())))],
    )
    known = transaction_log.read(table)
    DeltaTable(str(table)).create_checkpoint()
    for commit in (table / "_delta_log").glob("0*.json"):
        if not commit.name.endswith("3.json"):
            commit.unlink()
    found = transaction_log.read(table)
    assert (set(found.files), set(found.removed)) == (set(known.files), set(known.removed))
    assert found.fields == known.fields
    assert found.protocol["minReaderVersion"] == known.protocol["minReaderVersion"]
    with pytest.raises(StatementError, match="DELTA_VERSION_NOT_FOUND"):
        transaction_log.read(table, 1)


def test_two_cannot_make_the_same_version(table: Path) -> None:
    before = transaction_log.read(table)
    transaction_log.commit(table, before, Commit("WRITE"))
    with pytest.raises(StatementError, match="DELTA_CONCURRENT_WRITE") as caught:
        transaction_log.commit(table, before, Commit("WRITE"))
    assert caught.value.sqlstate == "2D521"
    assert not list((table / "_delta_log").glob(".*"))


def test_what_is_staged_and_not_committed_is_no_part_of_the_table(table: Path) -> None:
    rows = delta.Counted(pa.schema([("id", pa.int64())]), iter(pa.table({"id": [7, 8]}).to_batches()))
    with transaction_log.scratch(table, "staging") as place:
        added = delta.stage(place, rows)
        assert DeltaTable(str(table)).count() == 3
        assert not any((table / each["path"]).exists() for each in added)
        transaction_log.settle(place, table, added)
    assert not place.exists()
    transaction_log.commit(table, transaction_log.read(table), Commit("WRITE", {"mode": "Append"}), added=added)
    assert DeltaTable(str(table)).count() == 5
    assert DeltaTable(str(table)).history(1)[0]["operationParameters"] == {"mode": "Append"}
