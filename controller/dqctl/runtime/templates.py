"""The templates of env files: rendered strictly."""

from functools import cache

import jinja2

from dqctl.resources import places


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(places("env-templates")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - plain text; each file has rules of its own, kept by who renders it
    )


def render(name: str, **values: object) -> str:
    """The template ``name`` with ``values``; ``jinja2.UndefinedError`` when one is missing."""
    return _environment().get_template(f"{name}.j2").render(**values)
