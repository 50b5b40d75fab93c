"""Profiled columns and the anomalies found in them, as a report shows them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from dqctl.records import Row
from dqctl.report.rows import Reader
from dqctl.report.samples import NOT_SHOWN, counted


class Likelihood(StrEnum):
    """How sure TestGen is of an anomaly, the surest first. The values are TestGen's own words."""

    DEFINITE = "Definite"
    LIKELY = "Likely"
    POSSIBLE = "Possible"
    PII = "Potential PII"
    UNKNOWN = "Unknown"

    @property
    def rank(self) -> int:
        """0 for the surest."""
        return _RANKS[self]

    @classmethod
    def of(cls, value: str | None) -> Self:
        """The likelihood that TestGen stored."""
        return cls(value) if value in _WORDS else cls("Unknown")


_RANKS = {likelihood: rank for rank, likelihood in enumerate(Likelihood)}
_WORDS = frozenset(likelihood.value for likelihood in Likelihood)

# How Databricks and Spark, and in its own words Sail 0.7.2, say that they are strict about texts that are no
# dates: ANSI mode made a cast fail, or the parsers of Spark 2 and Spark 3 disagree (see dqctl.testgen.sessions).
_ANSI = re.compile(
    r"CAST_INVALID_INPUT|CANNOT_PARSE|\bANSI|malformed|cannot (?:be )?(?:cast|parse)|DateTimeException"
    r"|expected numeric datetime field|invalid (?:timestamp|date)\b|different result due to the upgrading",
    re.IGNORECASE,
)

ANSI_REMEDY = (
    "TestGen tries to read texts as dates, and in ANSI mode the first text that is none is an error. dqctl "
    "profile switches that mode off for its own sessions unless DQCTL_PROFILE_ANSI is as-is: profile again. Or "
    "set ANSI_MODE=false for the warehouse (in its SQL configuration parameters)"
)
"""What to do about columns that failed because of ANSI mode; a sentence without its stop."""


@dataclass(frozen=True)
class Frequent:
    """A value or pattern and how often it occurs."""

    value: str
    count: int | None


@dataclass(frozen=True)
class ProfiledColumn:
    """One column of a profile. Values out of the data are there only where they are asked for and not personal."""

    id: str
    table: str | None
    column: str | None
    position: int | None
    column_type: str | None
    records: int | None
    nulls: int | None
    empty: int | None
    distinct: int | None
    lowest: str | None
    highest: str | None
    average: float | None
    shortest: int | None
    longest: int | None
    frequent: tuple[Frequent, ...]
    meaning: str | None
    suggested_type: str | None
    personal_data: str | None
    sampled_share: float | None
    error: str | None

    @property
    def missing_share(self) -> float | None:
        """Share of records with NULL or an empty text, 0 to 1."""
        if not self.records or self.nulls is None:
            return None
        return (self.nulls + (self.empty or 0)) / self.records


@dataclass(frozen=True)
class Anomaly:
    """One anomaly (TestGen: hygiene issue) that a profile found."""

    id: str
    likelihood: Likelihood
    table: str | None
    column: str | None
    name: str
    meaning: str | None
    detail: str | None
    action: str | None
    dimension: str | None
    disposition: str | None
    affected_share: float | None


def is_ansi(error: str | None) -> bool:
    """Whether a query failed because a session was strict about texts that are no dates."""
    return error is not None and _ANSI.search(error) is not None


def by_error(
    columns: Sequence[ProfiledColumn],
) -> tuple[tuple[str | None, tuple[str, ...], str], ...]:
    """Incomplete columns of a table that failed with the same words, together: table, columns, error."""
    groups: dict[tuple[str | None, str], list[str]] = {}
    for column in columns:
        if column.error is not None:
            groups.setdefault((column.table, column.error), []).append(column.column or "?")
    return tuple((table, tuple(names), error) for (table, error), names in groups.items())


def read_columns(rows: Sequence[Row], reader: Reader) -> tuple[ProfiledColumn, ...]:
    """The columns: incomplete ones first, then by table and position."""
    columns = [_column(row, reader) for row in rows]
    return tuple(
        sorted(columns, key=lambda c: (c.error is None, c.table or "", c.position or 0, c.column or "", c.id))
    )


def _column(row: Row, reader: Reader) -> ProfiledColumn:
    personal = reader.text(row, "pii_flag")
    shown = reader.samples and not personal
    lowest, highest = _range(row, reader) if shown else (None, None)
    ratio = reader.number(row, "sample_ratio")
    return ProfiledColumn(
        id=reader.text(row, "id") or "",
        table=reader.text(row, "table_name"),
        column=reader.text(row, "column_name"),
        position=reader.count(row, "position"),
        column_type=reader.text(row, "db_data_type") or reader.text(row, "column_type"),
        records=reader.count(row, "record_ct"),
        nulls=reader.count(row, "null_value_ct"),
        empty=reader.count(row, "zero_length_ct"),
        distinct=reader.count(row, "distinct_value_ct"),
        lowest=lowest,
        highest=highest,
        average=None if personal else reader.number(row, "avg_value"),
        shortest=reader.count(row, "min_length"),
        longest=reader.count(row, "max_length"),
        frequent=_frequent(reader.text(row, "frequent_values")) if shown else (),
        meaning=reader.text(row, "functional_data_type"),
        suggested_type=reader.text(row, "datatype_suggestion"),
        personal_data=personal,
        sampled_share=1 / ratio if ratio and ratio > 1 else None,
        error=reader.error(row, "query_error"),
    )


def _range(row: Row, reader: Reader) -> tuple[str | None, str | None]:
    """Smallest and largest value of a column, whatever its type."""
    if (first := reader.time(row, "min_date")) is not None:
        last = reader.time(row, "max_date")
        return _date(first.isoformat(" ")), _date(last.isoformat(" ")) if last else None
    if (smallest := reader.number(row, "min_value")) is not None:
        largest = reader.number(row, "max_value")
        return f"{smallest:.15g}", None if largest is None else f"{largest:.15g}"
    return reader.text(row, "min_text"), reader.text(row, "max_text")


def _date(text: str) -> str:
    return text.removesuffix("+00:00").removesuffix(" 00:00:00")


def _frequent(text: str | None) -> tuple[Frequent, ...]:
    """TestGen's JSON from 5.134 on; the text of older versions says nothing that could be relied on."""
    try:
        found = json.loads(text or "null")
        return tuple(Frequent(str(entry["value"]), int(entry["ct"])) for entry in found["values"])
    except (ValueError, TypeError, KeyError):
        return ()


def read_anomalies(rows: Sequence[Row], reader: Reader) -> tuple[Anomaly, ...]:
    """The anomalies: the surest first, then by table and column."""
    anomalies = [_anomaly(row, reader) for row in rows]
    return tuple(sorted(anomalies, key=lambda a: (a.likelihood.rank, a.table or "", a.column or "", a.name, a.id)))


def _anomaly(row: Row, reader: Reader) -> Anomaly:
    detail = reader.text(row, "detail")
    if detail and not reader.samples and not counted(reader.text(row, "anomaly_type")):
        detail = NOT_SHOWN
    return Anomaly(
        id=reader.text(row, "id") or "",
        likelihood=Likelihood.of(reader.text(row, "issue_likelihood")),
        table=reader.text(row, "table_name"),
        column=reader.text(row, "column_name"),
        name=reader.text(row, "anomaly_name") or reader.text(row, "anomaly_type") or "unknown",
        meaning=reader.text(row, "anomaly_description"),
        detail=detail,
        action=reader.text(row, "suggested_action"),
        dimension=reader.text(row, "dq_dimension"),
        disposition=reader.text(row, "disposition"),
        affected_share=reader.number(row, "dq_prevalence"),
    )
