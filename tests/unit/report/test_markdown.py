import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.report import markdown
from dqctl.report.model import build
from dqctl.report.render import Form, render
from unit.report import flights

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a|b",
    "`code` ``more``",
    "**bold** [link](https://example.com)",
    "@team #1",
]


def _cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_their_cell(name: str) -> None:
    rows = [
        flights.result(
            result_status="Failed", table_name=name, column_names=name, result_message=name, test_name_short=name
        )
    ]
    report = build(flights.content(flights.run("test"), dq_test_results=rows), generated_at=flights.GENERATED_AT)
    text = render(report, Form.MARKDOWN)
    line = next(line for line in text.splitlines() if line.startswith("| ❌ Failed | `"))
    assert len(_cells(line)) == 5
    outside = re.sub(r"(`+).*?\1", "", text)
    assert "<" not in outside.replace("&lt;", "")
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"@\w|#\d|https?://", outside)


@given(st.text())
def test_any_text_stays_on_its_line_and_in_its_cell(text: str) -> None:
    for cell in (markdown.text(text), markdown.code(text)):
        assert len(f"x{cell}x".splitlines()) == 1
        assert len(_cells(f"| {cell} |")) == 1
    assert "<" not in markdown.text(text)


@given(st.text(alphabet="`a |", min_size=1))
def test_code_holds_any_run_of_backticks(text: str) -> None:
    written = markdown.code(text)
    if not text.strip():
        return
    fence = re.match("`+", written)
    assert fence is not None
    inside = written[len(fence[0]) : -len(fence[0])]
    assert written.endswith(fence[0])
    assert not re.search(rf"(?<!`){fence[0]}(?!`)", inside)


def test_report_fits_a_comment_whatever_its_size() -> None:
    rows = [
        flights.result(
            id=str(number), result_status="Failed", table_name=f"table_{number}", result_message="é" * 5000
        )
        for number in range(3000)
    ]
    report = build(flights.content(flights.run("test"), dq_test_results=rows), generated_at=flights.GENERATED_AT)
    text = render(report, Form.MARKDOWN)
    assert len(text) <= markdown.LIMIT + 1
    shown = sum(1 for line in text.splitlines() if "éé" in line)
    assert shown > 50
    assert f"… and {3000 - shown:,} more: the HTML report has them all." in text


def test_own_advice_keeps_its_code() -> None:
    report = build(flights.content(flights.run("test")), generated_at=flights.GENERATED_AT)
    assert "**To do:** `dqctl generate SYSTEM` makes tests" in render(report, Form.MARKDOWN)
