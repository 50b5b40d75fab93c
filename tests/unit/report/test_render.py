"""Every form of every kind of run, against golden files.

A change that is meant renews them: ``DQCTL_TEST_RENEW_GOLDEN=1 python -m pytest tests/unit/report``; read the
difference before it is committed. In the pages the style, the script and their hashes are left out.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.records import Row
from dqctl.report.history import Past
from dqctl.report.model import RunReport, build
from dqctl.report.render import Form, render, write
from unit.report import flights

GOLDEN = Path(__file__).parent / "golden"
UNICODE = "Ünïcode ✓ \"'<b>&amp;</b>` | 表 \u2028 {{ 7 * 7 }} </script>"


def _all_errored() -> list[Row]:
    message = "(OperationalError) connection refused\n  at line 3\tof something"
    return [
        {**found, "result_status": "Error", "result_code": None, "result_message": message}
        for found in flights.results()[:3]
    ]


def _unicode() -> list[Row]:
    names = (
        "table_name",
        "column_names",
        "result_message",
        "test_description",
        "input_parameters",
        "result_measure",
    )
    return [{**found, **dict.fromkeys(names, UNICODE)} for found in flights.results()[:2]]


CASES = {
    "suite": (flights.brief_run(dq_score=0.9612), flights.history()),
    "suite_without_defect": (
        flights.content(flights.run("test"), dq_test_results=flights.results(defect=False)[:3]),
        (),
    ),
    "suite_without_tests": (flights.content(flights.run("test", test_ct=0)), flights.history(2)),
    "suite_all_errored": (flights.content(flights.run("test"), dq_test_results=_all_errored()), ()),
    "suite_unicode": (flights.content(flights.run("test", test_suite=UNICODE), dq_test_results=_unicode()), ()),
    "suite_nothing_known": (flights.nothing("test"), ()),
    "job_failed": (flights.content(flights.run("test", status="error", error_message="boom\nTraceback: ...")), ()),
    "job_cancelled": (flights.brief_run(status="canceled"), flights.history(3)),
    "profile": (flights.profile_run(), [flights.run("profile", run_id="p1", anomaly_ct=3, column_error_ct=0)]),
    "profile_complete": (flights.profile_run(ansi=False, sampled=False), ()),
    "profile_of_nothing": (flights.content(flights.run("profile")), ()),
    "profile_nothing_known": (flights.nothing("profile"), ()),
    "generation": (flights.generate_run(), ()),
    "generation_of_nothing": (flights.content(flights.run("generate")), ()),
    "generation_nothing_known": (flights.nothing("generate"), ()),
}
SUFFIXES = {
    Form.TERMINAL: "txt",
    Form.JSON: "json",
    Form.MARKDOWN: "md",
    Form.JUNIT: "xml",
    Form.HTML: "html",
}
# Big ones are golden in the forms that are short, and looked at closely elsewhere in the others.
BIG = {("profile", Form.JSON), ("profile_complete", Form.JSON), ("generation", Form.JSON)}
BIG |= {("profile", Form.HTML), ("profile_complete", Form.HTML), ("generation", Form.HTML)}


def report_of(case: str) -> RunReport:
    content, history = CASES[case]
    past = flights.past(content, list(history[-4:])) if case == "suite" else Past()
    return build(content, history, past, generated_at=flights.GENERATED_AT)


def _without_resources(page: str) -> str:
    page = re.sub(r"'sha256-[^']+'", "'sha256-...'", page)
    page = re.sub(r"&#39;sha256-.+?&#39;", "&#39;sha256-...&#39;", page)
    return re.sub(r"<(style|script)>.*?</\1>", r"<\1>...</\1>", page, flags=re.DOTALL)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("case", CASES)
def test_form_is_as_it_was(case: str, form: Form) -> None:
    text = render(report_of(case), form)
    if (case, form) in BIG:
        assert text
        return
    if form is Form.HTML:
        text = _without_resources(text)
    golden = GOLDEN / f"{case}.{SUFFIXES[form]}"
    if os.environ.get("DQCTL_TEST_RENEW_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{case}.{SUFFIXES[form]}" for case in CASES for form in Form if (case, form) not in BIG}
    assert {path.name for path in GOLDEN.iterdir()} == wanted


@pytest.mark.parametrize("form", Form)
def test_rendering_twice_gives_the_same_text(form: Form) -> None:
    assert render(report_of("suite"), form) == render(report_of("suite"), form)


@pytest.mark.parametrize("form", Form)
def test_order_of_rows_makes_no_difference(form: Form) -> None:
    content, history = CASES["suite"]
    turned = replace(content, rows={name: tuple(reversed(rows)) for name, rows in content.rows.items()})
    past = flights.past(content, list(history[-4:]))
    again = build(turned, history, replace(past, rows=past.rows[::-1]), generated_at=flights.GENERATED_AT)
    assert render(again, form) == render(report_of("suite"), form)


@pytest.mark.parametrize("form", Form)
def test_file_holds_what_is_rendered(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "made" / "on the way" / f"report.{SUFFIXES[form]}"
    write(report_of("suite_unicode"), form, path)
    assert path.read_text(encoding="utf-8") == render(report_of("suite_unicode"), form)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_file_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault) as caught:
        write(report_of("suite"), Form.JSON, tmp_path / "file" / "report.json")
    assert "cannot be written" in caught.value.message
    assert "another path" in caught.value.hint


def test_old_report_survives_a_rendering_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    broken = replace(report_of("suite"), generated_at=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="JSON"):
        write(broken, Form.JSON, path)
    assert path.read_text() == "old"
