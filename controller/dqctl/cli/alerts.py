"""``alerts list|test``: what fires and who knows it, and whether receivers can be reached."""

from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.output import cell, emit, plain, table
from dqctl.errors import ExitCode, worst

if TYPE_CHECKING:
    from dqctl.services.alerts import Overview


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    alerts = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="What is worth an alert, and who is told."
    )
    alerts.command("list", epilog="Example: dqctl alerts list")(list_alerts)
    alerts.command("test", epilog="Example: dqctl alerts test --route team-chat")(send_test)
    app.add_typer(alerts, name="alerts")


def list_alerts() -> None:
    """List the alerts that fire, since when, who knows them, and receivers that do not answer.

    As the last command or the controller found them: nothing is evaluated or sent. With --output json the rules
    and routes in force too. Rules and routes are declared in the systems file.
    """
    from dqctl.services import alerts

    here = context()
    found = alerts.overview(here.settings, progress=here.progress)
    emit(plain(found), lambda: _shown(found))


def send_test(
    route: Annotated[str | None, typer.Option(help="Only this route [default: all]")] = None,
) -> None:
    """Send a message that says that it is a test, and say what receivers answered.

    Exit codes: 0 all took it, 3 one did not.
    """
    from dqctl.services import alerts

    here = context()
    tried = alerts.try_routes(here.settings, route, progress=here.progress)
    errors = [each.error for each in tried if each.error]
    rows = [
        {"receiver": each.receiver, "answer": each.error.message if each.error else "took it"} for each in tried
    ]
    emit(
        {"receivers": rows},
        lambda: table(rows, {"receiver": "receiver", "answer": "answer"}, ""),
        worst([ExitCode.DONE, *(error.exit_code for error in errors)]),
        errors,
    )


def _shown(found: "Overview") -> str:
    rows = [
        {
            "severity": each.labels.get("severity"),
            "since": each.since,
            "where": "/".join(each.labels[name] for name in ("system", "suite") if name in each.labels),
            "what": each.annotations.get("summary"),
            "rule": each.labels.get("rule"),
            "told": ", ".join(each.told) or "nobody",
        }
        for each in found.firing
    ]
    columns = {name: name for name in ("severity", "since", "where", "what", "rule", "told")}
    empty = "nothing fires" if found.rules else "no alerts are declared: docs/alerts.md"
    silent = [
        f"{each.name} does not answer since {cell(each.failing_since)}: {each.error}"
        for each in found.receivers
        if each.error
    ]
    return "\n".join([table(rows, columns, empty), *silent])
