"""Writing: data on stdout, everything else on stderr, nothing unredacted.

With ``--output json`` stdout gets exactly one object, an error included. Every object has ``format`` (the version
of its shape), ``exit_code`` and ``outcome`` (the code in words) beside what the command says.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any, NoReturn

import typer

from dqctl.cli.addressed import addressed
from dqctl.cli.context import Output, context
from dqctl.errors import DqctlError, ExitCode, worst

FORMAT = 1
_ENDLESS = 10_000


def emit(
    content: Mapping[str, Any],
    show: Callable[[], str],
    code: ExitCode = ExitCode.DONE,
    errors: Sequence[DqctlError] = (),
    passed_on: int | None = None,
) -> None:
    """Print what a command found: ``content`` as JSON, or what ``show`` makes of it for people.

    ``code`` other than DONE ends the process with it. ``errors`` say why, when that is more than a finding; the
    worst of them is the object's ``error``, all of them are said on stderr where there are several. ``passed_on``
    is the exit code of a program that the command ran, which ends the process in place of ``code``'s own number.
    """
    number = int(code) if passed_on is None else passed_on
    here = context()
    here.display.close()
    if here.output is Output.JSON:
        outcome = {"format": FORMAT, "exit_code": number, "outcome": code.word}
        if errors:
            decided = worst([error.exit_code for error in errors])
            first = next(error for error in errors if error.exit_code is decided)
            outcome["error"] = {"message": first.message, "hint": addressed(first.hint)}
        # First, and of the same meaning in every object, whatever the content's own words are.
        _print(json.dumps(outcome | plain(content) | outcome, indent=2, ensure_ascii=False), sys.stdout)
    else:
        if text := show():
            _print(text, sys.stdout)
    for error in errors:
        if here.output is not Output.JSON or len(errors) > 1:
            _complain(error)
        _trace(error)
    if number:
        raise typer.Exit(number)


def fail(error: DqctlError) -> NoReturn:
    """End the process by an error: said on stderr, and as the one object where JSON is asked for."""
    here = context()
    here.display.close()
    if here.output is Output.JSON:
        said = {"message": error.message, "hint": addressed(error.hint)}
        outcome = {"format": FORMAT, "exit_code": int(error.exit_code), "outcome": error.exit_code.word}
        _print(json.dumps(outcome | {"error": said}, indent=2, ensure_ascii=False), sys.stdout)
    else:
        _complain(error)
    _trace(error)
    sys.exit(int(error.exit_code))


def note(text: str) -> None:
    """Something beside the data that a person should know; not with ``--quiet``."""
    here = context()
    if not here.quiet:
        here.display.close()
        _print(addressed(text), sys.stderr)


def warn(text: str) -> None:
    """Something that went wrong beside the work and that nobody else will say: also with ``--quiet``."""
    context().display.close()
    _print(f"warning: {addressed(text)}", sys.stderr)


def pass_on(line: str, *, error: bool = False) -> None:
    """One line of what a program said, where it said it: stdout, or stderr."""
    context().display.close()
    _print(line, sys.stderr if error else sys.stdout)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], empty: str) -> str:
    """Rows as a table for people. ``columns`` maps keys to headings; ``empty`` is said when there are no rows."""
    if not rows:
        return addressed(empty)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width: what reads it wants whole lines.
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _ENDLESS)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for key, heading in columns.items():
        numeric = all(isinstance(row.get(key), int | float | None) for row in rows)
        drawn.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell(row.get(key))) for key in columns))
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def cell(value: Any) -> str:
    """One value for people."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return str(value)


def plain(value: Any) -> Any:
    """``value`` as JSON can have it: dataclasses as objects, times as ISO 8601, the rest as text."""
    match value:
        case Enum():
            return value.value
        case float() if not math.isfinite(value):  # JSON has no word for these
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]
        case datetime() | date():
            return value.isoformat()
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case _:
            return str(value)


def _complain(error: DqctlError) -> None:
    _print(f"error: {error.message}" + (f"\nhint: {addressed(error.hint)}" if error.hint else ""), sys.stderr)


def _trace(error: DqctlError) -> None:
    if context().debug:
        import traceback

        _print("".join(traceback.format_exception(error)).rstrip(), sys.stderr)


def _print(text: str, stream: Any) -> None:
    from dqctl.redaction import redact

    try:
        print(redact(text), file=stream, flush=True)
    except BrokenPipeError:
        # Whoever read us has enough (`dqctl runs | head`): no error, and no second one at shutdown.
        if stream is sys.stdout:
            sys.stdout = None
    except OSError:
        if (
            stream is sys.stdout
        ):  # data; what is said beside it is nobody's any more, and the exit code says it, too
            raise
