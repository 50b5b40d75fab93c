"""No value out of the data in any form of a report, wherever TestGen keeps one: planted values, looked for."""

import base64
import re
import zlib

import pytest

from dqctl.records import RunContent
from dqctl.report.model import RunReport, build
from dqctl.report.render import Form, render
from dqctl.report.samples import without_values
from unit.report import flights

PLANTED = "Ms Planted of Plantage 7"


def _profile() -> RunContent:
    content = flights.profile_run(sampled=False)
    columns = [
        {
            **row,
            "min_text": PLANTED,
            "max_text": PLANTED,
            "frequent_values": f'{{"values": [{{"ct": 4, "value": "{PLANTED}"}}]}}',
            "query_error": row["query_error"] and f"[CAST_INVALID_INPUT] The value '{PLANTED}' is malformed.",
            "min_value": None,
            "min_date": None,
            "pii_flag": None,
        }
        for row in content.rows["dq_profile_columns"]
    ]
    kinds = ("Top Freq: {}", "Value Range: {} thru Zz", "Minimum Value: {}", "Variants Found: {}")
    anomalies = [
        {**row, "anomaly_type": kind, "detail": text.format(PLANTED)}
        for row, text, kind in zip(
            content.rows["dq_anomalies"],
            kinds,
            ("Boolean_Value_Mismatch", "Unexpected Emails", None, "A type of tomorrow"),
            strict=False,
        )
    ]
    return flights.content(content.run, dq_profile_columns=columns, dq_anomalies=anomalies)


def _suite() -> RunContent:
    rows = [dict(row) for row in flights.results()[:12]]
    for row in rows[:4]:
        row |= {"input_parameters": f"baseline_value=('{PLANTED}','x'); threshold_value=0"}
    for row in rows[4:8]:
        row |= {
            "test_type": "LOV_All",
            "result_measure": PLANTED,
            "threshold_value": PLANTED,
            "input_parameters": f"threshold_value={PLANTED}",
            "result_message": f"Values found: {PLANTED}, Threshold: {PLANTED}",
        }
    rows[8] |= {"result_status": "Error", "result_message": f"cannot cast '{PLANTED}' to DATE"}
    rows[9] |= {"input_parameters": f"of another shape: {PLANTED}"}
    run = flights.run("test", status="error", error_message=f'boom: invalid input "x" at \'{PLANTED}')
    return flights.content(run, dq_test_results=rows)


def _generation() -> RunContent:
    content = flights.generate_run()
    rows = [{**row, "baseline_value": f"('{PLANTED}')"} for row in content.rows["dq_test_definitions"]]
    rows[0] |= {"test_type": "LOV_All", "threshold_value": PLANTED}
    return flights.content(content.run, dq_test_definitions=rows)


CONTENTS = {"profile": _profile, "suite": _suite, "generation": _generation}


def _report(kind: str, *, samples: bool) -> RunReport:
    content = CONTENTS[kind]()
    nights = flights.history(2)
    past = flights.past(content, nights)
    planted = [{**row, "measures": [PLANTED] * 2} for row in past.rows if row["test_type"] == "LOV_All"]
    return build(
        content, nights, type(past)(past.run_ids, planted), generated_at=flights.GENERATED_AT, samples=samples
    )


def _all_text(report: RunReport, form: Form) -> str:
    text = render(report, form)
    packed = re.search(r'data-encoding="deflate">([^<]+)<', text)
    return text + (zlib.decompress(base64.b64decode(packed[1])).decode() if packed else "")


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("kind", CONTENTS)
def test_no_value_of_the_data_shows_unless_it_is_asked_for(kind: str, form: Form) -> None:
    shown = re.sub(r"\s+", " ", _all_text(_report(kind, samples=False), form))
    assert "Planted" not in shown
    assert "Plantage" not in shown


@pytest.mark.parametrize("form", [Form.HTML, Form.JSON])
@pytest.mark.parametrize("kind", CONTENTS)
def test_values_are_there_where_they_are_asked_for(kind: str, form: Form) -> None:
    assert PLANTED in _all_text(_report(kind, samples=True), form)


def test_what_is_no_value_stays() -> None:
    report = build(flights.suite_run(), generated_at=flights.GENERATED_AT)
    plain = build(flights.suite_run(), generated_at=flights.GENERATED_AT, samples=True)
    assert [r.message for r in report.results] == [r.message for r in plain.results]
    assert [r.measure for r in report.results] == [r.measure for r in plain.results]
    found = build(flights.profile_run(), generated_at=flights.GENERATED_AT)
    assert "Dummy values: 3, Null values: 0" in [anomaly.detail for anomaly in found.anomalies]
    assert {column.records for column in found.columns} == {16, 1458, 3322, 26_115, 336_776}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("The value 'UA' of the type \"STRING\"", "The value '…' of the type \"STRING\""),
        ("it's 'O''Brien' and can't be", "it's '…' and can't be"),
        ('invalid input syntax for type date: "soon"', 'invalid input syntax for type date: "…"'),
        ("Key (id, name)=(7, Eve) already exists", "Key (id, name)=(…) already exists"),
        ("cut off at 'the mid", "cut off at '…'"),
        ("two\n'lines'\nof 'it'", "two\n'…'\nof '…'"),
        ("The table or view `demo`.`planes` cannot be found", "The table or view `demo`.`planes` cannot be found"),
        (None, None),
    ],
)
def test_errors_lose_what_they_quote_and_nothing_else(error: str | None, shown: str | None) -> None:
    assert without_values(error) == shown
