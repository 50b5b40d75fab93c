"""``logs``: what the parts of a stack wrote."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import Output, context
from dqctl.cli.output import emit
from dqctl.errors import UsageError

if TYPE_CHECKING:
    from dqctl.services.logs import LogLine

_USUAL = 200
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COLOURS = (typer.colors.CYAN, typer.colors.YELLOW, typer.colors.GREEN, typer.colors.MAGENTA)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dqctl logs --since 1h --follow postgres")(logs)


def logs(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...", help="testgen, install, postgres, engine, workspace [default: all]"
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Not older than that: 90s, 30m, 1h, 7d, or a time such as 2026-01-31T08:00")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines", "-n", help=f"Last lines of each service [default: {_USUAL}, or all --since]", min=0
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C")] = False,
) -> None:
    """Show what the parts of the stack wrote, without secrets, in the order of time.

    With --output json it is one object: lines, each with source, at (UTC), text. What goes on with --follow has no
    end: there each line is an object by itself.
    """
    from dqctl.services.logs import find_sources, read
    from dqctl.services.logs import follow as go_on
    from dqctl.services.scrubbing import learn_secrets

    here = context()
    begin = parse_since(since, datetime.now(UTC)) if since else None
    sources = find_sources(here.settings, services or ())
    learn_secrets(here.settings)
    count = lines if lines is not None or begin else _USUAL
    found = read(sources, since=begin, lines=count)
    if here.output is Output.JSON and not follow:
        emit({"lines": [_plain(line) for line in found]}, lambda: "")
        return
    _print(chain(found, go_on(sources) if follow else ()), [s.name for s in sources])


def parse_since(text: str, now: datetime) -> datetime:
    """The time that ``--since`` means; ``UsageError`` when it means none."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since {text} is no time",
            "give an age (90s, 30m, 1h, 7d) or a time (2026-01-31T08:00, or with a zone)",
        ) from None


def _print(lines: "Iterator[LogLine]", names: Sequence[str]) -> None:
    here = context()
    form = _as_json if here.output is Output.JSON else _for_people(names)
    try:
        for line in lines:
            sys.stdout.write(f"{form(line)}\n")
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has enough (`dqctl logs | head`): no error, and no second one at shutdown.
        sys.stdout = None


def _as_json(line: "LogLine") -> str:
    return json.dumps(_plain(line), ensure_ascii=False)


def _plain(line: "LogLine") -> dict[str, str | None]:
    from dqctl.services.scrubbing import scrub

    return {
        "source": line.source,
        "at": line.at.isoformat() if line.at else None,
        "text": scrub(line.text),
    }


def _for_people(names: Sequence[str]) -> "Callable[[LogLine], str]":
    from dqctl.services.scrubbing import scrub

    width = max(map(len, names), default=0)
    prefixes = {name: f"{name:<{width}} | " for name in names}
    if sys.stdout.isatty():
        prefixes = {
            name: typer.style(prefix, fg=_COLOURS[number % len(_COLOURS)])
            for number, (name, prefix) in enumerate(prefixes.items())
        }
    return lambda line: prefixes[line.source] + scrub(line.text)
