"""``workspace start|stop|status|sql|fault``: the Databricks-compatible endpoint on this machine."""

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqctl.cli import faults
from dqctl.cli.context import context
from dqctl.cli.output import emit, note, plain, table
from dqctl.report.words import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from dqctl.errors import DqctlError
    from dqctl.localworkspace.control import Status, WorkspaceError
    from dqctl.localworkspace.endpoint import Endpoint

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The local workspace.")
app.add_typer(faults.app, name="fault")

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Data directory (DQCTL_WORKSPACE) [default: workspaces/<stack> below the home of all stacks]"
    ),
]


@app.command(epilog="Example: dqctl workspace start --set ANSI_MODE=false")
def start(
    data_dir: DataDir = None,
    port: Annotated[int, typer.Option(help="HTTPS port; 0: that of the last time, else any")] = 0,
    proxy_port: Annotated[int, typer.Option(help="Port of the CONNECT proxy; 0: likewise")] = 0,
    proxy_address: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of this machine where the CONNECT proxy listens beside loopback, for containers; may be "
            "repeated [default: those of the last time; 127.0.0.1: none]"
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="sail, or the URL of a Spark Connect cluster")] = "sail",
    catalog: Annotated[
        list[str] | None, typer.Option(help="Catalog to make; may be repeated [default: main]")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the warehouse, KEY=VALUE; may be repeated")
    ] = None,
    lakebase: Annotated[
        bool, typer.Option("--lakebase", help="With Lakebase from now on: projects of a real PostgreSQL")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds it may take", min=1)] = 60,
) -> None:
    """Start it, unless it runs, and say how clients reach it."""
    from dqctl.localworkspace import control

    directory, pairs = _directory(data_dir), _pairs(settings or [])
    programs = None
    if lakebase:
        from dqctl.services.workspace_programs import ensure_postgres

        programs = ensure_postgres(context().settings, context().progress)
    context().progress(f"starting the local workspace in {directory}")
    try:
        endpoint = control.start(
            directory,
            port=port,
            proxy_port=proxy_port,
            proxy_addresses=proxy_address or (),
            engine=engine,
            catalogs=catalog or ("main",),
            settings=pairs or None,
            postgres_programs=programs,
            timeout=timeout,
        )
    except control.WorkspaceError as error:
        raise _fault(error) from error
    emit(plain(endpoint) | {"environment": endpoint.environment}, lambda: _how_to_use(endpoint))


@app.command(epilog="Example: dqctl workspace stop")
def stop(
    data_dir: DataDir = None,
    timeout: Annotated[float, typer.Option(help="Seconds until it is killed", min=1)] = 20,
) -> None:
    """Stop it; its data stays."""
    from dqctl.localworkspace import control

    directory = _directory(data_dir)
    try:
        stopped = control.stop(directory, timeout)
    except control.WorkspaceError as error:
        raise _fault(error) from error
    said = "stopped; its data stays" if stopped else "does not run"
    emit({"data_dir": str(directory), "stopped": stopped}, lambda: f"the local workspace in {directory} {said}")


@app.command(epilog="Example: dqctl --output json workspace status")
def status(data_dir: DataDir = None) -> None:
    """Show whether it runs and answers; exit code 3 when it does not."""
    from dqctl.errors import EnvironmentFault, ExitCode
    from dqctl.localworkspace import control

    found = control.status(_directory(data_dir))
    if found.answers:
        emit(plain(found), lambda: _described(found))
        return
    wrong = "runs but does not answer" if found.running else "does not run"
    hint = "stop it, then start it" if found.running else "start it"
    error = EnvironmentFault(
        f"the local workspace in {found.data_dir} {wrong}",
        f"{hint}: dqctl workspace {'stop' if found.running else 'start'} --data-dir {quote(str(found.data_dir))}",
    )
    emit(plain(found), lambda: "", ExitCode.ENVIRONMENT, [error])


@app.command(epilog='Example: dqctl workspace sql "SELECT * FROM main.data_quality.dq_runs"')
def sql(
    statement: Annotated[str | None, typer.Argument(help="The statement; without it, or with -, stdin")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run one statement through databricks-sql-connector and print its rows.

    What changes something is sent once: when its answer is lost, the error says that nobody knows what came of it.
    """
    from dqctl.databricks.failures import StatementFailed
    from dqctl.databricks.warehouse import Warehouse
    from dqctl.errors import UsageError
    from dqctl.services.target import find_target

    text = (sys.stdin.read() if statement in (None, "-") else str(statement)).strip().removesuffix(";")
    if not text:
        raise UsageError("no statement is given", "give it as argument or on stdin")
    with Warehouse(find_target(context().settings_with(workspace=_directory(data_dir)))) as warehouse:
        try:
            rows = warehouse.run_given(text)
        except StatementFailed as failure:
            raise UsageError(failure.message, "mend the statement; nothing was changed") from failure
    emit({"columns": rows.column_names, "rows": _values(rows)}, lambda: _drawn(rows))
    note(counted(rows.num_rows, "row"))


def _directory(data_dir: Path | None) -> Path:
    settings = context().settings_with(workspace=data_dir)
    found: Path = settings.workspace or settings.home / "workspaces" / settings.stack
    return found


def _pairs(given: list[str]) -> dict[str, str]:
    from dqctl.errors import UsageError

    pairs = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not (key and equals):
            raise UsageError(f"--set takes KEY=VALUE, not {each!r}", "for example --set ANSI_MODE=false")
        pairs[key] = value
    return pairs


def _fault(error: "WorkspaceError") -> "DqctlError":
    from dqctl.errors import EnvironmentFault

    hint = f"the last lines of its log:\n{error.log_tail}" if error.log_tail else error.hint
    return EnvironmentFault(error.message, hint)


def _how_to_use(endpoint: "Endpoint") -> str:
    return "\n".join(
        [
            f"the local workspace answers at {endpoint.address}:{endpoint.port}",
            "",
            "for dqctl:",
            f"  export DQCTL_WORKSPACE={quote(str(endpoint.data_dir))}",
            f"for other tools (HTTP path {endpoint.http_path}):",
            *(f"  export {name}={quote(value)}" for name, value in endpoint.environment.items()),
            '  export DATABRICKS_TOKEN="$(cat "$DATABRICKS_TOKEN_FILE")"',
        ]
    )


def _described(found: "Status") -> str:
    from datetime import timedelta

    rows = {
        "data directory": found.data_dir,
        "answers": "yes",
        "process": found.pid,
        "up": timedelta(seconds=int(found.uptime_seconds or 0)),
        "engine": found.engine,
        "tables": found.tables,
        "on disk": f"{found.disk_bytes / 1e6:.1f} MB",
        "address": f"{found.endpoint.address}:{found.endpoint.port}" if found.endpoint else "",
        "proxy": found.endpoint.proxy_url if found.endpoint else "",
    }
    return "\n".join(f"{name + ':':<16}{value}" for name, value in rows.items())


def _values(rows: "pa.Table") -> list[list[Any]]:
    # Rows as lists: SQL permits two columns of one name.
    return [list(row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]


def _drawn(rows: "pa.Table") -> str:
    keys = {str(position): name for position, name in enumerate(rows.column_names)}
    return table([dict(zip(keys, row, strict=True)) for row in _values(rows)], keys, "")
