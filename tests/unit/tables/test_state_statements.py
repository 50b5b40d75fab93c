import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

import pyarrow as pa
import sqlglot

from dqctl.tables import ddl, state
from dqctl.tables.digest import Digest
from dqctl.tables.sql import Place
from dqctl.tables.state_tables import STATE_COMMITS, STATE_LOG

PLACE = Place("main", "dq")
ROW = {
    "stack": "it's", "seq": 8, "commit_id": "c-8", "parent": "c-7", "kind": "delta", "base_seq": 3,
    "saved_at": datetime(2026, 1, 2, tzinfo=UTC), "log_rows": 5,
}  # fmt: skip


class Recorded:
    """Takes statements; answers the same to all, by default nothing."""

    def __init__(self, answer: pa.Table | None = None) -> None:
        self._answer = pa.table({"seq": pa.array([], pa.int64())}) if answer is None else answer
        self.statements: list[tuple[str, Mapping[str, Any] | None]] = []

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        self.statements.append((statement, parameters))
        return self._answer

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        self.statements.append((statement, parameters))
        return 1

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        raise AssertionError(f"{volume_path} {content!r}")

    def remove(self, volume_path: str) -> None:
        raise AssertionError(volume_path)


def test_commit_is_one_merge_that_asks_for_its_parent_and_its_rows() -> None:
    warehouse = Recorded()
    assert state.commit(warehouse, PLACE, ROW, Digest(5, 4711)) == 1
    ((statement, parameters),) = warehouse.statements
    assert statement.startswith("MERGE INTO `main`.`dq`.`dq_state_commits` AS c USING (")
    assert "ON c.stack = n.stack AND c.seq >= n.seq" in statement
    assert "p.stack = 'it\\'s' AND p.seq = 7) = 'c-7'" in statement
    assert "= array('5', '4711')" in statement
    assert re.search(r"WHEN NOT MATCHED THEN INSERT \([^)]*\) VALUES \([^)]*\)$", statement)
    assert "WHEN MATCHED" not in statement
    assert parameters
    assert set(parameters) == {"row"}


def test_first_commit_has_no_parent_to_ask_for() -> None:
    warehouse = Recorded()
    state.commit(warehouse, PLACE, ROW | {"seq": 1, "parent": None}, Digest(5, 4711))
    assert "AS p" not in warehouse.statements[0][0]


def test_newest_of_no_commits_is_none() -> None:
    assert state.newest(Recorded(), PLACE, "default") is None


def test_commits_are_isolated_so_that_two_at_once_conflict() -> None:
    assert "'delta.isolationLevel' = 'Serializable'" in ddl.create_table(PLACE, STATE_COMMITS)
    assert "isolationLevel" not in ddl.create_table(PLACE, STATE_LOG)


def test_only_numbers_that_can_no_longer_become_visible_are_cleared_away() -> None:
    recorded = Recorded(pa.table({"commit_id": ["b", "a"]}))
    left = state.left_behind(recorded, PLACE, "it's", 7)
    assert left == ("a", "b")
    state.remove(recorded, PLACE, "it's", 7, left)
    (look, parameters), (remove, _) = recorded.statements
    assert parameters == {"stack": "it's"}
    assert "l.seq <= 7" in look
    assert remove.endswith("WHERE stack = 'it\\'s' AND seq <= 7 AND commit_id IN ('a', 'b')")
    for statement in (look, remove):
        assert sqlglot.parse_one(statement, dialect="databricks")
