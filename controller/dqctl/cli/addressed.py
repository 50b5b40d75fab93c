"""Commands that a hint names, about the stack and the home that the command line was about.

Services do not know how they were called. Copied as it is, the ``dqctl install`` of a hint would install another
stack than the one that ``--home`` or ``--stack`` led to. What variables say holds for the copied command, too.
"""

import re
from shlex import quote

import typer

from dqctl.cli.context import context

# Has a stack of its own, or is led to a workspace by its place.
_ELSEWHERE = r"demo\b|workspace(?: [a-z]+)+ --data-dir"


def addressed(text: str) -> str:
    """``text`` with ``--home`` and ``--stack``, where they were given, in each command line that it names."""
    from dqctl.cli.app import app

    given = {name: context().flags.get(name) for name in ("home", "stack")}
    options = "".join(f" --{name} {quote(str(value))}" for name, value in given.items() if value is not None)
    known = "|".join(typer.main.get_group(app).commands)
    return re.sub(rf"\bdqctl(?= (?:{known})\b)(?! (?:{_ELSEWHERE}))", lambda _: f"dqctl{options}", text)
