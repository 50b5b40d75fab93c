"""``ci up|run|down|gc``: ephemeral stacks."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqctl.cli import ci_comment
from dqctl.cli.context import Output, context
from dqctl.cli.options import Baseline, BaselineOptional
from dqctl.cli.output import emit, table
from dqctl.cli.work import said
from dqctl.errors import worst
from dqctl.report.options import FailOn

if TYPE_CHECKING:
    from dqctl.services.ci.run import Ran
    from dqctl.services.ci.up import EphemeralStack, Wanted

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Ephemeral stacks: one for a pull request, gone afterwards whatever happens.",
)


class Runtime(StrEnum):
    """Where TestGen runs."""

    LOCAL = "local"
    DOCKER = "docker"


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _ttl(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or not int(number):
        raise typer.BadParameter(f"{text!r} is no time: 90s, 30m, 2h, 1d")
    return timedelta(**{_UNITS[unit]: int(number)})


Systems = Annotated[Path | None, typer.Option("--file", "-f", help="The systems file to apply")]
Seed = Annotated[
    Path | None, typer.Option("--seed", help="Folder with seed data: Parquet, CSV, Delta tables, SQL (docs/ci.md)")
]
RuntimeOption = Annotated[
    Runtime | None, typer.Option("--runtime", help="Where TestGen runs (DQCTL_RUNTIME) [default: local]")
]
Ttl = Annotated[
    timedelta, typer.Option("--ttl", parser=_ttl, metavar="TIME", help="How long it may live: 90s, 30m, 2h, 1d")
]
Name = Annotated[str | None, typer.Option("--name", help="Its name [default: ci- and 8 random digits]")]
Version = Annotated[str | None, typer.Option("--version", help="Version of TestGen [default: the newest known]")]
Databricks = Annotated[
    bool,
    typer.Option(
        "--databricks",
        help="Data and results in throw-away schemas of the Databricks workspace that is set, in place of a local "
        "workspace",
    ),
]


@app.command(epilog="Example: dqctl ci up -f systems.yaml --seed seeds --env-file ci.env")
def up(
    file: Systems = None,
    seed: Seed = None,
    runtime: RuntimeOption = None,
    ttl: Ttl = "2h",  # type: ignore[assignment]  # parsed as if it was given
    name: Name = None,
    version: Version = None,
    databricks: Databricks = False,
    env_file: Annotated[
        Path | None,
        typer.Option(help="Write the environment there, secrets included (0600), for dotenv and shells"),
    ] = None,
) -> None:
    """Make an ephemeral stack, and say which environment leads to it.

    It stays until dqctl ci down, or until a dqctl ci gc after its time.
    """
    from dqctl.services.ci import environment
    from dqctl.services.ci import up as bringing_up

    here = context()
    stack = bringing_up.up(
        here.settings, _wanted(file, seed, runtime, ttl, name, version, databricks), progress=here.progress
    )
    if env_file:
        environment.write_env_file(env_file, {**stack.environment, **stack.secrets})
    emit(_described(stack, env_file), lambda: _how_to_use(stack, env_file))


@app.command(
    epilog="Example: dqctl ci run -f systems.yaml --seed seeds --artifacts out -- pytest tests",
    context_settings={"allow_interspersed_args": False},
)
def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="What runs inside [default: all tests, made if need be]"),
    ] = None,
    file: Systems = None,
    seed: Seed = None,
    runtime: RuntimeOption = None,
    ttl: Ttl = "2h",  # type: ignore[assignment]  # parsed as if it was given
    name: Name = None,
    version: Version = None,
    databricks: Databricks = False,
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder for reports (JUnit, HTML, Markdown, JSON) and logs")
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Without COMMAND: what makes the exit code 1 [default: what suites declare, else fail]"),
    ] = None,
    baseline: Baseline = None,
    baseline_optional: BaselineOptional = None,
) -> None:
    """Make an ephemeral stack, run COMMAND with the environment that leads to it, and take it down.

    The exit code is COMMAND's, 128 + N when signal N ended it; without COMMAND that of dqctl run-tests --all. A
    baseline is the results.json among the artifacts of a run of the base; COMMAND finds it in DQCTL_BASELINE.
    """
    from dqctl.report.document import document
    from dqctl.services.ci import run as running

    here = context()
    is_json = here.output is Output.JSON
    found = running.run(
        here.settings_with(baseline=baseline, baseline_optional=baseline_optional),
        _wanted(file, seed, runtime, ttl, name, version, databricks),
        command or (),
        folder=artifacts,
        fail_on=fail_on,
        stdout="stderr" if is_json else "stdout",
        progress=here.progress,
    )
    content = {
        "name": found.name,
        "command": found.command,
        "runs": [document(each) for each in found.reports] if is_json else [],
        "files": found.files,
        "seconds": round(found.seconds, 1),
    }
    code = found.exit_code(fail_on)
    emit(content, lambda: _said(found, fail_on), code, found.errors, found.command or None)


@app.command(epilog="Example: dqctl ci gc --dry-run")
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed")] = False,
    databricks: Annotated[
        bool,
        typer.Option("--databricks", help="Also expired schemas in the Databricks workspace that is set"),
    ] = False,
) -> None:
    """Remove what is left of ephemeral stacks that expired, or whose dqctl ci run was killed; nothing else."""
    from dqctl.services.ci import sweep

    here = context()
    found = sweep.sweep(here.settings, dry_run=dry_run, databricks=databricks, progress=here.progress)
    columns = {"kind": "kind", "name": "name", "why": "why"}
    emit(
        {"dry_run": dry_run, "removed": found.leftovers},
        lambda: table([vars(each) for each in found.leftovers], columns, "nothing is left over"),
        worst([error.exit_code for error in found.errors]),
        found.errors,
    )


@app.command(epilog="Example: dqctl ci down ci-1a2b3c4d")
def down(
    name: Annotated[list[str] | None, typer.Argument(help="The stack; may be several")] = None,
    everything: Annotated[
        bool, typer.Option("--all-mine", help="All ephemeral stacks of this home, whoever uses them")
    ] = False,
) -> None:
    """Take ephemeral stacks down: processes, containers, networks, volumes, schemas, files."""
    from dqctl.errors import UsageError
    from dqctl.services.ci import down as taking_down
    from dqctl.services.ci import record

    here = context()
    if bool(name) == everything:
        raise UsageError("which stack?", "name it, or say --all-mine; see dqctl ci gc --dry-run")
    names = tuple(name or record.names(here.settings.home))
    for each in names:
        taking_down.down(here.settings, each)
    emit({"removed": names}, lambda: "\n".join(f"{each} is gone" for each in names) or "there are none")


def _said(found: "Ran", fail_on: FailOn | None) -> str:
    """Without COMMAND what ``run-tests --all`` says."""
    reviewed = found.review if found.review and found.review.has_base else None
    return said(found.work, fail_on, reviewed) if found.work else ""


def _wanted(
    file: Path | None,
    seed: Path | None,
    runtime: Runtime | None,
    ttl: timedelta,
    name: str | None,
    version: str | None,
    databricks: bool,
) -> "Wanted":
    from dqctl.services.ci.up import Wanted

    where: Any = runtime.value if runtime else context().settings.runtime or "local"
    return Wanted(name, where, version, ttl, file, seed, databricks)


def _described(stack: "EphemeralStack", env_file: Path | None) -> dict[str, Any]:
    return {
        "name": stack.name,
        "runtime": stack.runtime,
        "expires": stack.expires,
        "environment": stack.environment,
        "files": {"directory": stack.paths.root, "env_file": env_file},
        "loaded": stack.loaded,
    }


def _how_to_use(stack: "EphemeralStack", env_file: Path | None) -> str:
    exports = [f"export {name}={quote(value)}" for name, value in stack.environment.items()]
    if "DATABRICKS_TOKEN_FILE" in stack.environment:
        exports.append('export DATABRICKS_TOKEN="$(cat "$DATABRICKS_TOKEN_FILE")"')
    return "\n".join(
        [
            f"# {stack.name} is up until {stack.expires:%Y-%m-%d %H:%M:%S} UTC",
            f"# to end it: dqctl ci down {stack.name}",
            *([f"# the same, with secrets: {env_file}"] if env_file else []),
            *exports,
        ]
    )


ci_comment.add_to(app)
