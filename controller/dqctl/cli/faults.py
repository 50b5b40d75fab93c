"""``workspace fault add|load|list|hits|clear``: trouble on request, in the local workspace."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, table
from dqctl.localworkspace.faults import Effect, Kind
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.localworkspace.endpoint import Endpoint

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Trouble on request: slow, refused, lost, cut and conflicting statements, until the workspace stops.",
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Data directory (DQCTL_WORKSPACE) [default: workspaces/<stack> below the home of all stacks]"
    ),
]


@app.command(epilog="Example: dqctl workspace fault add lost --matching 'INSERT INTO .*dq_runs' --skip 1")
def add(
    effect: Annotated[Effect, typer.Argument(help="What happens; docs/faults.md says more about each")],
    data_dir: DataDir = None,
    kind: Annotated[Kind, typer.Option(help="Which requests")] = Kind.STATEMENT,
    matching: Annotated[
        str, typer.Option(help="Regular expression, looked for in the statement, or in METHOD and path")
    ] = "",
    skip: Annotated[int, typer.Option(help="Spare so many of them first", min=0)] = 0,
    every: Annotated[int, typer.Option(help="Then hit every so-manieth", min=1)] = 1,
    times: Annotated[int, typer.Option(help="So often in all; 0: until it is cleared", min=0)] = 1,
    seconds: Annotated[
        float, typer.Option(help="delay: how long; hang: for how long; stop: how long a start takes", min=0)
    ] = 0,
    status: Annotated[int, typer.Option(help="status: the HTTP status", min=400, max=599)] = 503,
    retry_after: Annotated[
        int | None, typer.Option(help="status: seconds in the header Retry-After [default: no header]", min=0)
    ] = None,
    error_class: Annotated[
        str, typer.Option(help="error: Databricks' name of the error")
    ] = "DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES",
    message: Annotated[str, typer.Option(help="error: its text [default: Databricks' own]")] = "",
    sqlstate: Annotated[str, typer.Option(help="error: its SQLSTATE [default: Databricks' own]")] = "",
    probability: Annotated[float, typer.Option(help="Hit only so many of those, 1 being all", min=0, max=1)] = 1.0,
    seed: Annotated[int, typer.Option(help="Which ones: the same seed, the same ones")] = 0,
) -> None:
    """Put a fault at the end of the script."""
    from dqctl.errors import UsageError
    from dqctl.localworkspace import client
    from dqctl.localworkspace.faults import Fault

    try:
        fault = Fault(
            effect,
            kind,
            matching,
            skip,
            every,
            times,
            seconds,
            status,
            retry_after,
            error_class,
            message,
            sqlstate,
            probability,
            seed,
        )
    except ValueError as error:
        raise UsageError(str(error), "see dqctl workspace fault add --help") from error
    endpoint = _endpoint(data_dir)
    number = _told(lambda: client.add_fault(endpoint, fault))
    emit({"id": number}, lambda: f"fault {number} is on; dqctl workspace fault clear ends it")


@app.command("list", epilog="Example: dqctl --output json workspace fault list")
def list_(data_dir: DataDir = None) -> None:
    """Show the script: requests that each fault matched so far, and those that it hit."""
    from dqctl.localworkspace import client

    endpoint = _endpoint(data_dir)
    faults = _told(lambda: list(client.list_faults(endpoint)))
    columns = ("id", "effect", "kind", "matching", "skip", "every", "times", "matched", "hit")
    emit({"faults": faults}, lambda: table(faults, {name: name for name in columns}, "no faults"))


@app.command(epilog="Example: dqctl workspace fault load faults.json")
def load(
    file: Annotated[Path, typer.Argument(help='JSON: {"faults": [{"effect": "lost", "skip": 1}]}; - is stdin')],
    data_dir: DataDir = None,
) -> None:
    """Replace the script by that of a file, all of it or nothing."""
    from dqctl.errors import UsageError
    from dqctl.localworkspace import client
    from dqctl.localworkspace.faults import faults_from

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        faults = faults_from(json.loads(text))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is no script of faults: {error}", "docs/faults.md describes one") from error
    endpoint = _endpoint(data_dir)
    numbers = _told(lambda: list(client.load_faults(endpoint, faults)))
    emit({"ids": numbers}, lambda: f"{counted(len(numbers), 'fault')} on; dqctl workspace fault clear ends them")


@app.command(epilog="Example: dqctl --output json workspace fault hits")
def hits(data_dir: DataDir = None) -> None:
    """Show which requests met a fault, and when, since the script was cleared last."""
    from datetime import UTC, datetime

    from dqctl.localworkspace import client

    endpoint = _endpoint(data_dir)
    found = _told(lambda: list(client.list_hits(endpoint)))
    columns = ("number", "at", "fault", "effect", "kind", "subject")
    shown = [each | {"at": datetime.fromtimestamp(each["at"], UTC).isoformat()} for each in found]
    emit({"hits": shown}, lambda: table(shown, {name: name for name in columns}, "nothing was hit"))


@app.command(epilog="Example: dqctl workspace fault clear")
def clear(
    number: Annotated[int | None, typer.Argument(metavar="[ID]", help="Only this one, by its id")] = None,
    data_dir: DataDir = None,
) -> None:
    """Forget all of them and what was hit, let expired tokens in again, and have the warehouse run."""
    from dqctl.localworkspace import client

    endpoint = _endpoint(data_dir)
    if number is not None:
        _told(lambda: client.remove_fault(endpoint, number))
        emit({"cleared": 1}, lambda: f"fault {number} is off")
        return
    left = _told(lambda: client.clear_faults(endpoint))
    emit({"cleared": left}, lambda: f"cleared; {counted(left, 'fault')} could still have happened")


def _endpoint(data_dir: Path | None) -> "Endpoint":
    from dqctl.services.target import find_endpoint

    settings = context().settings_with(workspace=data_dir)
    return find_endpoint(settings.workspace or settings.home / "workspaces" / settings.stack)


def _told(ask: Any) -> Any:
    from dqctl.errors import EnvironmentFault
    from dqctl.localworkspace.client import NoAnswer

    try:
        return ask()
    except NoAnswer as error:
        raise EnvironmentFault(str(error), "see dqctl workspace status") from error
