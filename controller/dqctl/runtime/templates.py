"""The templates of env files: product, found the same way in a wheel and in a checkout."""

import importlib.resources
from functools import cache
from pathlib import Path

import jinja2


@cache
def _environment() -> jinja2.Environment:
    package = Path(str(importlib.resources.files("dqctl")))
    # The wheel holds them inside of the package; in a checkout they are a directory of the top level.
    places = (package / "env-templates", package.parents[1] / "env-templates")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(places),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - plain text; each file has rules of its own, kept by who renders it
    )


def render(name: str, **values: object) -> str:
    """The template ``name`` with ``values``; ``jinja2.UndefinedError`` when one is missing."""
    return _environment().get_template(f"{name}.j2").render(**values)
