"""``export``: results to other systems."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import emit, note, plain, table
from dqctl.errors import UsageError
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.services.export import ExportReport


class Receiver(StrEnum):
    """What results can be handed over to."""

    OBSERVABILITY = "observability"
    OPENLINEAGE = "openlineage"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dqctl export 'sales/*' --to observability --dry-run")(export)


def export(
    suites: Annotated[
        list[str] | None,
        typer.Argument(help="Only these, as suite or system/suite; * ? [] make a pattern of it"),
    ] = None,
    to: Annotated[Receiver, typer.Option("--to", help="What takes the results")] = Receiver.OBSERVABILITY,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Only this run: its id, or the beginning of it; may be repeated"),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only runs that ended then or later (UTC)"),
    ] = None,
    url: Annotated[str | None, typer.Option(help="URL of Observability's API (DQCTL_OBSERVABILITY_URL)")] = None,
    file: Annotated[
        Path | None, typer.Option(help="OpenLineage: append the events to this file, one a line", dir_okay=False)
    ] = None,
    with_samples: Annotated[
        bool,
        typer.Option(
            "--with-samples", help="OpenLineage: also values out of the data, such as a column's largest"
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent")] = False,
    show: Annotated[bool, typer.Option("--show", help="With --dry-run: the first request, as JSON")] = False,
    resend_doubtful: Annotated[
        bool,
        typer.Option(
            "--resend-doubtful", help="Send again what may have been taken, though it may be there twice"
        ),
    ] = False,
    assume_delivered: Annotated[
        bool, typer.Option("--assume-delivered", help="Take what may have been taken for delivered")
    ] = False,
    wait: Wait = None,
) -> None:
    """Hand results over to DataOps Observability or as OpenLineage events, each of them once.

    Everything that waits, unless suites, runs or a time are given. Stopped at any moment, the next one goes on.
    What may have been taken while its answer was lost is not sent again until one of the two options decides.

    Exit codes: 0 all is handed over, 2 a key or setting does not fit, 5 something waits, is refused or in doubt.
    """
    from dqctl.services.export import Destination, Selection, preview
    from dqctl.services.export import export as hand_over
    from dqctl.services.exporting import Doubtful

    if resend_doubtful and assume_delivered:
        raise UsageError("--resend-doubtful and --assume-delivered are both given", "decide for one of them")
    if show and not dry_run:
        raise UsageError("--show needs --dry-run", "add --dry-run: nothing is sent then")
    if to is not Receiver.OPENLINEAGE and (file or with_samples):
        raise UsageError(
            "--file and --with-samples are for OpenLineage", "add --to openlineage, or leave them out"
        )
    doubtful = (
        Doubtful.RESEND if resend_doubtful else Doubtful.ASSUME_DELIVERED if assume_delivered else Doubtful.LEAVE
    )
    here = context()
    settings = here.settings_with(observability_url=url, lock_timeout=wait)
    destination = Destination(to.value, file.absolute() if file else None, with_samples)
    selection = Selection(suites or (), run or (), since.replace(tzinfo=UTC) if since else None)
    report = (
        preview(settings, destination, selection, show=show, progress=here.progress)
        if dry_run
        else hand_over(settings, destination, selection, doubtful=doubtful, progress=here.progress)
    )
    for each in report.doubts if dry_run else ():
        count = counted(len(each.results), "result")
        note(f"in doubt: {count} of run {each.run_id}, {each.begun_at:%Y-%m-%d %H:%M} UTC")
    content = plain(report)
    del content["errors"]
    emit(content, lambda: _as_text(report), report.exit_code, report.errors)


def _as_text(report: "ExportReport") -> str:
    import json

    if report.request is not None:
        return json.dumps(report.request, indent=2, ensure_ascii=False)
    if not report.runs:
        return "" if report.errors else f"nothing is waiting to be exported to {report.target}"
    columns = {"run_id": "run", "kind": "kind", "name": "suite", "results": "results", "requests": "requests"}
    rows = [vars(run) for run in report.runs]
    total = counted(sum(run.results for run in report.runs), "result")
    said = "would be exported" if report.dry_run else "exported"
    return f"{table(rows, columns, '')}\n{total} {said} to {report.target}"
