"""The templates of env files and of the Compose definition: rendered strictly."""

import json
from functools import cache
from typing import TYPE_CHECKING

from dqctl.resources import places

if TYPE_CHECKING:
    import jinja2


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # here: status and doctor render nothing, and jinja2 takes 0.1 s

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*places("env-templates"), *places("compose")]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - plain text; each file has rules of its own, kept by who renders it
    )
    found.filters["value"] = _value
    return found


def render(name: str, **values: object) -> str:
    """The template ``name`` with ``values``; ``jinja2.UndefinedError`` when one is missing."""
    return _environment().get_template(f"{name}.j2").render(**values)


def _value(value: object) -> str:
    """A string of a Compose file, whatever is in it: JSON is YAML; Compose replaces ``$NAME``, but not ``$$``."""
    return json.dumps(str(value), ensure_ascii=False).replace("$", "$$")
