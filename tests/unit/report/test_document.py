import json

from dqctl.report.document import document
from dqctl.report.model import build
from dqctl.report.render import Form, render
from unit.report import flights


def test_document_has_a_format_and_every_row() -> None:
    report = build(flights.suite_run(), flights.history(), generated_at=flights.GENERATED_AT)
    found = json.loads(render(report, Form.JSON))
    assert found["format"] == 1
    assert found == document(report)
    assert len(found["results"]) == found["counts"]["total"] == 151
    assert found["counts"]["failed"] == 4
    assert found["trend"][-1]["current"] is True


def test_keys_are_the_same_whatever_the_kind_of_run() -> None:
    contents = (flights.suite_run(), flights.profile_run(), flights.generate_run(), flights.nothing("test"))
    keys = {tuple(document(build(c, generated_at=flights.GENERATED_AT))) for c in contents}
    assert len(keys) == 1
