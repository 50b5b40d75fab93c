import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.report.model import RunReport, build
from dqctl.report.render import Form, render
from dqctl.report.verdict import FailOn
from unit.report import flights


def _suite(report: RunReport, fail_on: FailOn = FailOn.FAIL) -> ET.Element:
    root = ET.fromstring(render(report, Form.JUNIT, fail_on=fail_on))  # noqa: S314 - our own text
    assert root.tag == "testsuites"
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    # Readers trust the attributes or count the elements: both must say the same.
    assert int(suite.attrib["tests"]) == len(cases) == int(root.attrib["tests"])
    for outcome, counted in {"failure": "failures", "error": "errors", "skipped": "skipped"}.items():
        found = [case for case in cases if case.find(outcome) is not None]
        assert int(suite.attrib[counted]) == len(found) == int(root.attrib[counted])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    assert all(case.attrib.keys() == {"classname", "name", "time"} for case in cases)
    return suite


def _report(**values: object) -> RunReport:
    content = flights.content(flights.run("test"), dq_test_results=[flights.result(**values)])
    return build(content, generated_at=flights.GENERATED_AT)


@pytest.mark.parametrize(
    ("status", "outcomes"),
    [
        ("Failed", ["failure"] * 4),
        ("Error", ["error"] * 4),
        ("Warning", ["system-out", "failure", "system-out", "system-out"]),
        ("Log", ["system-out"] * 4),
        ("Passed", [None] * 4),
    ],
)
def test_outcome_of_a_case_follows_status_and_threshold(status: str, outcomes: list[str | None]) -> None:
    for fail_on, outcome in zip(FailOn, outcomes, strict=True):
        (case,) = _suite(_report(result_status=status, result_message="m"), fail_on).findall("testcase")
        assert [child.tag for child in case] == ([outcome] if outcome else [])


def test_failure_carries_what_a_person_needs() -> None:
    report = build(flights.suite_run(), generated_at=flights.GENERATED_AT)
    case = _suite(report).find("testcase[@name='carrier: Value Match']")
    assert case is not None
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib == {"message": "Failed: Non-matching records: 1204, Threshold: 0", "type": "LOV_Match"}
    for text in ("Tests that column values match", "Measured: 1204 (Non-matching records)", "Threshold: 0"):
        assert text in (failure.text or "")


def test_every_case_has_a_name_of_its_own() -> None:
    same = {"table_name": "t", "column_names": "c", "test_name_short": "Custom Test", "result_status": "Failed"}
    rows = [flights.result(id=str(number), **same) for number in range(3)]
    report = build(flights.content(flights.run("test"), dq_test_results=rows), generated_at=flights.GENERATED_AT)
    cases = _suite(report).findall("testcase")
    names = Counter((case.attrib["classname"], case.attrib["name"]) for case in cases)
    assert len(names) == 3
    assert all(case.find("failure") is not None for case in cases)


@pytest.mark.parametrize("kind", ["test", "profile", "generate"])
def test_job_that_failed_is_an_error_even_without_results(kind: str) -> None:
    run = flights.run(kind, status="error", error_message="database is gone\nat line 1")
    report = build(flights.content(run), generated_at=flights.GENERATED_AT)
    (case,) = _suite(report).findall("testcase")
    error = case.find("error")
    assert error is not None
    assert error.text == "database is gone\nat line 1"


def test_run_without_tests_is_an_empty_suite() -> None:
    report = build(flights.content(flights.run("test")), generated_at=flights.GENERATED_AT)
    assert _suite(report).findall("testcase") == []


def test_profile_has_a_case_a_column() -> None:
    report = build(flights.profile_run(), generated_at=flights.GENERATED_AT)
    suite = _suite(report)
    assert suite.attrib["tests"] == "53"
    assert suite.attrib["errors"] == "16"


# What XML 1.0 has no way to write is removed; everything else survives, line ends in attributes included.
_LEGAL = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@given(st.text(min_size=1), st.sampled_from(["Failed", "Error", "Warning", "Passed", "Log"]))
def test_any_text_makes_valid_xml(text: str, status: str) -> None:
    report = _report(result_status=status, result_message=text, table_name=text, test_type=text, column_names="c")
    (case,) = _suite(report).findall("testcase")
    legal = "".join(_LEGAL.findall(text.encode("utf-8", "replace").decode()))
    assert case.attrib["classname"] == f"nyc-nightly.{legal}"
    if status == "Failed":
        assert case[0].attrib["message"] == f"Failed: {legal}"


def test_characters_that_xml_cannot_hold_are_removed() -> None:
    text = "nul \x00 escape \x1b[31m no character \ufffe\uffff tab \t fin"
    (case,) = _suite(_report(result_status="Failed", result_message=text)).findall("testcase")
    assert case[0].attrib["message"] == "Failed: nul  escape [31m no character  tab \t fin"


def test_test_that_is_not_judged_yet_is_skipped() -> None:
    (case,) = _suite(_report(result_status="Log", result_code=-1, result_message="in training")).findall(
        "testcase"
    )
    assert [(child.tag, child.attrib) for child in case] == [("skipped", {"message": "Log: in training"})]


def test_names_of_tests_that_are_alike_stay_when_outcomes_change() -> None:
    def names(*statuses: str) -> dict[str, str]:
        rows = [
            flights.result(id=f"{number}", test_definition_id=f"d{number}", test_type="T", table_name="t")
            | {"result_status": status, "result_message": f"said by {number}"}
            for number, status in enumerate(statuses)
        ]
        content = flights.content(flights.run("test"), dq_test_results=rows)
        suite = _suite(build(content, generated_at=flights.GENERATED_AT))
        return {
            str(re.findall(r"Result: (\d)", ET.tostring(case, encoding="unicode"))[0]): case.attrib["name"]
            for case in suite.findall("testcase")
        }

    first = names("Warning", "Failed", "Warning")
    assert first == names("Failed", "Warning", "Error") == {"0": "T", "1": "T #2", "2": "T #3"}


def test_long_messages_and_texts_end() -> None:
    (case,) = _suite(_report(result_status="Error", result_message="line\n" * 50_000)).findall("testcase")
    error = case.find("error")
    assert error is not None
    assert error.attrib["message"].startswith("Error: line\nline")
    assert len(error.attrib["message"]) == 1000
    assert len(error.text or "") == 20_000
    assert (error.text or "").endswith("…")
