"""``metrics``: a stack's numbers for Prometheus."""

from pathlib import Path
from typing import Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, note, plain


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dqctl metrics --file /var/lib/prometheus/node-exporter/dqctl.prom")(metrics)


def metrics(
    file: Annotated[
        Path | None,
        typer.Option(help="Write them there, for node-exporter's textfile collector", dir_okay=False),
    ] = None,
) -> None:
    """Show the stack's numbers as Prometheus reads them: runs, results, what is not published or not saved.

    It starts, changes and wakes nothing. With DQCTL_METRICS_FILE set, every command that works writes the file.
    """
    from dqctl.report.metrics import exposition
    from dqctl.services.metrics import measure, write

    settings = context().settings
    if file is not None:
        write(settings, file)
        note(f"wrote {file}")
        emit({"file": str(file)}, lambda: "")
        return
    found = measure(settings)
    emit(plain(found), lambda: exposition(found))
