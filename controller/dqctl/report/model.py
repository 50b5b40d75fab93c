"""One result model of a run, whatever kind it is: every form of a report is made from it and from nothing else.

``build`` makes it from what is published: the run with its rows, and earlier runs of the same suite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dqctl import records
from dqctl.records import Row, RunContent
from dqctl.report.history import Past
from dqctl.report.profiles import Anomaly, ProfiledColumn, read_anomalies, read_columns
from dqctl.report.results import (
    Definition,
    Result,
    Status,
    TableTally,
    Tally,
    by_table,
    read_definitions,
    read_results,
)
from dqctl.report.rows import Reader

# More bars than this nobody tells apart; the tables keep all of history.
_TREND = 30
_NO_PAST = Past()


class Kind(StrEnum):
    """What ran."""

    TEST = "test"
    PROFILE = "profile"
    GENERATE = "generate"


@dataclass(frozen=True)
class Run:
    """The run itself. ``status`` is how TestGen's job ended: completed, error or canceled."""

    run_id: str
    kind: Kind
    status: str
    stack: str
    system: str | None
    table_group: str | None
    test_suite: str | None
    connection: str | None
    schema_name: str | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    error_message: str | None
    tables: int | None
    columns: int | None
    records: int | None
    score: float | None
    testgen_version: str | None
    dqctl_version: str | None

    @property
    def completed(self) -> bool:
        """Whether TestGen's job ended well; what the tests said is another matter."""
        return self.status == "completed"


@dataclass(frozen=True)
class TrendPoint:
    """One run in the history of a suite or table group. ``current`` marks the run that is reported."""

    run_id: str
    started_at: datetime | None
    completed: bool
    tally: Tally
    anomalies: int
    column_errors: int
    score: float | None
    current: bool


@dataclass(frozen=True)
class Subject:
    """A part of the system that was read: where it is."""

    connection: str | None
    flavor: str | None
    host: str | None
    catalog: str | None
    schema_name: str | None
    table_group: str | None
    test_suite: str | None


@dataclass(frozen=True)
class RunReport:
    """Everything that a report says.

    ``results`` has failures first, ``anomalies`` the surest first, ``columns`` the incomplete ones first;
    ``trend`` is oldest first and ends with this run; ``past_runs`` are those earlier runs, the oldest first, that
    the results' ``past`` is about. ``samples``: whether values out of the data are shown (``report.samples``).
    """

    run: Run
    generated_at: datetime
    tally: Tally
    tables: tuple[TableTally, ...]
    results: tuple[Result, ...]
    definitions: tuple[Definition, ...]
    columns: tuple[ProfiledColumn, ...]
    anomalies: tuple[Anomaly, ...]
    subjects: tuple[Subject, ...]
    trend: tuple[TrendPoint, ...]
    past_runs: tuple[str, ...]
    samples: bool

    @property
    def name(self) -> str:
        """What was worked on: the suite, else the table group, else the system."""
        return self.run.test_suite or self.run.table_group or self.run.system or self.run.run_id

    @property
    def incomplete_columns(self) -> tuple[ProfiledColumn, ...]:
        """Columns whose profile is incomplete because a query failed."""
        return tuple(column for column in self.columns if column.error is not None)

    @property
    def sampled_columns(self) -> tuple[ProfiledColumn, ...]:
        """Columns of which only a sample was read."""
        return tuple(column for column in self.columns if column.sampled_share is not None)

    @property
    def previous(self) -> TrendPoint | None:
        """The newest earlier run that completed."""
        return next((point for point in reversed(self.trend) if point.completed and not point.current), None)


def build(
    content: RunContent,
    history: Sequence[Row] = (),
    past: Past = _NO_PAST,
    *,
    generated_at: datetime,
    samples: bool = False,
) -> RunReport:
    """Make the model of one run. Values out of the data are left out unless ``samples`` are wanted.

    ``history`` holds earlier rows of ``dq_runs`` of the same suite or table group, oldest first; rows of other
    kinds and the run itself may be among them and are left out. ``past`` is what its tests came to before.
    """
    reader = Reader(samples=samples)
    run = _run(content.run, reader)
    definitions = content.rows.get(records.TEST_DEFINITIONS.name, ())
    results = read_results(content.rows.get(records.TEST_RESULTS.name, ()), definitions, reader, past)
    columns = read_columns(content.rows.get(records.PROFILE_COLUMNS.name, ()), reader)
    anomalies = read_anomalies(content.rows.get(records.ANOMALIES.name, ()), reader)
    tally = Tally.count(result.status for result in results)
    earlier = [_trend_point(row, reader) for row in history if _is_earlier(row, run)]
    failed = sum(1 for column in columns if column.error is not None)
    this = TrendPoint(run.run_id, run.started_at, run.completed, tally, len(anomalies), failed, run.score, True)
    return RunReport(
        run=run,
        generated_at=generated_at,
        tally=tally,
        tables=by_table(results),
        results=results,
        # A test run carries its suite's definitions to explain its results, not to show them once more.
        definitions=read_definitions(definitions, reader) if run.kind is Kind.GENERATE else (),
        columns=columns,
        anomalies=anomalies,
        subjects=tuple(_subject(row, reader) for row in content.rows.get(records.SYSTEMS.name, ())),
        trend=(*earlier[-_TREND + 1 :], this) if run.kind is not Kind.GENERATE else (),
        past_runs=past.run_ids,
        samples=samples,
    )


def _run(row: Row, reader: Reader) -> Run:
    return Run(
        run_id=reader.text(row, "run_id") or "",
        kind=Kind(row["kind"]),
        status=reader.text(row, "status") or "unknown",
        stack=reader.text(row, "stack") or "",
        system=reader.text(row, "system"),
        table_group=reader.text(row, "table_group"),
        test_suite=reader.text(row, "test_suite"),
        connection=reader.text(row, "connection"),
        schema_name=reader.text(row, "schema_name"),
        started_at=reader.time(row, "started_at"),
        ended_at=reader.time(row, "ended_at"),
        seconds=reader.number(row, "seconds"),
        error_message=reader.error(row, "error_message"),
        tables=reader.count(row, "table_ct"),
        columns=reader.count(row, "column_ct"),
        records=reader.count(row, "record_ct"),
        score=reader.number(row, "dq_score"),
        testgen_version=reader.text(row, "testgen_version"),
        dqctl_version=reader.text(row, "dqctl_version"),
    )


def _is_earlier(row: Row, run: Run) -> bool:
    return row.get("kind") == run.kind and row.get("run_id") != run.run_id


def _trend_point(row: Row, reader: Reader) -> TrendPoint:
    bad = {
        status: reader.count(row, f"{status.name.lower()}_ct") or 0
        for status in (Status.FAILED, Status.ERROR, Status.WARNING, Status.LOG)
    }
    # TestGen's own passed_ct (5.134, update_test_run_stats.sql) counts tests that only log and would have passed.
    passed = max(0, (reader.count(row, "test_ct") or 0) - sum(bad.values()))
    return TrendPoint(
        run_id=reader.text(row, "run_id") or "",
        started_at=reader.time(row, "started_at"),
        completed=row.get("status") == "completed",
        tally=Tally(bad[Status.FAILED], bad[Status.ERROR], bad[Status.WARNING], bad[Status.LOG], passed),
        anomalies=reader.count(row, "anomaly_ct") or 0,
        column_errors=reader.count(row, "column_error_ct") or 0,
        score=reader.number(row, "dq_score"),
        current=False,
    )


def _subject(row: Row, reader: Reader) -> Subject:
    return Subject(
        connection=reader.text(row, "connection"),
        flavor=reader.text(row, "sql_flavor"),
        host=reader.text(row, "host"),
        catalog=reader.text(row, "catalog"),
        schema_name=reader.text(row, "schema_name"),
        table_group=reader.text(row, "table_group"),
        test_suite=reader.text(row, "test_suite"),
    )
