"""The ``dqctl`` command: global options, the commands, and the one handler of errors.

Starts in well under 0.25 s: command modules import services only when they run.
"""

import os
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import dqctl
from dqctl.cli import (
    alerts,
    backup,
    ci,
    controller,
    credentials,
    demo,
    doctor,
    export,
    logs,
    metrics,
    results,
    schedule,
    stack,
    state,
    systems,
    tables,
    testgen,
    upgrade,
    work,
    workspace,
)
from dqctl.cli.context import Context, Output, context, enter
from dqctl.cli.output import fail
from dqctl.errors import DqctlError, EnvironmentFault, UsageError

_INTERRUPTED = 130
# What typer raises for a command line that it cannot read, whether it brings its own click (0.29) or not.
_Misread: Any = typer.BadParameter.__base__


class _Interrupted(Exception):  # noqa: N818 - no error: the user's wish
    """Ctrl-C. Typer would make exit code 1 of it, which means that data tests failed."""


# Global options, and whether they take a value: they may stand behind the command too, as everywhere today.
_GLOBAL = {"--stack": True, "--home": True, "--output": True, "--quiet": False, "-q": False, "--debug": False}


class _Root(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parsed: list[str] = super().parse_args(ctx, _global_first(args))
        return parsed

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted from None


def _global_first(args: list[str]) -> list[str]:
    """``args`` with the global options in front; what follows ``--`` stays as it is."""
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(args)
    for arg in remaining:
        if arg == "--":
            rest += [arg, *remaining]
        elif arg.partition("=")[0] in _GLOBAL:
            first.append(arg)
            if _GLOBAL[arg.partition("=")[0]] and "=" not in arg:
                first += [value for value in [next(remaining, None)] if value is not None]
        else:
            rest.append(arg)
    return first + rest


app = typer.Typer(
    name="dqctl",
    cls=_Root,
    help="Data quality for Databricks without a service to babysit.",
    epilog="Example: dqctl demo   the whole job on real data, on this machine alone",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)
_MODULES = (
    stack, doctor, logs, metrics, alerts, systems, work, schedule, results, export, tables, state, backup, upgrade,
    testgen, demo, credentials, controller,
)  # fmt: skip
for _module in _MODULES:
    _module.add_to(app)
app.add_typer(ci.app, name="ci")
app.add_typer(workspace.app, name="workspace")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dqctl {dqctl.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    stack_name: Annotated[
        str | None, typer.Option("--stack", help="Name of the stack (DQCTL_STACK) [default: default]")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Directory of all stacks (DQCTL_HOME)")] = None,
    output: Annotated[Output, typer.Option(help="What stdout gets", envvar="DQCTL_OUTPUT")] = Output.TABLE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log on stderr, tracebacks with errors")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    del version  # its callback answered
    enter(Context({"stack": stack_name, "home": home}, output, quiet, debug))


def main() -> None:
    """Run the command line; the process ends with one of ``errors.ExitCode``, or 130 after Ctrl-C."""
    if sys.stdout is None:  # closed by who started this; the work is done all the same
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    try:
        code = app(standalone_mode=False)
    except DqctlError as error:
        fail(error)
    except _Misread as error:
        _refuse(error)
    except _Interrupted:
        context().display.close()
        with suppress(OSError):  # its terminal is perhaps closed
            sys.stderr.write("interrupted\n")
        sys.exit(_INTERRUPTED)
    except OSError as error:
        fail(_fault(error))
    except Exception as error:  # noqa: BLE001 - a traceback must be redacted, and exit code 1 means something else
        fail(_defect(error))
    else:
        sys.exit(code)  # an int where a command ends with one, else None
    finally:
        context().display.close()


def _refuse(error: Any) -> NoReturn:
    """End by a command line that cannot be read; where JSON is asked for, that is the answer too."""
    arguments = _global_first(sys.argv[1:])
    # The options were perhaps not read yet, or cannot be.
    asked = [after for before, after in pairwise(arguments) if before == "--output"]
    asked += [each.removeprefix("--output=") for each in arguments if each.startswith("--output=")]
    if Output.JSON in (asked or [os.environ.get("DQCTL_OUTPUT", "")]):
        context().output = Output.JSON
    message = error.format_message().rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help: what somebody gets who asks nothing
        if context().output is not Output.JSON:
            error.show()
            sys.exit(error.exit_code)
        message = "missing command"
    path = error.ctx.command_path if error.ctx else "dqctl"
    fail(UsageError(message[:1].lower() + message[1:], f"see {path} --help"))


def _fault(error: OSError) -> DqctlError:
    """A disk that is full, a file of somebody else's: what no service foresaw is the machine's all the same."""
    fault = EnvironmentFault(
        f"{error.filename}: {error.strerror}" if error.filename else str(error) or type(error).__name__,
        "see who owns it, and whether there is space; --debug shows where it happened",
    )
    fault.__cause__ = error
    return fault


def _defect(error: Exception) -> DqctlError:
    defect = EnvironmentFault(
        f"{type(error).__name__}: {error}",
        "this is a defect of dqctl; run it again with --debug, look for secrets, and report what it prints",
    )
    defect.__cause__ = error
    return defect
