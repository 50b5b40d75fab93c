"""The report as HTML: one file that asks nothing of anybody.

Its policy (CSP) names the page's own script and style by their hashes and forbids everything else: no request
leaves the page, and a script that data smuggled in would not run even if escaping failed. Every text is escaped
by the template, or by ``grid.data`` where it travels as JSON.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dqctl.report import words
from dqctl.report.chart import chart
from dqctl.report.grid import PAGE, data, grids
from dqctl.report.model import RunReport
from dqctl.report.results import Status
from dqctl.report.summary import places, scale, summarize

_WORK = {"test": "Test run", "profile": "Profile", "generate": "Test generation"}


def render_html(report: RunReport) -> str:
    """The report as one HTML file."""
    style, script = _resource("report.css"), _resource("report.js")
    found = grids(report)
    return _template().render(
        report=report,
        work=_WORK[report.run.kind],
        summary=summarize(report),
        scale=scale(report),
        places=places(report),
        statuses=list(Status),
        chart=chart(report),
        grids=found,
        page=PAGE,
        # The script's own text and JSON without "<" are the only things that are not escaped.
        data=Markup(data(found)),  # noqa: S704 - see grid.data
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        policy=(
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dqctl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for word in (words.count, words.share, words.duration, words.moment):
        environment.filters[word.__name__] = word
    return environment.get_template("report.html.j2")


@cache
def _resource(name: str) -> str:
    return files("dqctl.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
