"""Metadata of real TestGen runs, one small file a version (made by ``tests/contract/dump_metadata.py``).

The scenario is the same in all: a table group is profiled, tests are generated, two tests of a person's own are
added (one of them broken), the suite is tested twice; a group and a suite whose connection does not work fail; a
test run is canceled before it starts.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from dqctl.records import Row, Table, Type

DIRECTORY = Path(__file__).parent / "contract" / "metadata"
VERSIONS = ("5.134.0", "5.92.2", "5.33.3")


@dataclass(frozen=True)
class Corpus:
    """Columns with their types, and rows with values as PostgreSQL's text, by table."""

    version: str
    columns: dict[str, list[tuple[str, str]]]
    rows: dict[str, list[dict[str, str | None]]]

    def by(self, table: str, key: str) -> dict[str | None, dict[str, str | None]]:
        """The rows of ``table`` by the value of ``key``."""
        return {row[key]: row for row in self.rows[table]}


def corpus(version: str) -> Corpus:
    """The corpus of ``version``."""
    found = json.loads((DIRECTORY / f"{version}.json").read_text(encoding="utf-8"))["tables"]
    names = {table: [name for name, _ in content["columns"]] for table, content in found.items()}
    rows = {
        table: [dict(zip(names[table], row, strict=True)) for row in content["rows"]]
        for table, content in found.items()
    }
    columns = {table: [(name, kind) for name, kind in content["columns"]] for table, content in found.items()}
    return Corpus(version, columns | _SCORED, rows | _scored(rows))


# The corpora were made before scores were read: these tables stand beside them, as far as they are read, with the
# tables and columns that were profiled. What TestGen itself writes there, tests of the main job see.
_GROUP_COLUMNS = [
    ("table_groups_id", "uuid"),
    ("schema_name", "character varying"),
    ("table_name", "character varying"),
]
_SCORE_COLUMNS = [
    ("dq_score_profiling", "double precision"),
    ("dq_score_testing", "double precision"),
    ("drop_date", "timestamp without time zone"),
]
_SCORED = {
    "data_table_chars": [("table_id", "uuid"), *_GROUP_COLUMNS, *_SCORE_COLUMNS],
    "data_column_chars": [
        ("column_id", "uuid"),
        *_GROUP_COLUMNS,
        ("column_name", "character varying"),
        *_SCORE_COLUMNS,
    ],
    "score_definitions": [("id", "uuid"), ("project_code", "character varying"), ("name", "character varying")],
    "score_definition_results": [("definition_id", "uuid"), ("category", "text"), ("score", "double precision")],
}


def _scored(rows: dict[str, list[dict[str, str | None]]]) -> dict[str, list[dict[str, str | None]]]:
    """Scores of what was profiled: one table was dropped since, one scorecard has two categories."""
    columns, tables = [], {}
    profiled = {
        (row["table_groups_id"], row["table_name"], row["column_name"]): row for row in rows["profile_results"]
    }
    for number, row in enumerate(profiled.values(), 1):
        place = {name: row[name] for name, _ in _GROUP_COLUMNS}
        scores = {"dq_score_profiling": f"0.{number:02d}", "dq_score_testing": None if number % 3 else "0.5"}
        columns.append(
            {"column_id": f"c0000000-0000-4000-8000-{number:012d}"}
            | place
            | {"column_name": row["column_name"]}
            | scores
            | {"drop_date": None}
        )
        tables[row["table_groups_id"], row["table_name"]] = (
            {"table_id": f"7ab1e000-0000-4000-8000-{number:012d}"} | place | scores | {"drop_date": None}
        )
    gone = columns[0] | {"column_id": "c0000000-0000-4000-8000-00000000dead", "drop_date": "2026-01-01 00:00:00"}
    card = "5c0e0000-0000-4000-8000-000000000001"
    project = rows["projects"][0]["project_code"]
    return {
        "data_table_chars": list(tables.values()),
        "data_column_chars": [*columns, gone],
        "score_definitions": [{"id": card, "project_code": project, "name": "The board's card"}],
        "score_definition_results": [
            {"definition_id": card, "category": "score", "score": "0.875"},
            {"definition_id": card, "category": "Completeness", "score": None},
        ],
    }


def restore(one: Corpus, connection: "psycopg.Connection[Any]") -> None:
    """Make the schema ``testgen`` with the corpus in it."""
    connection.execute("CREATE SCHEMA testgen")
    for table, columns in one.columns.items():
        typed = ", ".join(f'"{name}" {kind}' for name, kind in columns)
        connection.execute(f"CREATE TABLE testgen.{table} ({typed})".encode())
        marks = ", ".join(f"%s::{kind}" for _, kind in columns)
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO testgen.{table} VALUES ({marks})".encode(),
                [list(row.values()) for row in one.rows[table]],
            )
    connection.commit()


def own_id(one: Corpus, table: str, job: str) -> str | None:
    """What the version calls the run of a job."""
    key = "id" if one.version != "5.33.3" else "job_execution_id"
    return next((row["id"] for row in one.rows[table] if row[key] == job), None)


def as_value(text: str | None, kind: Type, stored: str) -> Any:
    """PostgreSQL's text as the value that has to be published, found without the reader's help."""
    if text is None:
        return None
    if kind is Type.BIGINT:
        return int(text)
    if kind is Type.DOUBLE:
        return float(text)
    if kind is Type.BOOLEAN:
        return text == "true"
    if kind is Type.TIMESTAMP:
        return datetime.fromisoformat(text if stored == "timestamp with time zone" else f"{text}+00")
    if kind in (Type.DECIMAL_38_0, Type.DECIMAL_38_6, Type.DECIMAL_38_8):
        return Decimal(text)
    return text


def assert_rows(one: Corpus, found: Sequence[Row], table: Table, stored: str, keep: dict[str, str | None]) -> int:
    """Every column that the stored table has under the same name, for every row that ``keep`` selects."""
    expected = {
        row["id"]: row for row in one.rows[stored] if all(row[key] == value for key, value in keep.items())
    }
    kinds = dict(one.columns[stored])
    assert Counter(row["id"] for row in found) == Counter(expected.keys())
    own = [name for name in table.column_names if name in kinds and name != "profile_run_id"]
    for row in found:
        assert set(row) >= set(table.column_names)
        for name in own:
            wanted = as_value(expected[row["id"]][name], table.column(name).type, kinds[name])
            if name not in ("table_groups_id", "impact_dimension") or wanted is not None:
                assert row[name] == wanted, (stored, row["id"], name)
    return len(expected)
