"""What monitoring asks of a stack, as Prometheus reads it (text format 0.0.4, also that of textfiles).

Times are absolute (``*_timestamp_seconds``): an age would stand still in a file that nobody writes any more.
Labels are names of suites and table groups, never of tests: the number of series does not grow with tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dqctl.records import Row

SUBJECTS = 500
"""Suites and table groups that get series of their own: those that ran last."""

SCHEDULES = 100
"""Schedules that get series of their own: those that ran last."""

_SUBJECT = ("kind", "system", "table_group", "suite")
_OUTCOMES = ("passed", "failed", "warning", "error", "log")


@dataclass(frozen=True)
class Newest:
    """The newest run of one kind of a suite or table group (a row of ``dq_runs``), and when one completed last."""

    run: Row
    last_success: datetime | None


@dataclass(frozen=True)
class Scheduled:
    """How the newest run of a schedule ended, and when."""

    name: str
    ended_at: datetime
    exit_code: int


@dataclass(frozen=True)
class Measures:
    """A stack at one moment. Times are UTC; what is not known is None, and no series then.

    ``up``: the metadata database answers; without it everything from ``newest`` on is unknown, unless it is
    ``asleep`` (Lakebase, which is not woken to be asked) and was asked before. ``newest`` are at most
    ``SUBJECTS``, the newest first. ``underway`` counts jobs that run, by kind. ``unpublished`` are finished
    runs that Databricks does not have, ``unpublished_since`` is when the oldest of them ended. ``unsaved`` are
    rows that came or went since the state was saved. ``schedules`` are those that ever ran, at most ``SCHEDULES``.
    """

    stack: str
    at: datetime
    dqctl_version: str
    testgen_version: str
    runtime: str
    up: bool
    changing_version: bool
    asleep: bool = False
    newest_backup: datetime | None = None
    schedules: Sequence[Scheduled] = ()
    newest: Sequence[Newest] = ()
    underway: Mapping[str, int] | None = None
    unpublished: int | None = None
    unpublished_since: datetime | None = None
    state_saved: datetime | None = None
    unsaved: int | None = None


def exposition(measures: Measures) -> str:
    """All of it as one text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(measures))
    return generate_latest(registry).decode()


class _Collector(Collector):
    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        found = self._measures
        yield self._of_stack(
            "info", "What the stack is made of.", 1,
            dqctl_version=found.dqctl_version, testgen_version=found.testgen_version, runtime=found.runtime,
        )  # fmt: skip
        yield self._of_stack("up", "1 when the stack's metadata database answers.", found.up)
        yield self._of_stack(
            "metadata_asleep", "1 while Lakebase sleeps, which is not woken to be asked.", found.asleep
        )
        yield self._of_stack("collected_timestamp_seconds", "When these numbers were read.", found.at)
        yield self._of_stack(
            "version_change_under_way", "1 while an upgrade or a rollback is not ended.", found.changing_version
        )
        yield self._of_stack("backup_timestamp_seconds", "When the newest backup was made.", found.newest_backup)
        yield from self._schedules()
        yield self._of_stack(
            "unpublished_runs", "Finished runs whose results are not in Databricks.", found.unpublished
        )
        yield self._of_stack(
            "unpublished_since_timestamp_seconds", "When the oldest of them ended.", found.unpublished_since
        )
        yield self._of_stack(
            "state_saved_timestamp_seconds",
            "When TestGen's metadata was last saved in Databricks.",
            found.state_saved,
        )
        yield self._of_stack("state_unsaved_rows", "Rows that came or went since then.", found.unsaved)
        if found.underway is not None:
            yield self._underway(found.underway)
        yield from self._runs()

    def _of_stack(self, name: str, text: str, value: float | datetime | None, **labels: str) -> Metric:
        family = GaugeMetricFamily(f"dqctl_{name}", text, labels=["stack", *labels])
        if value is not None:
            family.add_metric([self._measures.stack, *labels.values()], _number(value))
        return family

    def _schedules(self) -> Iterator[Metric]:
        labels = ["stack", "schedule"]
        ended = GaugeMetricFamily(
            "dqctl_schedule_timestamp_seconds", "When the newest run of a schedule ended.", labels=labels
        )
        code = GaugeMetricFamily(
            "dqctl_schedule_exit_code", "What it ended with; below 0: the signal that ended it.", labels=labels
        )
        for each in self._measures.schedules:
            ended.add_metric([self._measures.stack, each.name], _number(each.ended_at))
            code.add_metric([self._measures.stack, each.name], each.exit_code)
        yield ended
        yield code

    def _underway(self, counts: Mapping[str, int]) -> Metric:
        family = GaugeMetricFamily("dqctl_runs_in_progress", "Runs that have not ended.", labels=["stack", "kind"])
        for kind in ("profile", "generate", "test"):
            family.add_metric([self._measures.stack, kind], counts.get(kind, 0))
        return family

    def _runs(self) -> Iterator[Metric]:
        yield self._of_runs("run_timestamp_seconds", "When the newest run ended.", "ended_at")
        yield self._of_runs("run_duration_seconds", "How long the newest run took.", "seconds")
        yield self._of_runs("run_score", "TestGen's score of the newest run, 0 to 1.", "dq_score")
        yield self._of_runs("run_anomalies", "Anomalies that the newest profile found.", "anomaly_ct")
        yield self._of_runs(
            "run_columns_with_errors", "Columns that the newest profile could not read.", "column_error_ct"
        )
        success = self._family("run_success_timestamp_seconds", "When a run completed last.")
        completed = self._family("run_completed", "1 when the newest run completed, whatever its tests say.")
        for each in self._measures.newest:
            completed.add_metric(self._labels(each.run), float(each.run["status"] == "completed"))
            if each.last_success is not None:
                success.add_metric(self._labels(each.run), _number(each.last_success))
        yield success
        yield completed
        results = self._family("run_results", "Results of the newest test run.", "status")
        for each in self._measures.newest:
            for outcome in _OUTCOMES:
                if (count := each.run[f"{outcome}_ct"]) is not None:
                    results.add_metric([*self._labels(each.run), outcome], count)
        yield results

    def _of_runs(self, name: str, text: str, column: str) -> Metric:
        family = self._family(name, text)
        for each in self._measures.newest:
            if (value := each.run[column]) is not None:
                family.add_metric(self._labels(each.run), _number(value))
        return family

    def _family(self, name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"dqctl_{name}", text, labels=["stack", *_SUBJECT, *labels])

    def _labels(self, run: Row) -> list[str]:
        # A profile has no suite: an empty label is none.
        values = (run["kind"], run["system"], run["table_group"], run["test_suite"])
        return [self._measures.stack, *(value or "" for value in values)]


def _number(value: float | datetime) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value)
