"""Reading a systems file, so that every mistake is told with its line and its remedy, and no value."""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dqctl.errors import UsageError
from dqctl.testgen.systems.declaration import Declaration

_SEE = "docs/systems.md has all keys; nothing was changed"
_SHOWN = 5
STDIN = Path("-")


def read(path: Path) -> Declaration:
    """The declaration in ``path`` (``-``: stdin); ``UsageError`` with file and line for what is wrong with it."""
    name = "stdin" if path == STDIN else str(path)
    try:
        text = (sys.stdin.buffer.read() if path == STDIN else path.read_bytes()).decode("utf-8")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", "check the path given with --file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}:{line}: this is not UTF-8", "save the file as UTF-8") from None
    return parse(text, name)


def parse(text: str, name: str) -> Declaration:
    """``read`` for text that is at hand; ``name`` stands in messages."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(tree, name)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        # Not str(error): it quotes the line, which may hold what should not have been there.
        problem = getattr(error, "problem", None) or "no YAML"
        raise UsageError(f"{where}: {problem}", "mend the YAML") from None
    if not isinstance(content, dict):
        raise UsageError(f"{name}: a mapping with version and systems is expected", _SEE)
    try:
        return Declaration.model_validate(content)
    except ValidationError as error:
        problems = [_problem(tree, name, found) for found in error.errors()]
    more = [f"also: {problem}" for problem in problems[1:_SHOWN]]
    if len(problems) > _SHOWN:
        more.append(f"and {len(problems) - _SHOWN} more")
    raise UsageError(problems[0], "\n".join([*more, _SEE])) from None


def _problem(tree: yaml.Node | None, name: str, found: ErrorDetails) -> str:
    location = found["loc"]
    # The message names an unknown key; what stands before it is where it was found.
    about = location[:-1] if found["type"] == "unknown_key" else location
    return f"{name}:{_line(tree, location)}: {_sentence(about, found['msg'])}"


def _refuse_duplicates(node: yaml.Node | None, name: str) -> None:
    # YAML readers keep the last of two equal keys and say nothing.
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise UsageError(f"{name}:{key.start_mark.line + 1}: {key.value} stands here twice", "remove one")
            seen.add(key.value)
            _refuse_duplicates(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, name)


def _line(node: Any, location: tuple[int | str, ...]) -> int:
    """The line of what ``location`` names, or of the nearest thing around it.

    Parts of a location that are not in the file (names of flavors, missing keys) are passed over.
    """
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line + 1
                    break
    return line


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    named = [str(part) for part in location if isinstance(part, str) and part not in _TAGS]
    return f"{named[-1]}: {message[:1].lower()}{message[1:]}" if named else message[:1].lower() + message[1:]


_TAGS = ("databricks", "postgresql", "workspace", "service_principal")
