"""The report as JUnit XML: one suite a run, one case a test, as Jenkins, GitLab and GitHub's readers take it.

A failed test is a ``<failure>``, one that could not be evaluated an ``<error>``; a warning is a failure when
the run is told to fail on warnings, else it passes and says so in ``<system-out>``, as a test that only logs does.
One that TestGen does not judge yet is ``<skipped>``. A profile has a case a column. A job that did not finish is a
case of its own, so that a run without any result does not look like a run in which all is well.

Readers know a test by classname and name, and GitLab drops all but the first that share both. There is no
``file``: no file of a repository is meant. GitLab reads files of up to 30 MB with texts of up to 10 MB, GitHub's
annotations hold 64 KB: messages and texts have an end.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import quoteattr

from dqctl.report.model import Kind, RunReport
from dqctl.report.options import FailOn
from dqctl.report.profiles import ProfiledColumn
from dqctl.report.results import Result, Status
from dqctl.report.summary import summarize
from dqctl.report.verdict import failing

_LONGEST_MESSAGE, _LONGEST_TEXT = 1_000, 20_000
# Characters that XML 1.0 has no way to write, not even as a reference.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Case:
    place: str
    name: str
    outcome: str = ""
    kind: str = ""
    headline: str = ""
    text: str = ""


def render_junit(report: RunReport, fail_on: FailOn) -> str:
    """The report as JUnit XML."""
    cases = list(_cases(report, fail_on))
    outcomes = Counter(case.outcome for case in cases)
    counts = (
        f'tests="{len(cases)}" failures="{outcomes["failure"]}" errors="{outcomes["error"]}" '
        f'skipped="{outcomes["skipped"]}" '
        f'time="{report.run.seconds or 0:.3f}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="dqctl" {counts}>',
        f'<testsuite name={_attribute(report.name)} {counts} timestamp="{_timestamp(report)}">',
        "<properties>",
        *(f"<property name={_attribute(name)} value={_attribute(value)}/>" for name, value in _properties(report)),
        "</properties>",
    ]
    lines += [_element(case) for case in cases]
    lines += ["</testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


def _timestamp(report: RunReport) -> str:
    # The readers' schema knows no zone here: UTC, unsaid.
    return f"{report.run.started_at or report.generated_at:%Y-%m-%dT%H:%M:%S}"


def _properties(report: RunReport) -> Iterator[tuple[str, str]]:
    run = report.run
    named = (
        ("run_id", run.run_id),
        ("kind", run.kind.value),
        ("stack", run.stack),
        ("system", run.system),
        ("table_group", run.table_group),
        ("schema", run.schema_name),
        ("testgen_version", run.testgen_version),
    )
    return ((name, value) for name, value in named if value)


def _cases(report: RunReport, fail_on: FailOn) -> Iterator[_Case]:
    if not report.run.completed or report.run.kind is Kind.GENERATE:
        yield _job(report)
    yield from _numbered([(_result(report, result, fail_on), result) for result in report.results])
    yield from (_column(report, column) for column in report.columns)


def _numbered(cases: Sequence[tuple[_Case, Result]]) -> Iterator[_Case]:
    """The cases, those of one place and name told apart by a number that stays when outcomes change."""
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for case, result in cases:
        alike.setdefault((case.place, case.name), []).append((result.definition_id or "", result.id))
    for case, result in cases:
        known = alike[case.place, case.name]
        if len(known) > 1 and (number := sorted(known).index((result.definition_id or "", result.id)) + 1) > 1:
            yield replace(case, name=f"{case.name} #{number}")
        else:
            yield case


def _job(report: RunReport) -> _Case:
    place, name = f"{report.name}.job", f"{report.run.kind.value} job"
    summary = summarize(report)
    if report.run.completed:
        return _Case(place, name, text=f"{summary.headline} {' '.join(summary.sentences)}")
    return _Case(place, name, "error", "job", summary.headline, report.run.error_message or summary.headline)


def _result(report: RunReport, result: Result, fail_on: FailOn) -> _Case:
    place = ".".join((report.name, result.table or "no table"))
    name = f"{result.about}: {result.name}" if result.column else result.name
    headline = f"{result.status.value}: {result.message or 'no message'}"
    text = "\n".join(_explanation(result))
    if result.status is Status.ERROR:
        return _Case(place, name, "error", result.test_type, headline, text)
    if result.skipped:
        return _Case(place, name, "skipped", headline=headline)
    # A failed test is a failure here even where --fail-on is more lenient: the file says what is, not what counts.
    if result.status is Status.FAILED or result.status in failing(fail_on):
        return _Case(place, name, "failure", result.test_type, headline, text)
    return _Case(place, name, text="" if result.status is Status.PASSED else f"{headline}\n{text}")


def _explanation(result: Result) -> Iterator[str]:
    if result.checks:
        yield result.checks
    if result.message:
        yield result.message
    if result.measure is not None:
        yield f"Measured: {result.measure}{f' ({result.unit})' if result.unit else ''}"
    if result.threshold is not None:
        yield f"Threshold: {result.threshold}"
    yield from (f"{parameter.meaning}: {parameter.value}" for parameter in result.further_parameters)
    if result.id:
        yield f"Result: {result.id}"


def _column(report: RunReport, column: ProfiledColumn) -> _Case:
    place = ".".join((report.name, column.table or "no table"))
    name = f"{column.column or 'no column'}: profile"
    if column.error is None:
        return _Case(place, name)
    return _Case(place, name, "error", "query_error", "The profile of this column is incomplete.", column.error)


def _element(case: _Case) -> str:
    opening = f'<testcase classname={_attribute(case.place)} name={_attribute(case.name)} time="0"'
    if case.outcome == "skipped":
        return f"{opening}><skipped message={_attribute(_shortened(case.headline, _LONGEST_MESSAGE))}/></testcase>"
    if case.outcome:
        attributes = (
            f"message={_attribute(_shortened(case.headline, _LONGEST_MESSAGE))} type={_attribute(case.kind)}"
        )
        return f"{opening}><{case.outcome} {attributes}>{_text(case.text)}</{case.outcome}></testcase>"
    if case.text:
        return f"{opening}><system-out>{_text(case.text)}</system-out></testcase>"
    return f"{opening}/>"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(text: str) -> str:
    plain = _ILLEGAL.sub("", _shortened(text, _LONGEST_TEXT))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    # A line end as such is read back as a space: quoteattr writes it as a reference.
    return quoteattr(_ILLEGAL.sub("", text))
