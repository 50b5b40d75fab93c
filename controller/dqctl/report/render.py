"""A report in any of its forms, as text or as a file."""

from pathlib import Path

from dqctl.errors import EnvironmentFault
from dqctl.files import write_atomically
from dqctl.report.model import RunReport
from dqctl.report.options import FailOn, Form

__all__ = ["Form", "render", "write"]


def render(
    report: RunReport,
    form: Form,
    *,
    fail_on: FailOn = FailOn.FAIL,
    colour: bool = False,
    width: int = 120,
) -> str:
    """The report as text. ``fail_on`` matters to JUnit only, ``colour`` and ``width`` to the terminal only.

    Equal arguments give equal text. What only one form needs (rich, Jinja) is imported for that form alone.
    """
    match form:
        case Form.TERMINAL:
            from dqctl.report.terminal import render_terminal

            return render_terminal(report, colour=colour, width=width)
        case Form.JSON:
            from dqctl.report.document import render_json

            return render_json(report)
        case Form.MARKDOWN:
            from dqctl.report.markdown import render_markdown

            return render_markdown(report)
        case Form.JUNIT:
            from dqctl.report.junit import render_junit

            return render_junit(report, fail_on)
        case Form.HTML:
            from dqctl.report.page import render_html

            return render_html(report)


def write(report: RunReport, form: Form, path: Path, *, fail_on: FailOn = FailOn.FAIL) -> None:
    """Render the report into ``path`` in one step; its directory is made when it is not there.

    Raises ``EnvironmentFault`` when the file cannot be written.
    """
    text = render(report, form, fail_on=fail_on)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise EnvironmentFault(
            f"the {form.value} report cannot be written to {path}: {error.strerror or error}",
            "name another path; the results are published all the same",
        ) from error
