"""JSON Schemas (2020-12) of what dqctl prints with ``--output json`` about runs and results, and of JSON reports.

They are made from the model and from the published tables, and stand as files in ``report/schemas``, by name and
format: ``python -m dqctl.report.schema`` writes them anew. Within a format keys may come, so that none is closed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from dqctl import records
from dqctl.records import Table, Type
from dqctl.report.document import FORMAT
from dqctl.report.model import Run, Subject, TrendPoint
from dqctl.report.profiles import Anomaly, ProfiledColumn
from dqctl.report.results import Definition, Result, TableTally
from dqctl.report.summary import Summary

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Counts:
    """Tests by how they ended."""

    total: int
    failed: int
    error: int
    warning: int
    log: int
    passed: int


@dataclass(frozen=True)
class ReportDocument:
    """One run: ``report RUN --format json``, and each of ``runs`` of the commands that work."""

    format: Literal[1]
    generated_at: datetime
    name: str
    samples: bool
    summary: Summary
    run: Run
    counts: Counts
    tables: tuple[TableTally, ...]
    results: tuple[Result, ...]
    definitions: tuple[Definition, ...]
    columns: tuple[ProfiledColumn, ...]
    anomalies: tuple[Anomaly, ...]
    subjects: tuple[Subject, ...]
    trend: tuple[TrendPoint, ...]
    past_runs: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """Tests by what became of them."""

    began: int
    still: int
    passes: int
    new: int
    gone: int
    changed: int
    same: int


@dataclass(frozen=True)
class ComparedTest:
    """One test in two runs; ``before`` or ``after`` is null where only one of them had it."""

    change: Literal["began", "still", "passes", "new", "gone", "changed", "same"]
    before: Result | None
    after: Result | None


@dataclass(frozen=True)
class ComparisonDocument:
    """Two runs: ``report RUN --compare EARLIER --format json``."""

    format: Literal[1]
    generated_at: datetime
    name: str
    samples: bool
    summary: Summary
    before: Run
    after: Run
    counts: Changes
    tests: tuple[ComparedTest, ...]


_COLUMNS: dict[Type, dict[str, Any]] = {
    Type.STRING: {"type": ["string", "null"]},
    Type.BIGINT: {"type": ["integer", "null"]},
    # What is no number in JSON (NaN, infinity) is said in words; decimals keep every digit as text.
    Type.DOUBLE: {"type": ["number", "string", "null"]},
    Type.BOOLEAN: {"type": ["boolean", "null"]},
    Type.TIMESTAMP: {"type": ["string", "null"], "format": "date-time"},
}
_DECIMAL = {"type": ["string", "null"]}
# Commands that print rows of a published table: their name, which is also that of the list.
ROWS = {
    "runs": records.RUNS,
    "results": records.TEST_RESULTS,
    "anomalies": records.ANOMALIES,
    "definitions": records.TEST_DEFINITIONS,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name."""
    found = {
        "report": TypeAdapter(ReportDocument).json_schema(mode="serialization"),
        "comparison": TypeAdapter(ComparisonDocument).json_schema(mode="serialization"),
        **{name: _rows(name, table) for name, table in ROWS.items()},
    }
    return {
        name: {"$schema": _DRAFT, "$id": f"urn:dqctl:{name}:{FORMAT}", **_printed(found[name])} for name in found
    }


def shipped(name: str) -> dict[str, Any]:
    """A schema as the package has it. Raises ``FileNotFoundError`` when there is none of that name."""
    text = files("dqctl.report").joinpath("schemas", _file(name)).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def text(schema: Mapping[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _file(name: str) -> str:
    return f"{name}.{FORMAT}.schema.json"


def _rows(name: str, table: Table) -> dict[str, Any]:
    row = {
        "type": "object",
        "description": table.comment,
        "properties": {
            column.name: {"description": column.comment, **_COLUMNS.get(column.type, _DECIMAL)}
            for column in table.columns
        },
        "required": list(table.column_names),
    }
    return {
        "title": name,
        "description": f"What `dqctl --output json {name}` prints.",
        "type": "object",
        "properties": {"format": {"const": FORMAT}, name: {"type": "array", "items": row}},
        "required": ["format", name],
    }


def _printed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a command adds to what it prints: how it ended. A file does not have it."""
    added = {
        "exit_code": {"type": "integer", "description": "The exit code of the command."},
        "outcome": {"type": "string", "description": "The exit code in words."},
        "error": {
            "type": "object",
            "properties": {"message": {"type": "string"}, "hint": {"type": "string"}},
            "required": ["message", "hint"],
        },
    }
    return {**schema, "properties": {**schema["properties"], **added}}


if __name__ == "__main__":
    folder = Path(__file__).parent / "schemas"
    folder.mkdir(exist_ok=True)
    for each, made in schemas().items():
        (folder / _file(each)).write_text(text(made), encoding="utf-8")
