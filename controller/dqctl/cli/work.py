"""``profile``, ``generate``, ``run-tests`` and ``publish``."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Baseline, BaselineOptional, Timeout, Wait
from dqctl.cli.output import emit, note, plain, table, warn
from dqctl.errors import EnvironmentFault, ExitCode, UsageError, worst
from dqctl.report.options import FailOn
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.report.model import RunReport
    from dqctl.report.review import Baseline as ReadBaseline
    from dqctl.report.review import Review
    from dqctl.services.explain import Explanation
    from dqctl.services.export_runs import ExportReport
    from dqctl.services.publish import PublishReport
    from dqctl.services.work import WorkReport


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: dqctl profile flights")(profile)
    app.command(epilog="Example: dqctl generate flights")(generate)
    app.command(
        "run-tests",
        epilog="Example: dqctl run-tests 'sales/*' --parallel 4 --suite-timeout 900 --quiet",
    )(run_tests)
    app.command(epilog="Example: dqctl publish --pending")(publish)


def profile(
    system: Annotated[str, typer.Argument(help="The system to profile")],
    table_group: Annotated[str | None, typer.Option(help="Only this table group")] = None,
    timeout: Timeout = None,
    wait: Wait = None,
) -> None:
    """Profile a system's tables and publish the profile with its anomalies."""
    from dqctl.services import work

    here = context()
    settings = here.settings_with(job_timeout=timeout, lock_timeout=wait)
    _show(work.profile(settings, system, table_group, progress=here.progress))


def generate(
    system: Annotated[str, typer.Argument(help="The system to generate tests for")],
    suite: Annotated[str | None, typer.Option(help="Only this suite")] = None,
    timeout: Timeout = None,
    wait: Wait = None,
) -> None:
    """Generate tests from the newest profile and publish their definitions."""
    from dqctl.services import work

    here = context()
    settings = here.settings_with(job_timeout=timeout, lock_timeout=wait)
    _show(work.generate(settings, system, suite, progress=here.progress))


def run_tests(
    suites: Annotated[
        list[str] | None, typer.Argument(help="Suites, as suite or system/suite; * ? [] make a pattern of it")
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option("--system", help="Suites of this system; may be repeated")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All suites of the stack")] = False,
    parallel: Annotated[
        int | None, typer.Option(help="Suites side by side (DQCTL_PARALLEL) [default: 1]", min=1, max=64)
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="What makes the exit code 1 [default: what the suite's declaration says, else fail]"),
    ] = None,
    suite_timeout: Annotated[
        float | None, typer.Option(help="Seconds for each suite (DQCTL_SUITE_TIMEOUT)", min=1)
    ] = None,
    retry: Annotated[
        bool,
        typer.Option("--retry/--no-retry", help="Run once more what broke for a reason that passes by itself"),
    ] = True,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML; several suites: one file each, named after them")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained HTML page")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown")] = None,
    json: Annotated[Path | None, typer.Option(help="Write JSON")] = None,
    baseline: Baseline = None,
    baseline_optional: BaselineOptional = None,
    summary: Annotated[
        Path | None, typer.Option(help="Write one page of Markdown about all suites, for a pull request")
    ] = None,
    timeout: Timeout = None,
    wait: Wait = None,
) -> None:
    """Run the tests of suites and publish the results.

    Several suites are summed up in a page that fits into a mail, the worst first; with --quiet nothing is said
    when all is good. Other commands may run other suites meanwhile; a suite that one of them runs is busy.

    A baseline is what --output json printed, or --json wrote, of an earlier run, in this stack or in any other.

    Exit codes: 0 the data is good, 1 tests failed (by --fail-on), 4 a job or a test errored, 5 results are safe
    but not published yet, 6 a suite is busy.
    """
    from dqctl.services import work

    here = context()
    files = {"junit": junit, "html": html, "markdown": markdown, "json": json}
    wanted = {form: path for form, path in files.items() if path}
    settings = here.settings_with(
        job_timeout=timeout, lock_timeout=wait, parallel=parallel, suite_timeout=suite_timeout,
        baseline=baseline, baseline_optional=baseline_optional,
    )  # fmt: skip
    names, systems = suites or [], system or []
    if not (names or systems or everything):
        raise UsageError(
            "which suites?", "name them, or run all with --all, or those of --system; see dqctl systems list"
        )
    if (names or systems) and everything:
        raise UsageError("suites are named, and --all is given", "give one or the other")
    # A baseline that cannot be read is a mistake that has to be told before hours of work.
    base = None
    if settings.baseline:
        from dqctl.report.baseline import read_baseline  # hardly any run has one

        base = read_baseline(settings.baseline, optional=settings.baseline_optional)
    report = work.run_tests(
        settings,
        names,
        systems=systems,
        everything=everything,
        limits=work.Limits(settings.parallel, settings.suite_timeout, retry),
        progress=here.progress,
    )
    _show(report, fail_on, wanted, only_bad=here.quiet, base=base, summary=summary)


def publish(
    pending: Annotated[
        bool, typer.Option("--pending", help="Publish what is waiting (this is the default)")
    ] = True,
    again: Annotated[
        list[str] | None, typer.Option(help="Publish this run once more, or all; may be repeated")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only runs that ended then or later (UTC)"),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only say which statements and bytes it would cost")
    ] = False,
    wait: Wait = None,
) -> None:
    """Publish finished runs that are not in Databricks yet, and rows of testgen --publish that wait."""
    from dqctl.services import testgen, work

    del pending
    here = context()
    settings = here.settings_with(lock_timeout=wait)
    begin = since.replace(tzinfo=UTC) if since else None
    if explain:
        found = work.explain_publish(settings, again or (), since=begin, progress=here.progress)
        emit(plain(found) | {"bytes": found.bytes}, lambda: _explained(found))
        return
    report, exported = work.publish_waiting(settings, again or (), since=begin, progress=here.progress)
    calls = testgen.publish_waiting(settings, progress=here.progress)
    for each in calls:
        if each.published:
            note(f"published {counted(each.published.rows, 'row')} to {each.published.table}")
    errors = [each.error for each in calls if each.error] + list(exported.errors if exported else ())
    published = [{"call_id": each.call.call_id, "published": each.published} for each in calls]
    code = worst([error.exit_code for error in errors])
    content = _published(report) | {"calls": published, "exported": _exported(exported)}
    emit(content, lambda: _as_text(report), code, errors)


def _show(
    report: "WorkReport",
    fail_on: FailOn | None = None,
    files: Mapping[str, Path] | None = None,
    *,
    only_bad: bool = False,
    base: "ReadBaseline | None" = None,
    summary: Path | None = None,
) -> None:
    from dqctl.report.document import document, review_document
    from dqctl.report.render import Form, write
    from dqctl.report.review import review

    written, errors = [], list(report.errors)
    reviewed = review(report.standing, lambda each: report.fails_on(each, fail_on), base, report.not_run)
    if summary:
        try:
            write(reviewed, Form.MARKDOWN, summary)
            written.append(str(summary))
            note(f"summary: {summary}")
        except EnvironmentFault as fault:  # what was found is said all the same
            errors.append(fault)
    for form, path in (files or {}).items():
        for each in report.reports:
            target = _path(path, each) if len(report.reports) > 1 else path
            try:
                write(each, Form(form), target, fail_on=report.fails_on(each, fail_on))
            except EnvironmentFault as fault:
                errors.append(fault)
                continue
            written.append(str(target))
            note(f"{form} report: {target}")
    for warning in report.published.warnings if report.published else ():
        note(f"warning: {warning}")
    _warn_of_alerts(report)
    content = {
        "runs": [document(each) for each in report.reports],
        "published": report.published and _published(report.published),
        "files": written,
        "settled": report.settled,
        "retries": report.retries,
        "not_run": report.not_run,
        "fail_on": {each.run.run_id: report.fails_on(each, fail_on) for each in report.reports},
        "alerts": _alerts(report),
        "exported": _exported(report.exported),
        "review": review_document(reviewed) if base else None,
    }
    earned = reviewed.exit_code if base else report.exit_code(fail_on)
    code = worst([earned, *(error.exit_code for error in errors)])
    # A --fail-on that lets failures pass does not make them good: only what a suite's declaration says does.
    is_good = code is ExitCode.DONE and report.exit_code() is ExitCode.DONE
    emit(
        content,
        lambda: "" if is_good and only_bad else said(report, fail_on, reviewed if base else None),
        code,
        errors,
    )


def _warn_of_alerts(report: "WorkReport") -> None:
    # No exit code: this is no verdict on the data, and nothing is lost. But nobody else would say it.
    for error in report.alerts.errors:
        warn(f"{error.message}; {error.hint}")


def _alerts(report: "WorkReport") -> dict[str, Any]:
    found = report.alerts
    return {
        "firing": found.firing,
        "began": len(found.began),
        "resolved": len(found.resolved),
        "sent": found.sent,
        "errors": [{"message": error.message, "hint": error.hint} for error in found.errors],
    }


def _exported(found: "ExportReport | None") -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "to": found.to,
        "target": found.target,
        "runs": found.runs,
        "doubts": found.doubts,
        "refused": found.refused,
    }


def said(report: "WorkReport", fail_on: FailOn | None, reviewed: "Review | None" = None) -> str:
    """What people read about work: the run, or a page about all of them; since a base, what became of tests."""
    from dqctl.report.night import Night, render_night
    from dqctl.report.render import Form, render

    if reviewed:
        return render(reviewed, Form.TERMINAL)
    if len(report.reports) + len(report.not_run) < 2 or any(each.run.kind != "test" for each in report.reports):
        colour = sys.stdout.isatty()
        return "\n".join(render(each, Form.TERMINAL, colour=colour).rstrip() for each in report.reports)
    return render_night(
        Night(
            report.reports,
            lambda each: report.fails_on(each, fail_on),
            {each.run_id: each.again_as for each in report.retries},
            report.not_run,
            f"results: {report.published.target}" if report.published else "",
        )
    )


def _path(path: Path, report: "RunReport") -> Path:
    """Where the report of one of several suites goes."""
    name = f"{path.stem}-{report.run.system}-{report.name}".replace("/", "-")
    return path.with_name(name + path.suffix)


def _published(report: "PublishReport") -> dict[str, Any]:
    return {"target": report.target, "runs": report.runs, "rows": report.rows, "warnings": report.warnings}


def _as_text(report: "PublishReport") -> str:
    if not report.runs:
        return f"nothing is waiting to be published to {report.target}"
    rows = counted(sum(report.rows.values()), "row")
    return f"published {counted(len(report.runs), 'run')} with {rows} to {report.target}"


def _explained(found: "Explanation") -> str:
    if not found.steps:
        return (
            f"nothing is waiting to be published to {found.target}: no statement, and nothing wakes the warehouse"
        )
    rows = [{"kind": step.kind, "table": step.table, "bytes": f"{step.bytes:,}"} for step in found.steps]
    return "\n".join(
        [
            table(rows, {"kind": "statement", "table": "table", "bytes": "bytes"}, ""),
            f"{counted(found.runs, 'run')} with {counted(found.rows, 'row')} in "
            f"{counted(found.batches, 'batch', 'batches')}: {counted(len(found.steps), 'statement')}, "
            f"{found.bytes:,} bytes, one session with {found.target}, which wakes a warehouse that sleeps once",
        ]
    )
