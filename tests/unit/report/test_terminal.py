import subprocess
import sys

from dqctl.report.model import build
from dqctl.report.render import Form, render
from unit.report import flights


def test_text_is_plain_without_colour() -> None:
    report = build(flights.suite_run(), flights.history(), generated_at=flights.GENERATED_AT)
    assert "\x1b" not in render(report, Form.TERMINAL)
    assert "\x1b[" in render(report, Form.TERMINAL, colour=True)


def test_lines_fit_the_width() -> None:
    report = build(flights.suite_run(), generated_at=flights.GENERATED_AT)
    for width in (60, 80, 200):
        assert max(map(len, render(report, Form.TERMINAL, width=width).splitlines())) <= width


def test_data_cannot_command_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07\r\x08[bold]markup[/bold]\x9b31m"
    rows = [
        flights.result(result_status="Failed", table_name=hostile, result_message=hostile, column_names=hostile)
    ]
    run = flights.run("test", test_suite=hostile, status="error", error_message=hostile)
    report = build(flights.content(run, dq_test_results=rows), generated_at=flights.GENERATED_AT)
    text = render(report, Form.TERMINAL, width=400)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[bold]markup[/bold]" in text


def test_long_lists_end_with_a_count() -> None:
    rows = [flights.result(id=str(number), result_status="Failed", table_name="t") for number in range(500)]
    report = build(flights.content(flights.run("test"), dq_test_results=rows), generated_at=flights.GENERATED_AT)
    assert "… and 460 more" in render(report, Form.TERMINAL)


def test_other_forms_need_no_rich() -> None:
    code = "import sys, dqctl.report.render as r; assert not {'rich', 'jinja2'} & set(sys.modules), 'eager'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
