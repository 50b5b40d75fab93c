"""Test outcomes as DataOps Observability takes them, in the form that TestGen's own export has.

A request is an event: an envelope about the table group, and ``test_outcomes`` of one suite. What TestGen's export
would send and the receiver refuses, or takes and drops later, is sent as the receiver can keep it: its API knows
three statuses, wants numbers to be numbers and texts not to be empty, and one value that does not fit costs the
whole request (its API answers 400) or, past the API, the whole event.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from dqctl.records import Row

# TestGen aims at half of the 100 KB that the receiver takes; it takes 500 outcomes at most.
_BYTES, _OUTCOMES = 50_000, 500
# It keeps decimals of 20 digits, 5 of them after the point.
_ROOM = Decimal(10) ** 15
# And a text of 64 KB, in characters of up to 4 bytes.
_LONGEST = 16_000
# An errored test found nothing good: what must not be missed is a failure where there is no other word for it.
_STATUSES = {"Passed": "PASSED", "Failed": "FAILED", "Warning": "WARNING", "Error": "FAILED", "Log": "PASSED"}
_SAME = ("Passed", "Failed", "Warning")
# Flavors whose tables are files: their schema is TestGen's own affair (from 5.134 on).
_NO_SCHEMA = ("files", "s3", "azure_blob")


@dataclass(frozen=True)
class Chunk:
    """Outcomes that travel together: the results' ids, and the request's body."""

    results: tuple[str, ...]
    body: bytes

    @property
    def halves(self) -> tuple[int, int]:
        """How many outcomes each half of it has."""
        half = len(self.results) // 2
        return half, len(self.results) - half


def envelope(subject: Row, at: datetime) -> dict[str, Any]:
    """All of a request but its outcomes; ``subject`` is a row of ``MetadataReader.export_subjects``."""
    sampled = subject["profile_use_sampling"] == "Y"
    percent, tables = subject["profile_sample_percent"], _listed(subject["profiling_table_set"])
    include = subject["profiling_include_mask"] or None
    group = {
        "group_id": subject["table_groups_id"],
        "uses_sampling": sampled,
        "project_code": subject["project_code"],
        "sample_percentage": str(percent) if sampled and percent is not None else None,
        "sample_minimum_count": subject["profile_sample_min_count"] if sampled else None,
    }
    schema = None if subject["sql_flavor_code"] in _NO_SCHEMA else subject["table_group_schema"] or None
    nothing = (
        "external_url",
        "stream_name",
        "run_key",
        "server_name",
        "task_name",
        "pipeline_key",
        "pipeline_name",
    )
    return {
        **dict.fromkeys(nothing),
        "metadata": {},
        **dict.fromkeys(("run_name", "task_key", "stream_key", "server_key")),
        "component_tool": subject["sql_flavor"],
        "dataset_key": subject["component_key"] or subject["table_groups_id"],
        "dataset_name": subject["component_name"] or subject["table_groups_name"],
        "event_timestamp": _stamp(at),
        "component_integrations": {
            "integrations": {
                "testgen": {
                    "schema": schema,
                    "connection_name": subject["connection_name"],
                    "database_name": subject["project_db"] or subject["connection_name"],
                    "version": 1,
                    "table_group_configuration": group,
                    "tables": {
                        # One of the two has to say something.
                        "include_pattern": include if include or tables else "%",
                        "exclude_pattern": subject["profiling_exclude_mask"] or None,
                        "include_list": tables,
                    },
                }
            }
        },
    }


def outcome(row: Row) -> dict[str, Any]:
    """One result, a row of ``MetadataReader.queued``."""
    status = str(row["result_status"])
    at = _stamp(row["test_time"]) if row["test_time"] else None
    metadata: dict[str, str] = {} if status in _SAME else {"testgen_status": status}
    return {
        "integrations": {
            "testgen": {
                "columns": [name for name in (row["column_names"] or "").split(",") if name],
                # A test of a whole schema has no table.
                "table": row["table_name"] or row["schema_name"] or row["table_group"],
                "test_suite": row["test_suite"],
                "test_parameters": _parameters(row["input_parameters"]),
                "version": 1,
            }
        },
        "key": row["test_definition_id"],
        "type": row["test_name_short"] or row["test_type"],
        "min_threshold": _number(row["threshold"]) if row["operator"] in (">", ">=") else None,
        "max_threshold": _number(row["threshold"]) if row["operator"] in ("<", "<=") else None,
        "name": row["test_name_long"] or row["test_type"],
        "description": row["type_description"],
        "metadata": metadata,
        "start_time": at,
        "result": (row["result_message"] or "")[:_LONGEST] or None,
        "end_time": at,
        "dimensions": [row["dq_dimension"]] if row["dq_dimension"] else None,
        "status": _STATUSES.get(status, "FAILED"),
        "metric_value": _number(row["result_measure"]),
        "metric_name": row["measure_uom"] or None,
        "metric_description": row["measure_uom_description"] or None,
    }


def chunks(about: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Chunk]:
    """``rows`` as requests of at most 500 outcomes and about 50 KB, in their order; a bigger one travels alone."""
    ids: list[str] = []
    outcomes: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        one = outcome(row)
        length = len(_json(one))
        if ids and (size + length > _BYTES or len(ids) == _OUTCOMES):
            yield _chunk(about, ids, outcomes)
            ids, outcomes, size = [], [], 0
        ids.append(row["id"])
        outcomes.append(one)
        size += length
    if ids:
        yield _chunk(about, ids, outcomes)


def halved(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """The same outcomes in two requests, to find the one that is not taken."""
    document = json.loads(chunk.body)
    outcomes, first = document.pop("test_outcomes"), chunk.halves[0]
    return (
        _chunk(document, chunk.results[:first], outcomes[:first]),
        _chunk(document, chunk.results[first:], outcomes[first:]),
    )


def _chunk(about: Mapping[str, Any], ids: Sequence[str], outcomes: Sequence[Mapping[str, Any]]) -> Chunk:
    return Chunk(tuple(ids), _json({**about, "test_outcomes": list(outcomes)}))


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(text: str | None) -> str | None:
    """``text`` where the receiver takes it for a number and has room for it; tests measure dates, too."""
    try:
        value = Decimal((text or "").strip())
    except InvalidOperation:
        return None
    return text if value.is_finite() and abs(value) < _ROOM else None


def _listed(tables: str | None) -> list[str]:
    return [name for name in (tables or "").replace("'", "").split(",") if name]


def _parameters(text: str | None) -> list[dict[str, str]]:
    """``a=1,2, b=3`` as names and values: a value goes up to the comma before the next name."""
    first, *rest = (text or "").split("=")
    name, found = first, []
    for place, part in enumerate(rest):
        value, _, following = (part, "", "") if place == len(rest) - 1 else part.rpartition(",")
        if name.strip() and value.strip():
            found.append({"name": name.strip(), "value": value.strip()})
        name = following
    return found
