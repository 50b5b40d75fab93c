"""Several runs on a page of plain text, as a mail has it: the worst first, then counts, whatever their number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dqctl.errors import ExitCode
from dqctl.report.model import RunReport
from dqctl.report.results import Status
from dqctl.report.summary import summarize
from dqctl.report.verdict import FailOn, exit_code
from dqctl.report.words import counted, duration, moment

# Lines of suites; with the head, the feet and what was left out it stays below 40.
_ROWS = 30
_WIDEST = 60


@dataclass(frozen=True)
class Night:
    """What there is to say. ``replaced``: by the id of a run that broke, the one that stands in for it.

    ``not_run`` names suites that were asked for and have no run.
    """

    reports: Sequence[RunReport]
    fails_on: Callable[[RunReport], FailOn]
    replaced: Mapping[str, str]
    not_run: Sequence[str] = ()
    published: str = ""

    @property
    def standing(self) -> list[RunReport]:
        """The runs that count."""
        return [report for report in self.reports if report.run.run_id not in self.replaced]


def render_night(night: Night) -> str:
    """The page."""
    judged = [(report, exit_code(report, night.fails_on(report))) for report in night.standing]
    bad = [(report, code) for report, code in judged if code is not ExitCode.DONE]
    bad.sort(key=lambda each: (_RANK[each[1]], -each[0].tally.failed, -each[0].tally.error, _name(each[0])))
    lines = [_head(night, [code for _, code in judged]), *_when(night), ""]
    entries = [*(_bad(report, code) for report, code in bad), *(f"NOT RUN  {name}" for name in night.not_run)]
    shown = entries if len(entries) <= _ROWS else entries[: _ROWS - 1]
    lines += shown
    if left := len(entries) - len(shown):
        lines.append(f"... and {counted(left, 'more suite')} that failed, broke or did not run")
    good = [report for report, code in judged if code is ExitCode.DONE]
    if entries:
        lines.append("")
    lines.append(_good(good))
    if night.replaced:
        lines.append(
            f"{counted(len(night.replaced), 'run')} broke for a reason that passed and "
            f"{'was' if len(night.replaced) == 1 else 'were'} run again"
        )
    if night.published:
        lines.append(night.published)
    return "\n".join(lines)


# Of two suites that are bad, which one somebody has to look at first.
_RANK = {ExitCode.TESTGEN: 0, ExitCode.DATA_TESTS_FAILED: 1}
_WORDS = {ExitCode.TESTGEN: "ERROR  ", ExitCode.DATA_TESTS_FAILED: "FAILED "}


def _head(night: Night, codes: list[ExitCode]) -> str:
    counts = (
        (codes.count(ExitCode.TESTGEN), "errored"),
        (codes.count(ExitCode.DATA_TESTS_FAILED), "failed"),
        (len(night.not_run), "did not run"),
        (codes.count(ExitCode.DONE), "good"),
    )
    said = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    return f"{counted(len(codes) + len(night.not_run), 'suite')}: {said or 'nothing to say'}"


def _when(night: Night) -> list[str]:
    began = [report.run.started_at for report in night.reports if report.run.started_at]
    ended = [report.run.ended_at for report in night.reports if report.run.ended_at]
    if not (began and ended):
        return []
    took = duration((max(ended) - min(began)).total_seconds())
    return [f"stack {night.reports[0].run.stack}, {moment(min(began))}, {took}"]


def _bad(report: RunReport, code: ExitCode) -> str:
    name = _name(report)
    name = name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"
    return f"{_WORDS[code]}  {name}: {_why(report)} (run {report.run.run_id[:8]})"


def _why(report: RunReport) -> str:
    summary = summarize(report)
    if not report.run.completed and summary.sentences:
        said = f"{summary.headline} {summary.sentences[0]}"
    elif report.tally.error and report.tally.failed:
        said = f"{summary.headline} {report.tally.error:,} could not be evaluated."
    elif not report.tally.failed and not report.tally.error:
        said = f"{counted(report.tally.of(Status.WARNING), 'warning')}."
    else:
        said = summary.headline
    said = " ".join(said.split()).rstrip(".")
    return said if len(said) <= 2 * _WIDEST else f"{said[: 2 * _WIDEST - 1]}…"


def _good(good: list[RunReport]) -> str:
    if not good:
        return "no suite is good"
    tests = sum(report.tally.total for report in good)
    warnings = sum(report.tally.warning for report in good)
    empty = sum(1 for report in good if not report.tally.total)
    said = f"good: {counted(len(good), 'suite')} with {counted(tests, 'test')}"
    said += f", {counted(warnings, 'warning')}" if warnings else ""
    return said + (f"; {empty:,} of them without a single test" if empty else "")


def _name(report: RunReport) -> str:
    return f"{report.run.system}/{report.name}"
