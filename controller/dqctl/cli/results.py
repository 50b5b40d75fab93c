"""``runs``, ``results``, ``anomalies``, ``definitions`` and ``report``: reading back."""

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, note, table
from dqctl.report.options import Form

_RUN = Annotated[str, typer.Argument(help="The run: its id, the beginning of it, or latest")]


class Kind(StrEnum):
    """Kinds of runs."""

    PROFILE = "profile"
    GENERATE = "generate"
    TEST = "test"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: dqctl runs --kind test --limit 10")(runs)
    app.command(epilog="Example: dqctl results latest --failed")(results)
    app.command(epilog="Example: dqctl --output json anomalies latest")(anomalies)
    app.command(epilog="Example: dqctl definitions flights-quality")(definitions)
    app.command(epilog="Example: dqctl report latest --format html --file report.html")(report)


def runs(
    kind: Annotated[Kind | None, typer.Option(help="Only runs of this kind")] = None,
    suite: Annotated[str, typer.Option(help="Only runs of this suite")] = "",
    limit: Annotated[int, typer.Option(help="How many, the newest first", min=1)] = 20,
) -> None:
    """List finished runs, the newest first."""
    from dqctl.services import results as reading

    with _reader() as reader:
        found = reading.runs(reader, kind.value if kind else "", suite, limit)
    columns = {
        "run_id": "run",
        "kind": "kind",
        "status": "status",
        "system": "system",
        "test_suite": "suite",
        "started_at": "started (UTC)",
        "seconds": "s",
        "test_ct": "tests",
        "failed_ct": "failed",
        "warning_ct": "warned",
        "error_ct": "errors",
    }
    emit({"runs": found}, lambda: table(found, columns, "no run has finished yet"))


def results(
    run: _RUN = "latest",
    failed: Annotated[bool, typer.Option("--failed", help="Leave out what passed")] = False,
) -> None:
    """Show the results of a test run, errored tests included."""
    rows = _rows(run, "test", "dq_test_results")
    shown = [row for row in rows if not failed or row["result_status"] != "Passed"]
    columns = {
        "result_status": "status",
        "table_name": "table",
        "column_names": "column",
        "test_type": "test",
        "result_measure": "measure",
        "threshold_value": "threshold",
        "result_message": "message",
    }
    _emit_rows("results", shown, columns, "no results")


def anomalies(run: _RUN = "latest") -> None:
    """Show the anomalies that a profile found."""
    rows = _rows(run, "profile", "dq_anomalies")
    columns = {
        "issue_likelihood": "likelihood",
        "table_name": "table",
        "column_name": "column",
        "anomaly_name": "anomaly",
        "detail": "detail",
    }
    _emit_rows("anomalies", rows, columns, "no anomalies")


def definitions(
    suite: Annotated[str, typer.Argument(help="The suite: its name, or the beginning of its id")],
) -> None:
    """Show the test definitions of a suite as they are now."""
    from dqctl.services import results as reading

    with _reader() as reader:
        found = reading.definitions(reader, suite)
        judged = reading.judgements(reader, suite)
    columns = {
        "table_name": "table",
        "column_name": "column",
        "test_type": "test",
        "threshold_value": "threshold",
        "test_active": "active",
    }
    empty = "the suite has no tests; run: dqctl generate SYSTEM"
    emit({"definitions": found, "judged": judged}, lambda: table(found, columns, empty))


def report(
    run: _RUN = "latest",
    form: Annotated[Form, typer.Option("--format", help="What to make")] = Form.TERMINAL,
    file: Annotated[Path | None, typer.Option(help="Where to write it [default: stdout]")] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Compare with this test run: its id, the beginning of it, or previous (of the suite)"),
    ] = None,
    with_samples: Annotated[
        bool, typer.Option("--with-samples", help="Show values out of the data, which are left out otherwise")
    ] = False,
) -> None:
    """Make a report of a run, or compare it with another."""
    from dqctl.report import render
    from dqctl.report.document import as_document
    from dqctl.services.reports import comparison_of, report_of

    with _reader() as reader:
        made = (
            report_of(reader, run, samples=with_samples)
            if compare is None
            else comparison_of(reader, run, compare, samples=with_samples)
        )
    if file is None:
        text = render.render(made, form, colour=sys.stdout.isatty()).rstrip()
        emit(as_document(made), lambda: text)
        return
    render.write(made, form, file)
    emit({"run_id": made.run.run_id, "file": str(file)}, lambda: str(file))


def _reader() -> Any:
    from dqctl.runtime import open_runtime
    from dqctl.services import results as reading

    here = context()
    return reading.open_reader(open_runtime(here.settings, here.progress), here.settings.stack)


def _rows(run: str, kind: str, name: str) -> Sequence[Mapping[str, Any]]:
    from dqctl.services import results as reading

    with _reader() as reader:
        content = reading.run(reader, run, kind)
    note(f"{kind} run {content.run['run_id']}, {content.run['status']}")
    return content.rows[name]


def _emit_rows(name: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], empty: str) -> None:
    emit({name: rows}, lambda: table(rows, columns, empty))
