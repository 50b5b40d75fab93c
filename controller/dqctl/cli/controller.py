"""``controller run|once|unit``: the sidecar."""

import logging
import os
import sys
from typing import Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, note, plain
from dqctl.errors import worst
from dqctl.report.words import counted


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    controller = typer.Typer(
        rich_markup_mode=None,
        no_args_is_help=True,
        help="The sidecar: publishes whatever runs, saves, alerts, keeps schedules.",
    )
    controller.command(epilog="Example: dqctl controller run --listen 127.0.0.1:19187")(run)
    controller.command(epilog="Example: dqctl controller once")(once)
    controller.command(epilog="Example: dqctl controller unit > /etc/systemd/system/dqctl.service")(unit)
    app.add_typer(controller, name="controller")


def run(
    listen: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of /metrics, /healthz, /readyz (DQCTL_CONTROLLER_LISTEN) [default: 127.0.0.1:19187]"
        ),
    ] = None,
) -> None:
    """Stay, see every run that ends, whoever started it, and do what is left to do, until SIGTERM or Ctrl-C.

    It publishes, saves the state, raises alerts, starts schedules that were added with --by controller, and cleans
    up. Of several on one stack one leads, the others wait. What it says is on stderr; with --quiet, trouble only.
    """
    from dqctl.services.controller import loop

    here = context()
    _log(logging.WARNING if here.quiet else logging.INFO)
    loop.run(here.settings_with, listen=listen)


def once(
    told: Annotated[
        bool, typer.Option("--told", help="Get ready, and begin when a line comes on stdin; end without one")
    ] = False,
) -> None:
    """Do once what the sidecar does when a run has ended: publish, save, settle what killed commands left.

    It waits for nobody but another one that publishes, and keeps nobody from working. Exit codes: 0 all is done,
    5 results are safe but not published yet, 7 Databricks refused.
    """
    from dqctl.services.controller import round as rounds

    here = context()
    if told and not sys.stdin.readline():
        return
    done = rounds.go(here.settings, progress=here.progress)
    runs = done.published.runs if done.published else ()
    target = done.published.target if done.published else None
    content = {
        "target": target,
        "runs": [plain(each) for each in runs],
        "settled": [plain(x) for x in done.settled],
    }
    said = [f"published {counted(len(runs), 'run')}" + (f" to {target}" if target else "")]
    if not done.has_target:
        said = ["nothing says where results go: see dqctl install --host, or --workspace"]
    said += [f"settled {counted(len(done.settled), 'job')} that had been left behind"] if done.settled else []
    emit(content, lambda: "\n".join(said), worst([error.exit_code for error in done.errors]), done.errors)


def unit() -> None:
    """Print a unit of systemd's that runs the sidecar; its first line says where it belongs.

    The settings that variables hold now are in it, secrets are not: name files (DATABRICKS_TOKEN_FILE).
    """
    from dqctl.services.controller.unit import render

    text, left_out = render(context().settings, dict(os.environ))
    for each in left_out:
        note(f"warning: {each} holds a secret and is not in the unit: the sidecar runs without it; use a file")
    emit({"unit": text, "left_out": left_out}, lambda: text.rstrip("\n"))


def _log(level: int) -> None:
    """What the sidecar says goes to stderr, a line each, with its time."""
    from dqctl.redaction import RedactingFormatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("dqctl.services.controller")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
