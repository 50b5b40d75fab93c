import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import sqlglot

from dqctl.tables import state_reading
from dqctl.tables.sql import Place

PLACE = Place("main", "data_quality")
SAVED_AT = datetime(2026, 8, 1, 6, tzinfo=UTC)
ROW = {
    "stack": "shop", "seq": 7, "commit_id": "c7", "base_seq": 3, "kind": "delta", "saved_at": SAVED_AT,
    "host": "h", "reason": "run-tests", "testgen_version": "5.134.0", "schema_revision": 235, "keys": "k",
    "tables": json.dumps({"testgen.projects": [2, 10**25]}), "sequences": json.dumps({"testgen.s": [41, True]}),
    "ddl": json.dumps({"before": "b", "after": "a"}), "newest_seq": 9, "newest_id": "c9",
}  # fmt: skip


class Answers:
    """A warehouse with one answer to everything; what it was asked is kept."""

    def __init__(self, *rows: Mapping[str, Any]) -> None:
        self.asked: list[tuple[str, Mapping[str, Any] | None]] = []
        self._rows = pa.Table.from_pylist([dict(row) for row in rows])

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        self.asked.append((statement, parameters))
        return self._rows

    def stream(
        self, statement: str, parameters: Mapping[str, Any] | None = None, *, rows: int
    ) -> Iterator[pa.Table]:
        self.asked.append((statement, parameters))
        yield self._rows.slice(0, rows)

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        raise NotImplementedError

    def put(self, content: object, volume_path: str) -> None:
        raise NotImplementedError

    def remove(self, volume_path: str) -> None:
        raise NotImplementedError


def test_a_commit_is_read_with_the_schema_of_its_base_and_the_newest_beside_it() -> None:
    warehouse = Answers(ROW)
    found = state_reading.find(warehouse, PLACE, "shop")
    assert found
    assert (found.seq, found.base_seq, found.newest, found.is_newest) == (7, 3, (9, "c9"), False)
    assert found.tables == {"testgen.projects": (2, 10**25)}
    assert found.sequences == {"testgen.s": (41, True)}
    assert (found.schema, found.rows) == ({"before": "b", "after": "a"}, 2)
    ((statement, parameters),) = warehouse.asked
    assert sqlglot.parse_one(statement, dialect="databricks")
    assert "b.seq = c.base_seq" in statement
    assert parameters == {"stack": "shop"}


@pytest.mark.parametrize(
    ("wanted", "condition", "more"),
    [
        ({"seq": 7}, "seq = 7", {}),
        ({"as_of": SAVED_AT}, "saved_at <= CAST(:as_of AS TIMESTAMP)", {"as_of": "2026-08-01T06:00:00+00:00"}),
    ],
)
def test_a_commit_is_found_by_number_or_time(wanted: dict[str, Any], condition: str, more: dict[str, str]) -> None:
    warehouse = Answers()
    assert state_reading.find(warehouse, PLACE, "shop", **wanted) is None
    ((statement, parameters),) = warehouse.asked
    assert f"WHERE stack = :stack AND {condition} ORDER BY seq DESC LIMIT 1" in statement
    assert parameters == {"stack": "shop", **more}


def test_rows_are_added_up_from_the_base_on_and_only_those_of_commits_that_are_visible() -> None:
    state = state_reading.find(Answers(ROW), PLACE, "shop")
    assert state
    warehouse = Answers({"relation": "r", "row": "{}", "n": 1})
    (rows,) = state_reading.rows(warehouse, PLACE, state)
    assert [portion.num_rows for portion in rows] == [1]
    ((statement, parameters),) = warehouse.asked
    assert sqlglot.parse_one(statement, dialect="databricks")
    assert "c.commit_id = l.commit_id" in statement
    assert "c.seq BETWEEN 3 AND 7" in statement
    assert "GROUP BY l.relation, l.digest HAVING sum(l.change) <> 0" in statement
    assert parameters == {"stack": "shop"}


def test_many_rows_come_by_statements_that_share_the_digests_among_them() -> None:
    many = {**ROW, "tables": json.dumps({"testgen.results": [3 * state_reading.STATEMENT_ROWS + 1, 1]})}
    for base, one_of in (
        (7, "WHERE l.stack = :stack AND l.seq = 7 AND l.commit_id = 'c7'"),
        (3, "LEFT ANTI JOIN"),
    ):
        state = state_reading.find(Answers({**many, "base_seq": base}), PLACE, "shop")
        assert state
        warehouse = Answers({"relation": "r", "row": "{}", "n": 1})
        streams = state_reading.rows(warehouse, PLACE, state)
        assert not warehouse.asked  # each is asked when somebody reads it
        assert [portion.num_rows for stream in streams for portion in stream] == [1, 1, 1, 1]
        digits = [
            re.findall(r"substr\(l\.digest, 1, 1\) IN \((.*?)\)", statement) for statement, _ in warehouse.asked
        ]
        assert [each.strip("'") for (found,) in digits for each in found.split(", ")] == list("0123456789abcdef")
        for statement, _ in warehouse.asked:
            assert sqlglot.parse_one(statement, dialect="databricks")
            assert one_of in statement
