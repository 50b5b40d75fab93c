"""The tables of the HTML page: what stands in their rows.

Each table (``Grid``) has a badge, cells and, folded away, facts a row. The first rows stand in the page as HTML,
so that it can be read without a script; all of them travel as data (``payload``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dqctl.report.model import Kind, RunReport
from dqctl.report.profiles import Anomaly, Likelihood, ProfiledColumn
from dqctl.report.results import Definition, Parameter, Result, Status, shortened
from dqctl.report.words import NOTHING, count, moment, share

# Rows that are there without a script.
PAGE = 200

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Badge:
    """A word with the shape and colour that stand for it."""

    kind: str
    word: str


@dataclass(frozen=True)
class Head:
    """A column: its title, whether it holds figures, whether readers choose among its values."""

    title: str
    figures: bool = False
    facet: bool = False


@dataclass(frozen=True)
class GridRow:
    """One row: the number of its badge, its cells, its facts as pairs of label and value, and what it was before.

    ``past`` has a letter for each of the grid's ``runs`` and ``measures`` what was measured then, see ``history``.
    """

    badge: int
    cells: tuple[str, ...]
    facts: Facts
    past: str = ""
    measures: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Grid:
    """One table. Its wide last column unfolds the facts; ``runs`` are those of the rows' past."""

    key: str
    title: str
    badge_title: str
    badges: tuple[Badge, ...]
    heads: tuple[Head, ...]
    rows: tuple[GridRow, ...]
    runs: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[GridRow, ...]:
        """The rows that stand in the page as HTML."""
        return self.rows[:PAGE]

    @property
    def used_badges(self) -> tuple[tuple[int, Badge], ...]:
        """The badges that some row has, with their numbers."""
        return tuple((number, badge) for number, badge in enumerate(self.badges) if self.badge_count(number))

    def badge_count(self, number: int) -> int:
        """How many rows have the badge."""
        return sum(1 for row in self.rows if row.badge == number)


_STATUSES = tuple(Badge(status.name.lower(), status.value) for status in Status)
_KINDS = {
    Likelihood.DEFINITE: "failed",
    Likelihood.LIKELY: "warning",
    Likelihood.POSSIBLE: "log",
    Likelihood.PII: "error",
    Likelihood.UNKNOWN: "log",
}
_LIKELIHOODS = tuple(Badge(_KINDS[likelihood], likelihood.value) for likelihood in Likelihood)
_STATES = (Badge("error", "Incomplete"), Badge("warning", "Sampled"), Badge("passed", "Complete"))
_ACTIVITY = (Badge("passed", "Active"), Badge("log", "Idle"))
_PLACE = (Head("Table", facet=True), Head("Column"))


def grids(report: RunReport) -> tuple[Grid, ...]:
    """The tables of a report, what needs a look first; those without a row are left out."""
    profile = report.run.kind is Kind.PROFILE
    figures = (
        Head("Type"),
        Head("Records", figures=True),
        Head("Missing", figures=True),
        Head("Distinct", figures=True),
    )
    found = (
        Grid(
            "results",
            "Tests",
            "Status",
            _STATUSES,
            (*_PLACE, Head("Test", facet=True), Head("Finding")),
            tuple(_result(result) for result in report.results),
            _past_runs(report),
        ),
        Grid(
            "anomalies",
            "Anomalies",
            "Likelihood",
            _LIKELIHOODS,
            (*_PLACE, Head("Anomaly", facet=True), Head("Detail")),
            tuple(_anomaly(anomaly) for anomaly in report.anomalies),
        ),
        Grid(
            "columns",
            "Columns",
            "Profile",
            _STATES,
            (*_PLACE, *figures, Head("Values" if report.samples else "Remarks")),
            tuple(_column(column, samples=report.samples) for column in report.columns),
        ),
        Grid(
            "definitions",
            "Tests of the suite",
            "State",
            _ACTIVITY,
            (*_PLACE, Head("Type", facet=True), Head("Definition")),
            tuple(_definition(definition) for definition in report.definitions),
        ),
    )
    # A profile that is incomplete says so before it says what it found in the rest.
    first = "columns" if profile and report.incomplete_columns else ""
    return tuple(sorted((grid for grid in found if grid.rows), key=lambda grid: grid.key != first))


def _facts(*pairs: tuple[str, str | None]) -> Facts:
    return tuple((label, value) for label, value in pairs if value)


def _parameters(parameters: tuple[Parameter, ...]) -> Iterator[tuple[str, str]]:
    return ((parameter.meaning, parameter.value) for parameter in parameters)


def _made_by(generated: bool | None) -> str | None:
    return None if generated is None else "TestGen, from a profile" if generated else "a person"


def _result(result: Result) -> GridRow:
    measured = f"{result.measure} ({result.unit})" if result.measure and result.unit else result.measure
    facts = _facts(
        ("What it checks", result.checks),
        ("Columns", result.column if result.column != result.about else None),
        ("Measured", measured),
        ("Threshold", result.threshold),
        *_parameters(result.further_parameters),
        ("Query", result.query),
        ("Records", count(result.records) if result.records is not None else None),
        ("Affected", share(result.affected_share) if result.affected_share else None),
        ("Dimension", result.dimension),
        ("Impact", result.impact),
        ("Severity", result.severity),
        ("Decision", result.disposition),
        ("Made by", _made_by(result.generated)),
        ("Type", result.test_type),
    )
    cells = (result.table or NOTHING, result.about or NOTHING, result.name, result.message or "no message")
    return GridRow(result.status.rank, cells, facts, result.past, result.past_measures)


def _anomaly(anomaly: Anomaly) -> GridRow:
    facts = _facts(
        ("What it means", anomaly.meaning),
        ("What to do", anomaly.action),
        ("Affected", share(anomaly.affected_share) if anomaly.affected_share else None),
        ("Dimension", anomaly.dimension),
        ("Decision", anomaly.disposition),
    )
    cells = (anomaly.table or NOTHING, anomaly.column or NOTHING, anomaly.name, anomaly.detail or NOTHING)
    return GridRow(anomaly.likelihood.rank, cells, facts)


def _past_runs(report: RunReport) -> tuple[str, ...]:
    times = {point.run_id: moment(point.started_at) for point in report.trend}
    return tuple(times.get(run_id, run_id) for run_id in report.past_runs)


def _column(column: ProfiledColumn, *, samples: bool) -> GridRow:
    state = 0 if column.error is not None else 1 if column.sampled_share is not None else 2
    shown = column.lowest, column.highest
    values = " to ".join(value for value in shown if value is not None) or NOTHING
    if not samples:
        values = column.meaning or NOTHING
    elif column.personal_data:
        values = "not shown: may be personal data"
    lengths = f"{count(column.shortest)} to {count(column.longest)} characters" if column.longest else None
    facts = _facts(
        ("Read", f"a sample, {share(column.sampled_share)} of the records" if column.sampled_share else None),
        ("Most frequent", ", ".join(f"{f.value} ({count(f.count)})" for f in column.frequent[:10])),
        ("Average", f"{column.average:,.6g}" if column.average is not None else None),
        ("Length", lengths),
        ("Meaning", column.meaning),
        ("Suggested type", column.suggested_type),
        ("Personal data", column.personal_data),
    )
    cells = (
        column.table or NOTHING,
        column.column or NOTHING,
        column.column_type or NOTHING,
        count(column.records),
        share(column.missing_share),
        count(column.distinct),
        column.error or values,
    )
    return GridRow(state, cells, facts)


def _definition(definition: Definition) -> GridRow:
    facts = _facts(
        ("Columns", definition.column if definition.column != shortened(definition.column) else None),
        *_parameters(definition.parameters),
        ("Query", definition.query),
        ("Severity", definition.severity),
        ("Made by", _made_by(definition.generated)),
        ("Id of the test", definition.id),
    )
    said = (
        definition.note or definition.checks or "; ".join(f"{p.meaning}: {p.value}" for p in definition.parameters)
    )
    cells = (
        definition.table or NOTHING,
        shortened(definition.column) or NOTHING,
        definition.test_type.replace("_", " "),
        said or definition.query or NOTHING,
    )
    return GridRow(0 if definition.active else 1, cells, facts)
