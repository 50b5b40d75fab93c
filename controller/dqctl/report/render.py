"""A report in any of its forms, as text or as a file."""

from pathlib import Path

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import write_atomically
from dqctl.report.comparison import Comparison
from dqctl.report.model import RunReport
from dqctl.report.options import FailOn, Form
from dqctl.report.review import Review

__all__ = ["Form", "render", "write"]


def render(
    report: RunReport | Comparison | Review,
    form: Form,
    *,
    fail_on: FailOn = FailOn.FAIL,
    colour: bool = False,
    width: int = 120,
) -> str:
    """The report as text. ``fail_on`` matters to JUnit only, ``colour`` and ``width`` to the terminal only.

    Equal arguments give equal text. What only one form needs (rich, Jinja) is imported for that form alone. Raises
    ``UsageError`` for a comparison as JUnit, which knows one run only, and for a review as JUnit or HTML.
    """
    if isinstance(report, Review):
        return _review(report, form)
    if isinstance(report, Comparison):
        return _comparison(report, form, colour=colour, width=width)
    match form:
        case Form.TERMINAL:
            from dqctl.report.terminal import render_terminal

            return render_terminal(report, colour=colour, width=width)
        case Form.JSON:
            from dqctl.report.document import document, render_json

            return render_json(document(report))
        case Form.MARKDOWN:
            from dqctl.report.markdown import render_markdown

            return render_markdown(report)
        case Form.JUNIT:
            from dqctl.report.junit import render_junit

            return render_junit(report, fail_on)
        case Form.HTML:
            from dqctl.report.page import render_html

            return render_html(report)


def _comparison(comparison: Comparison, form: Form, *, colour: bool, width: int) -> str:
    match form:
        case Form.TERMINAL:
            from dqctl.report.comparison_text import render_terminal_comparison

            return render_terminal_comparison(comparison, colour=colour, width=width)
        case Form.JSON:
            from dqctl.report.document import comparison_document, render_json

            return render_json(comparison_document(comparison))
        case Form.MARKDOWN:
            from dqctl.report.comparison_text import render_markdown_comparison

            return render_markdown_comparison(comparison)
        case Form.JUNIT:
            raise UsageError(
                "two runs cannot be compared as JUnit, which knows one run",
                "take html, markdown or json; CI systems compare the JUnit files of two runs themselves",
            )
        case Form.HTML:
            from dqctl.report.comparison_page import render_html_comparison

            return render_html_comparison(comparison)


def _review(review: Review, form: Form) -> str:
    match form:
        case Form.TERMINAL:
            from dqctl.report.review_text import render_text_review

            return render_text_review(review)
        case Form.JSON:
            from dqctl.report.document import render_json, review_document

            return render_json(review_document(review))
        case Form.MARKDOWN:
            from dqctl.report.review_text import render_markdown_review

            return render_markdown_review(review)
        case Form.JUNIT | Form.HTML:
            raise UsageError(
                f"there is no review of several suites as {form.value}",
                "take markdown or json, or a report of each",
            )


def write(
    report: RunReport | Comparison | Review, form: Form, path: Path, *, fail_on: FailOn = FailOn.FAIL
) -> None:
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
