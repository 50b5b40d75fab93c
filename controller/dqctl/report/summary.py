"""What a run comes to, in words for a person who was not there."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from dqctl.report.model import Kind, RunReport
from dqctl.report.profiles import ANSI_REMEDY, is_ansi
from dqctl.report.words import count, counted, enumeration, moment, share


class Level(StrEnum):
    """How good or bad it is, the best first."""

    GOOD = "good"
    EMPTY = "empty"
    WARNING = "warning"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    BROKEN = "broken"


@dataclass(frozen=True)
class Summary:
    """The run in words: a headline, sentences that explain it, and what to do next, if anything."""

    level: Level
    headline: str
    sentences: tuple[str, ...]
    remedies: tuple[str, ...] = ()


def summarize(report: RunReport) -> Summary:
    """What to tell somebody who was not there."""
    if not report.run.completed:
        return _broken(report)
    say = {Kind.TEST: _tests, Kind.PROFILE: _profile, Kind.GENERATE: _generation}[report.run.kind]
    return say(report)


_WORK = {Kind.TEST: "test run", Kind.PROFILE: "profile", Kind.GENERATE: "test generation"}


def _broken(report: RunReport) -> Summary:
    cancelled = report.run.status == "canceled"
    sentences = [_first_line(report.run.error_message)] if report.run.error_message else []
    if report.tally.total:
        sentences.append(f"{counted(report.tally.total, 'test')} had a result by then; the others have none.")
    sentences.append("Nothing that is said here about the data is complete.")
    return Summary(
        Level.BROKEN,
        f"The {_WORK[report.run.kind]} {'was cancelled' if cancelled else 'did not finish'}.",
        tuple(sentences),
        () if cancelled else ("Run it again when the cause is gone.",),
    )


def _first_line(text: str) -> str:
    """What stands at the front of an error that may be a whole traceback."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= 300 else line[:299] + "…"


def _tests(report: RunReport) -> Summary:
    tally = report.tally
    if not tally.total:
        return Summary(
            Level.EMPTY,
            "No test was run.",
            ("The suite has no active tests, so nothing is known about the data.",),
            ("`dqctl generate SYSTEM` makes tests from the latest profile.",),
        )
    sentences = []
    if tally.failed:
        level, headline = Level.FAILED, f"{_of(tally.failed, tally.total)} failed."
        sentences.append(_where(report))
    elif tally.error:
        level, headline = Level.INCOMPLETE, f"{_of(tally.error, tally.total)} could not be evaluated."
    elif tally.warning:
        warn = "warns" if tally.warning == 1 else "warn"
        level = Level.WARNING
        headline = f"No test failed; {tally.warning:,} of {counted(tally.total, 'test')} {warn}."
    elif tally.passed:
        level = Level.GOOD
        headline = "The test passed." if tally.total == 1 else f"All {counted(tally.passed, 'test')} passed."
    else:
        level, headline = Level.GOOD, f"No test failed; all {tally.log:,} only log."
    sentences += _comparison(report) + _rest(report, headline)
    remedies = ("A test that could not be evaluated says nothing about the data: its message has the cause.",)
    return Summary(level, headline, tuple(sentences), remedies if tally.error else ())


def _of(number: int, total: int) -> str:
    return "The only test" if total == 1 else f"{number:,} of {total:,} tests"


def _where(report: RunReport) -> str:
    """The tables with failures, the worst by name."""
    failing = [(entry.table or "no table", entry.tally.failed) for entry in report.tables if entry.tally.failed]
    if len(failing) == 1:
        return f"{'It is' if failing[0][1] == 1 else 'All of them are'} in {failing[0][0]}."
    shown = [f"{table} ({number:,})" for table, number in failing]
    if len(shown) > 5:
        shown = [*shown[:4], f"{len(shown) - 4:,} more tables"]
    return f"They are in {enumeration(shown)}."


def _comparison(report: RunReport) -> list[str]:
    """This run beside the one before, if there is one."""
    before, failed = report.previous, report.tally.failed
    if before is None:
        return []
    when = f"the run before ({moment(before.started_at)})"
    if failed == before.tally.failed:
        return [f"In {when} it was {'none' if not failed else 'as many'}, too."]
    more = failed > before.tally.failed
    return [f"{abs(failed - before.tally.failed):,} {'more' if more else 'fewer'} failed than in {when}."]


def _rest(report: RunReport, headline: str) -> list[str]:
    """What the headline does not say yet."""
    tally, sentences = report.tally, []
    if tally.error and "evaluated" not in headline:
        sentences.append(f"{counted(tally.error, 'test')} could not be evaluated.")
    if tally.warning and "warn" not in headline:
        sentences.append(f"{counted(tally.warning, 'test warns', 'tests warn')}.")
    if tally.log and "log" not in headline:
        sentences.append(f"{counted(tally.log, 'test only logs', 'tests only log')}.")
    return sentences


def _profile(report: RunReport) -> Summary:
    failed, sampled = report.incomplete_columns, report.sampled_columns
    tables = len({column.table for column in report.columns})
    scope = f"{counted(len(report.columns), 'column')} of {counted(tables, 'table')}"
    if not report.columns:
        return Summary(
            Level.EMPTY,
            "No column was profiled.",
            ("The table group matches no table, or its tables have no columns.",),
            ("Look at its schema and masks: `dqctl systems show SYSTEM`.",),
        )
    sentences = [_anomalies(report)]
    if sampled:
        smallest = min(column.sampled_share or 1 for column in sampled)
        sentences.append(
            f"Of {counted(len(sampled), 'column')} only a sample was read, as little as {share(smallest)} of the "
            "records: figures for them are estimates."
        )
    if not failed:
        return Summary(
            Level.GOOD, f"{scope} {'was' if len(report.columns) == 1 else 'were'} profiled.", tuple(sentences)
        )
    headline = f"{len(failed):,} of {counted(len(report.columns), 'column')} could not be profiled completely."
    return Summary(Level.INCOMPLETE, headline, tuple(sentences), _column_remedies(report))


def _anomalies(report: RunReport) -> str:
    if not report.anomalies:
        return "No anomaly was found."
    likely = Counter(anomaly.likelihood for anomaly in report.anomalies)
    parts = [
        f"{number:,} {likelihood.value.lower().replace('pii', 'PII')}" for likelihood, number in likely.items()
    ]
    return f"{counted(len(report.anomalies), 'anomaly was', 'anomalies were')} found: {enumeration(parts)}."


def _column_remedies(report: RunReport) -> tuple[str, ...]:
    ansi = sum(1 for column in report.incomplete_columns if is_ansi(column.error))
    remedies = []
    if ansi:
        remedies.append(f"ANSI mode made the queries of {counted(ansi, 'column')} fail: {ANSI_REMEDY}.")
    if other := len(report.incomplete_columns) - ansi:
        pronoun = "it" if other == 1 else "them"
        remedies.append(f"The queries of {counted(other, 'column')} failed for the reason given beside {pronoun}.")
    return tuple(remedies)


def _generation(report: RunReport) -> Summary:
    active = [definition for definition in report.definitions if definition.active]
    if not report.definitions:
        return Summary(
            Level.EMPTY,
            "The suite has no tests.",
            ("Nothing in the latest profile called for one, or there is no profile yet.",),
            ("`dqctl profile SYSTEM` reads the tables; generate again afterwards.",),
        )
    tables = counted(len({d.table for d in active}), "table")
    types = counted(len({d.test_type for d in active}), "type")
    sentences = [f"They are of {types}."]
    if idle := len(report.definitions) - len(active):
        sentences.append(f"{counted(idle, 'more is', 'more are')} not active.")
    by_hand = sum(1 for d in active if not d.generated)
    if by_hand:
        sentences.append(f"{by_hand:,} {'was' if by_hand == 1 else 'were'} made by hand.")
    return Summary(
        Level.GOOD, f"The suite has {counted(len(active), 'active test')} on {tables}.", tuple(sentences)
    )


def places(report: RunReport) -> tuple[str, ...]:
    """Where the data is, each place once: ``main.nyc on dbc.example.com (databricks)``."""
    found = []
    for subject in report.subjects:
        place = ".".join(part for part in (subject.catalog, subject.schema_name) if part)
        place += f" on {subject.host}" if subject.host else ""
        place += f" ({subject.flavor})" if subject.flavor and place else ""
        found.append(place.strip())
    return tuple(dict.fromkeys(place for place in found if place))


def scale(report: RunReport) -> str:
    """What was read, in figures: ``5 tables, 53 columns, 376,301 records``."""
    run = report.run
    figures = ((run.tables, "table"), (run.columns, "column"), (run.records, "record"))
    return ", ".join(counted(number, noun) for number, noun in figures if number) or count(None)
