"""The report as JSON, for programs.

Stable and versioned: ``format`` is 1. New keys may come within a format; one that goes or changes its meaning
makes a new format. Names are those of the model; times are ISO 8601 in UTC, shares are 0 to 1, what is unknown is
null.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from dqctl.report.model import RunReport
from dqctl.report.summary import summarize

FORMAT = 1


def document(report: RunReport) -> dict[str, Any]:
    """The report as plain dictionaries, lists, texts and numbers."""
    return {
        "format": FORMAT,
        "generated_at": _plain(report.generated_at),
        "name": report.name,
        "summary": _plain(summarize(report)),
        "run": _plain(report.run),
        "counts": {"total": report.tally.total, **_plain(report.tally)},
        **{
            part: _plain(getattr(report, part))
            for part in ("tables", "results", "definitions", "columns", "anomalies", "subjects", "trend")
        },
    }


def render_json(report: RunReport) -> str:
    """The report as JSON text, indented, in the model's order."""
    return json.dumps(document(report), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value]
