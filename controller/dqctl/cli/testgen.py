"""``testgen``: stock commands inside the stack."""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqctl.cli.context import Output, context
from dqctl.cli.options import Timeout, Wait
from dqctl.cli.output import emit, note, pass_on
from dqctl.errors import DqctlError, EnvironmentFault, ExitCode, UsageError, worst
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.services.testgen import CallReport


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "testgen",
        # What stands behind the first argument is TestGen's, with or without a -- in front of it.
        context_settings={"allow_interspersed_args": False},
        epilog="Example: dqctl --output json testgen -- list-test-suites -pk shop",
    )(stock_command)


def stock_command(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGS", help="What testgen gets", show_default=False)
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Put the rows of a list-* or get-* command into Databricks")
    ] = False,
    publish_kept: Annotated[
        str | None, typer.Option(help="Publish the rows of an earlier call that could not be", metavar="CALL")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Keep the CSV of a list-* or get-* command here")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Pass on what comes on standard input")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Run a command that would hurt the stack, or wait for ever")
    ] = False,
    timeout: Timeout = None,
    wait: Wait = None,
) -> None:
    """Run a stock testgen command inside the stack; its output and its exit code are passed on.

    With --output json the rows of list-* and get-* commands, typed. With --publish they go into the table
    dq_cli_<command>; exit code 5 when they could not: they are kept, and --publish-kept publishes them.
    """
    from dqctl.services import testgen as service

    here = context()
    settings = here.settings_with(job_timeout=timeout, lock_timeout=wait)
    if publish_kept is not None:
        if arguments or publish or csv:
            raise UsageError("--publish-kept runs no command", "give it alone")
        _show(service.publish_kept(settings, publish_kept, progress=here.progress))
        return
    as_json = here.output is Output.JSON
    report = service.call(
        settings,
        arguments or [],
        service.Wishes(rows=as_json, csv=csv is not None, publish=publish, force=force),
        stdin=_standard_input(settings.job_timeout) if stdin else "",
        # JSON is one object on stdout: what TestGen says there becomes a part of it.
        on_line=_nowhere if as_json else pass_on,
        on_error_line=_to_stderr,
        progress=here.progress,
    )
    _show(report, csv)


def _standard_input(seconds: float) -> str:
    """All of it; whoever opened it may never close it."""
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(sys.stdin.read() if sys.stdin else ""), daemon=True)
    reader.start()
    reader.join(seconds)
    if not said:
        raise EnvironmentFault(
            f"standard input did not end within {seconds:.0f} s", "close it, or leave --stdin out; nothing was run"
        )
    return said[0]


def _nowhere(line: str) -> None:
    del line


def _to_stderr(line: str) -> None:
    pass_on(line, error=True)


def _show(report: "CallReport", csv: Path | None = None) -> None:
    errors: list[DqctlError] = [report.error] if report.error else []
    kept = csv is not None and report.csv is not None
    try:
        if csv is not None and report.csv is not None:
            csv.write_bytes(report.csv)
    except OSError as error:  # what was found is said all the same
        kept = False
        errors.append(
            EnvironmentFault(f"{csv}: {error.strerror or error}", "see who owns it, or name another file")
        )
    if published := report.published:
        note(f"published {counted(published.rows, 'row')} to {published.table} of {published.target}")
    elif report.csv is None and "\nOutput written to: ~/" in f"\n{report.stdout}":
        note("that file went with the call: keep it with --csv FILE, or read its rows with --output json")
    if report.rows is not None and report.stored not in (None, len(report.rows)):
        note(
            f"warning: TestGen has {report.stored} of these rows, and shows {len(report.rows)}; see dqctl results"
        )
    code = ExitCode.TESTGEN if report.exit_code else worst([error.exit_code for error in errors])
    document = _document(report) | {"csv": str(csv) if kept else None}
    emit(document, lambda: "", code, errors, passed_on=report.exit_code or None)


def _document(report: "CallReport") -> dict[str, Any]:
    call = report.call
    return {
        "call_id": call.call_id,
        "arguments": call.arguments,
        "ran_at": call.ran_at,
        "testgen_version": call.testgen_version,
        "columns": report.columns,
        "rows": report.rows,
        "stored_rows": report.stored,
        "published": report.published,
        "stdout": report.stdout,
    }
