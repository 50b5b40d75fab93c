"""``schedule add|list|remove``: crontab lines, systemd timers or the sidecar's, and what they run."""

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, note, pass_on, plain, table

if TYPE_CHECKING:
    from dqctl.services.schedule import Planned


class By(StrEnum):
    """Who starts it."""

    CRON = "cron"
    SYSTEMD = "systemd"
    CONTROLLER = "controller"


DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, change nothing")]
Name = Annotated[str, typer.Argument(help="The schedule's name")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    schedule = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, help="What runs by itself: by cron, systemd or the sidecar."
    )
    schedule.command(
        "add", epilog="Example: dqctl schedule add night --at '30 2 * * *' -- --quiet run-tests --all"
    )(add)
    schedule.command("list", epilog="Example: dqctl schedule list")(list_schedules)
    schedule.command("remove", epilog="Example: dqctl schedule remove night")(remove)
    schedule.command("run", epilog="Example: dqctl schedule run night")(run)
    app.add_typer(schedule, name="schedule")


def add(
    name: Name,
    at: Annotated[str, typer.Option(help="When, as cron has it ('30 2 * * *', @daily), in the machine's time")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="dqctl's arguments [default: --quiet run-tests --all]"),
    ] = None,
    by: Annotated[By, typer.Option(help="Who starts it; controller is dqctl controller run")] = By.CRON,
    timeout: Annotated[float, typer.Option(help="Seconds after which a run is stopped", min=1)] = 86400.0,
    dry_run: DryRun = False,
) -> None:
    """Have a command run by itself; the second time there is nothing to do, another time or command replaces it.

    The settings that variables hold now are kept with the schedule, secrets are not: name files
    (DATABRICKS_TOKEN_FILE). What the controller starts has the controller's settings instead. One run at a time;
    what it says is in its log, and a mail of cron's when it failed.
    """
    from dqctl.services import schedule

    here = context()
    done = schedule.add(
        here.settings,
        name,
        at,
        arguments or [],
        by=by.value,
        timeout=timeout,
        environment=os.environ,
        dry_run=dry_run,
    )
    for each in done.left_out:
        note(f"warning: {each} holds a secret and is not kept: the schedule runs without it; use a file")
    _show(done, name, dry_run)


def list_schedules() -> None:
    """List the stack's schedules, when they are due next, and how they last ended."""
    from dqctl.services import schedule

    found = schedule.listed(context().settings)
    rows = [
        {
            "name": each.schedule.name,
            "at": each.schedule.at,
            "by": each.schedule.by if each.installed else f"{each.schedule.by}: missing, add it again",
            "due": each.due if each.installed else None,
            "last": f"{each.last.started_at}: {each.last.exit_code}" if each.last else None,
            "command": " ".join(each.schedule.arguments),
        }
        for each in found
    ]
    columns = {
        "name": "name",
        "at": "at",
        "by": "by",
        "due": "due next",
        "last": "last run: exit code",
        "command": "dqctl",
    }
    emit(
        {"schedules": [plain(each) for each in found]},
        lambda: table(rows, columns, "no schedules; add one: dqctl schedule add night --at '30 2 * * *'"),
    )


def remove(name: Name, dry_run: DryRun = False) -> None:
    """Have it run no more. Its log stays; lines of the crontab that are not dqctl's are left alone."""
    from dqctl.services import schedule

    _show(schedule.remove(context().settings, name, dry_run=dry_run), name, dry_run)


def run(name: Name) -> None:
    """Run it now, as cron and systemd do: said is what did not go well, the log has everything."""
    from dqctl.services import schedule

    code = schedule.run(context().settings, name, lambda line, error: pass_on(line, error=error))
    sys.exit(code)


def _show(done: "Planned", name: str, dry_run: bool) -> None:
    would = "would be " if dry_run and done.change in ("added", "changed", "removed") else ""
    said = f"schedule {name}: {would}{done.change}"
    texts = [f"{place}:\n{text}" for place, text in done.writes.items()] if dry_run else []
    emit(
        {
            "name": name,
            "change": done.change,
            "dry_run": dry_run,
            "writes": done.writes,
            "left_out": done.left_out,
        },
        lambda: "\n".join([said, *texts]).rstrip(),
    )
