"""Reports of a suite far bigger than most: other tools' reports die of a tenth of it."""

import time

import pytest

from benchmarks.conftest import Record
from dqctl.records import RunContent
from dqctl.report.model import RunReport, build
from dqctl.report.render import Form, render
from unit.report import flights

pytestmark = pytest.mark.benchmark

RESULTS = 100_000
# Seconds and megabytes, generous: four to five times what docs/benchmarks.md says.
CEILINGS = {Form.HTML: (20, 25), Form.JUNIT: (15, 25), Form.MARKDOWN: (15, 1), Form.JSON: (25, 150)}


@pytest.fixture(scope="module")
def content() -> RunContent:
    return flights.many(RESULTS)


@pytest.fixture(scope="module")
def report(content: RunContent) -> RunReport:
    return build(content, generated_at=flights.GENERATED_AT)


def test_model_of_a_big_run(record: Record, content: RunContent) -> None:
    started = time.perf_counter()
    report = build(content, generated_at=flights.GENERATED_AT)
    seconds = time.perf_counter() - started
    record("report model", seconds, "s", results=RESULTS)
    assert report.tally.total == RESULTS
    assert seconds < 20


@pytest.mark.parametrize("form", CEILINGS)
def test_form_of_a_big_run(record: Record, report: RunReport, form: Form) -> None:
    started = time.perf_counter()
    size = len(render(report, form).encode()) / 1e6
    seconds = time.perf_counter() - started
    record(f"report {form.value}", seconds, "s", results=RESULTS)
    record(f"report {form.value}", size, "MB", results=RESULTS)
    most_seconds, most_megabytes = CEILINGS[form]
    assert seconds < most_seconds
    assert size < most_megabytes
