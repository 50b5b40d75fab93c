"""What tests of publishing share: the metadata of real runs, a session that is watched, and Delta read directly.

What arrived is read with deltalake, past all of our code.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
import pyarrow as pa
from deltalake import DeltaTable

from corpora import Corpus, assert_rows, corpus, own_id
from dqctl import records
from dqctl.databricks.warehouse import Warehouse
from dqctl.localworkspace import control
from dqctl.progress import Progress, silent
from dqctl.runtime.postgres import Postgres
from dqctl.services import publish
from dqctl.services.publish import PublishReport
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.tables import ddl
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import MetadataReader

STORED = {
    "dq_test_results": ("test_results", "test_run_id", "test_runs"),
    "dq_profile_columns": ("profile_results", "profile_run_id", "profiling_runs"),
    "dq_anomalies": ("profile_anomaly_results", "profile_run_id", "profiling_runs"),
}


@dataclass(frozen=True)
class Stack:
    """The metadata of real runs, in a database of its own; what ``publish`` needs of a runtime."""

    version: str
    postgres: Postgres
    database: str

    def metadata(self) -> "psycopg.Connection[Any]":
        return self.postgres.connect(self.database)

    def execute(self, statement: str, *values: object) -> None:
        with self.metadata() as connection:
            connection.execute(statement.encode(), values)


@contextmanager
def running(data_dir: Path) -> Iterator[Path]:
    control.start(data_dir)
    try:
        yield data_dir
    finally:
        control.stop(data_dir)


def delta(settings: Settings, table: str) -> DeltaTable:
    with Warehouse(find_target(settings)) as warehouse:
        detail = warehouse.query(f"DESCRIBE DETAIL `{settings.catalog}`.`{settings.schema_name}`.{table}")
    return DeltaTable(detail["location"][0].as_py().removeprefix("file:"))


def published(settings: Settings, table: str) -> list[dict[str, Any]]:
    return delta(settings, table).to_pyarrow_table().to_pylist()


def versions(settings: Settings) -> dict[str, int]:
    return {table.name: delta(settings, table.name).version() for table in (*records.TABLES, ddl.MIGRATIONS)}


def everything(settings: Settings) -> dict[str, Counter[str]]:
    """All rows of all tables, without the times of publishing."""
    return {
        table.name: Counter(
            json.dumps({**row, "published_at": None}, default=str, sort_keys=True)
            for row in published(settings, table.name)
        )
        for table in records.TABLES
    }


def assert_exactly_once(settings: Settings, stack: Stack) -> None:
    """Every row of the metadata is in Delta once, and equal."""
    one = corpus(stack.version)
    there = {table.name: published(settings, table.name) for table in records.TABLES}
    runs = there["dq_runs"]
    assert len(runs) == 7
    for run in runs:
        counts = json.loads(run["row_counts"])
        assert set(counts) == {table.name for table in records.CONTENT_OF[run["kind"]]}
        for table in records.CONTENT_OF[run["kind"]]:
            rows = [row for row in there[table.name] if row["run_id"] == run["run_id"]]
            assert len(rows) == counts[table.name], (table.name, run["run_id"])
            assert len({tuple(row[name] for name in table.key) for row in rows}) == len(rows)
            if table.name in STORED:
                stored, key, parent = STORED[table.name]
                own = own_id(one, parent, run["run_id"])
                assert_rows(one, rows, table, stored, {key: own})
            elif table is records.SCORES:
                assert_scores(one, rows, run["table_groups_id"])
            elif table is records.TEST_DEFINITIONS and rows:
                assert_rows(one, rows, table, "test_definitions", {"test_suite_id": run["test_suite_id"]})
    for table in records.RUN_CONTENT:
        assert {row["run_id"] for row in there[table.name]} <= {run["run_id"] for run in runs}


def assert_scores(one: Corpus, rows: Sequence[Mapping[str, Any]], table_groups_id: str) -> None:
    """What is scored, and nothing that was dropped; the scorecards are those of the whole project."""
    scored = {
        row[key]: (as_value(row["dq_score_profiling"]), as_value(row["dq_score_testing"]))
        for table, key in (
            ("table_groups", "id"),
            ("data_table_chars", "table_id"),
            ("data_column_chars", "column_id"),
        )
        for row in one.rows[table]
        if row.get("table_groups_id", row.get("id")) == table_groups_id and row.get("drop_date") is None
    }
    found = {row["id"]: row for row in rows if row["level"] != "scorecard"}
    assert {key: (row["score_profiling"], row["score_testing"]) for key, row in found.items()} == scored
    for row in found.values():
        known = [score for score in (row["score_profiling"], row["score_testing"]) if score is not None]
        assert row["score"] == (math.prod(known) if known else None)
    cards = [(row["scorecard"], row["category"], row["score"]) for row in rows if row["level"] == "scorecard"]
    assert sorted(cards, key=str) == [
        ("The board's card", "Completeness", None), ("The board's card", "score", 0.875)
    ]  # fmt: skip


def as_value(text: str | None) -> float | None:
    return None if text is None else float(text)


def publish_to(
    stack: Stack, settings: Settings, open_warehouse: Callable[[], Any], progress: Progress = silent
) -> PublishReport:
    with stack.metadata() as connection:
        reader = MetadataReader(connection, capabilities(stack.version), settings.stack)
        ledger = Ledger(connection)
        ledger.ensure()
        return publish.publish_pending(open_warehouse, find_target(settings), reader, ledger, progress=progress)


class Watched:
    """A warehouse session that counts its statements and lets something happen at one of them."""

    def __init__(self, warehouse: Warehouse, happen: Callable[[int, str], None] | None = None) -> None:
        self.warehouse = warehouse
        self.happen = happen
        self.statements: list[str] = []

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self.warehouse.close()

    def _note(self, text: str) -> None:
        self.statements.append(text)
        if self.happen:
            self.happen(len(self.statements), text)

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        self._note(statement)
        return self.warehouse.query(statement, parameters)

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        self._note(statement)
        return self.warehouse.execute(statement, parameters)

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        self._note(f"PUT {volume_path}")
        self.warehouse.put(content, volume_path)

    def remove(self, volume_path: str) -> None:
        self._note(f"REMOVE {volume_path}")
        self.warehouse.remove(volume_path)
