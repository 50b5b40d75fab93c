"""Statements of a SQL file, one by one, with the lines that they begin in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dqctl.errors import UsageError

# What a semicolon does not end: texts, names, comments. Backslashes escape in texts, as in Spark.
_TOKEN = re.compile(
    r"""(?P<text>r?'(?:[^'\\]|\\.|'')*'|r?"(?:[^"\\]|\\.|"")*")
      | (?P<name>`(?:[^`]|``)*`)
      | (?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<end>;)
      | (?P<open>['"`]|/\*)
      | (?P<space>\s+)
      | (?P<other>[^'"`;/\s-]+|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """A statement, and the line of its first word."""

    text: str
    line: int


def split(text: str, name: str) -> Iterator[Statement]:
    """The statements of ``text``; ``UsageError`` that names file (``name``) and line of what is not closed."""
    begin: int | None = None
    last = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            raise UsageError(f"{name}:{_line(text, token.start())}: {token[0]} is not closed", "mend the file")
        if kind == "end":
            if begin is not None:
                yield Statement(text[begin:last], _line(text, begin))
            begin = None
        elif kind not in ("space", "comment"):
            begin = token.start() if begin is None else begin
            last = token.end()
    if begin is not None:
        yield Statement(text[begin:last], _line(text, begin))


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
