"""The report as HTML: one file that asks nothing of anybody.

Its policy (CSP) names the page's own script and style by their hashes and forbids everything else: no request
leaves the page, and a script that data smuggled in would not run even if escaping failed. Every text is escaped
by the template, or by ``payload`` where it travels as JSON.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dqctl.report import words
from dqctl.report.chart import chart
from dqctl.report.grid import PAGE, Grid, grids
from dqctl.report.model import RunReport
from dqctl.report.payload import data, embedded
from dqctl.report.results import Status
from dqctl.report.summary import Summary, places, scale, summarize

# Between the essence and the tests; the filter of the tests has all of them.
_MOST_TABLES = 25
_WORK = {"test": "Test run", "profile": "Profile", "generate": "Test generation"}


def render_html(report: RunReport) -> str:
    """The report as one HTML file."""
    return render_page(
        "report.html.j2",
        report.name,
        summarize(report),
        grids(report),
        report=report,
        work=_WORK[report.run.kind],
        scale=scale(report),
        places=places(report),
        chart=chart(report),
        page=PAGE,
        most_tables=_MOST_TABLES,
    )


def render_page(template: str, name: str, summary: Summary, found: tuple[Grid, ...], **more: Any) -> str:
    """A page with tables, by its template; ``more`` is what only this template shows."""
    style, script = _resource("report.css"), _resource("report.js")
    text, encoding = embedded(data(found))
    return (
        _environment()
        .get_template(template)
        .render(
            name=name,
            summary=summary,
            grids=found,
            # The script's own text and JSON without "<" are the only things that are not escaped.
            data=Markup(text),  # noqa: S704 - see payload.embedded
            encoding=encoding,
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - a file of this package
            policy=(
                f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
                "base-uri 'none'; form-action 'none'"
            ),
            **more,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dqctl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for word in (words.count, words.share, words.duration, words.moment):
        environment.filters[word.__name__] = word
    environment.globals["statuses"] = list(Status)
    return environment


@cache
def _resource(name: str) -> str:
    return files("dqctl.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
