"""Test results and test definitions, as a report shows them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self

from dqctl.records import TEST_DEFINITIONS, Row
from dqctl.report.history import Memory, Past
from dqctl.report.rows import Reader
from dqctl.report.samples import NOT_SHOWN, VALUED_PARAMETERS, VALUED_TESTS


class Status(StrEnum):
    """How a test ended, the worst first. The values are TestGen's own words."""

    FAILED = "Failed"
    ERROR = "Error"
    WARNING = "Warning"
    LOG = "Log"
    PASSED = "Passed"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return _RANKS[self]

    @classmethod
    def of(cls, value: str | None) -> Self:
        """The status that TestGen stored. One that is missing or unknown says that nobody knows: an error."""
        return cls(value) if value in _WORDS else cls("Error")


_RANKS = {status: rank for rank, status in enumerate(Status)}
_WORDS = frozenset(status.value for status in Status)


@dataclass(frozen=True)
class Tally:
    """Tests by status."""

    failed: int = 0
    error: int = 0
    warning: int = 0
    log: int = 0
    passed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.failed + self.error + self.warning + self.log + self.passed

    def of(self, status: Status) -> int:
        """How many have ``status``."""
        return int(getattr(self, status.name.lower()))

    @classmethod
    def count(cls, statuses: Iterable[Status]) -> Self:
        """Count them."""
        return cls(**{status.name.lower(): number for status, number in Counter(statuses).items()})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a test: its name in TestGen, what it means, its value."""

    name: str
    meaning: str
    value: str


@dataclass(frozen=True)
class Result:
    """One test of a test run. ``checks`` says in words what the test checks.

    ``skipped``: TestGen ran it but does not judge it yet, as a monitor in training. ``past`` has a letter for each
    earlier run that the report remembers, the oldest first: F, E, W, L, P as ``Status``, - where the test was not
    run; ``past_measures`` is what was measured then.
    """

    id: str
    status: Status
    table: str | None
    column: str | None
    test_type: str
    name: str
    checks: str | None
    message: str | None
    measure: str | None
    unit: str | None
    threshold: str | None
    severity: str | None
    dimension: str | None
    impact: str | None
    disposition: str | None
    generated: bool | None
    records: int | None
    affected_share: float | None
    definition_id: str | None
    parameters: tuple[Parameter, ...]
    query: str | None
    skipped: bool = False
    past: str = ""
    past_measures: tuple[str | None, ...] = ()

    @property
    def about(self) -> str | None:
        """The column or columns, shortened where a test is about many."""
        return shortened(self.column)

    @property
    def further_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that ``threshold`` does not say already."""
        return tuple(p for p in self.parameters if p.name != "threshold_value" or p.value != self.threshold)


@dataclass(frozen=True)
class TableTally:
    """One table's tests by status; ``table`` is ``None`` for tests that are about no single table."""

    table: str | None
    tally: Tally


@dataclass(frozen=True)
class Definition:
    """One test of a suite, as it is defined."""

    id: str
    active: bool
    table: str | None
    column: str | None
    test_type: str
    checks: str | None
    severity: str | None
    generated: bool
    parameters: tuple[Parameter, ...]
    query: str | None
    note: str | None


# What TestGen joins into input_parameters (5.134, execute_tests_query.InputParameters); definitions hold the same.
_PARAMETERS = (
    *("baseline_ct", "baseline_unique_ct", "baseline_value", "baseline_value_ct", "threshold_value"),
    *("baseline_sum", "baseline_avg", "baseline_sd", "lower_tolerance", "upper_tolerance"),
    *("subset_condition", "groupby_names", "having_condition", "window_date_column", "window_days"),
    *("match_schema_name", "match_table_name", "match_column_names", "match_subset_condition"),
    *("match_groupby_names", "match_having_condition"),
)
_NO_PAST = Past()
_MEANINGS = {name: TEST_DEFINITIONS.column(name).comment.rstrip(".") for name in _PARAMETERS}
# Values are not quoted and may hold "; " themselves: only "; " before a known name ends one.
_BOUNDARY = re.compile(r"(?:^|; )(" + "|".join(sorted(_PARAMETERS, key=len, reverse=True)) + r")=")


def shortened(columns: str | None) -> str | None:
    """A list of columns as ``year, month, day and 16 more``; what is short enough as it is."""
    names = (columns or "").split(", ")
    return columns if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


@lru_cache(maxsize=10_000)
def parameters(text: str | None) -> tuple[Parameter, ...]:
    """Take TestGen's ``name=value; name=value`` apart. What cannot be told apart stays one parameter."""
    if not text:
        return ()
    parts = _BOUNDARY.split(text)
    if parts[0]:
        return (Parameter("input_parameters", "Parameters", text),)
    return tuple(
        Parameter(name, _MEANINGS[name], value) for name, value in zip(parts[1::2], parts[2::2], strict=True)
    )


def read_results(
    rows: Sequence[Row], definitions: Sequence[Row], reader: Reader, past: Past = _NO_PAST
) -> tuple[Result, ...]:
    """The results, failures first, then by table, column and name."""
    queries = {row.get("id"): reader.text(row, "custom_query") for row in definitions if row.get("custom_query")}
    memory = Memory(past, rows)
    results = [_result(row, queries, reader, memory) for row in rows]
    return tuple(
        sorted(results, key=lambda r: (r.status.rank, r.table or "", r.column or "", r.name, r.checks or "", r.id))
    )


def _result(row: Row, queries: Mapping[object, str | None], reader: Reader, memory: Memory) -> Result:
    test_type = reader.text(row, "test_type") or "unknown"
    status = Status.of(reader.text(row, "result_status"))
    message = reader.error(row, "result_message") if status is Status.ERROR else reader.text(row, "result_message")
    measure, threshold = reader.text(row, "result_measure"), reader.text(row, "threshold_value")
    past, past_measures = memory.of(row)
    if test_type in VALUED_TESTS and not reader.samples:
        measure, threshold, past_measures = measure and NOT_SHOWN, threshold and NOT_SHOWN, ()
        message = message if status is Status.ERROR else message and NOT_SHOWN
    return Result(
        id=reader.text(row, "id") or "",
        status=status,
        table=reader.text(row, "table_name"),
        column=reader.text(row, "column_names"),
        test_type=test_type,
        name=reader.text(row, "test_name_short") or test_type.replace("_", " "),
        checks=reader.text(row, "test_description"),
        message=message,
        measure=measure,
        unit=reader.text(row, "measure_uom"),
        threshold=threshold,
        severity=reader.text(row, "severity"),
        dimension=reader.text(row, "dq_dimension"),
        impact=reader.text(row, "impact_dimension"),
        disposition=reader.text(row, "disposition"),
        generated=reader.flag(row, "auto_gen"),
        records=reader.count(row, "dq_record_ct"),
        affected_share=reader.number(row, "dq_prevalence"),
        definition_id=reader.text(row, "test_definition_id"),
        parameters=_shown(parameters(reader.text(row, "input_parameters")), test_type, reader),
        query=queries.get(row.get("test_definition_id")),
        skipped=reader.count(row, "result_code") == -1,
        past=past,
        past_measures=past_measures,
    )


def _shown(found: tuple[Parameter, ...], test_type: str, reader: Reader) -> tuple[Parameter, ...]:
    """The parameters, without those that hold values out of the data where they are not asked for."""
    if reader.samples:
        return found
    hidden = VALUED_PARAMETERS | {"threshold_value"} if test_type in VALUED_TESTS else VALUED_PARAMETERS
    return tuple(Parameter(p.name, p.meaning, NOT_SHOWN) if p.name in hidden else p for p in found)


def by_table(results: Sequence[Result]) -> tuple[TableTally, ...]:
    """Each table's tests by status, the table with most trouble first."""
    statuses: dict[str | None, list[Status]] = {}
    for result in results:
        statuses.setdefault(result.table, []).append(result.status)
    tallies = [TableTally(table, Tally.count(found)) for table, found in statuses.items()]
    return tuple(
        sorted(
            tallies,
            key=lambda t: (-t.tally.failed - t.tally.error, -t.tally.warning, t.table or "", t.table is None),
        )
    )


def read_definitions(rows: Sequence[Row], reader: Reader) -> tuple[Definition, ...]:
    """The definitions of a suite, by table, column and type."""
    definitions = [_definition(row, reader) for row in rows]
    return tuple(sorted(definitions, key=lambda d: (d.table or "", d.column or "", d.test_type, d.id)))


def _definition(row: Row, reader: Reader) -> Definition:
    given = ((name, reader.text(row, name)) for name in _PARAMETERS)
    return Definition(
        id=reader.text(row, "id") or "",
        active=row.get("test_active") == "Y",
        table=reader.text(row, "table_name"),
        column=reader.text(row, "column_name"),
        test_type=reader.text(row, "test_type") or "unknown",
        checks=reader.text(row, "test_description"),
        severity=reader.text(row, "severity"),
        generated=row.get("last_auto_gen_date") is not None,
        parameters=_shown(
            tuple(Parameter(name, _MEANINGS[name], value) for name, value in given if value is not None),
            reader.text(row, "test_type") or "unknown",
            reader,
        ),
        query=reader.text(row, "custom_query"),
        note=reader.text(row, "test_definition_status"),
    )
