import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dqctl.cli.output import plain
from dqctl.records import Table, Type
from dqctl.report import schema
from dqctl.report.model import build
from dqctl.report.render import Form, render
from dqctl.report.schema import ROWS, ComparisonDocument, ReportDocument, schemas, shipped
from unit.report import flights, test_comparison

CONTENTS = {
    "suite": flights.suite_run(),
    "profile": flights.profile_run(),
    "generation": flights.generate_run(),
    "test, nothing known": flights.nothing("test"),
    "profile, nothing known": flights.nothing("profile"),
    "generation, nothing known": flights.nothing("generate"),
    "nothing": flights.content(flights.run("test")),
}
# Python's words for those of a schema.
WORDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@pytest.mark.parametrize("name", schemas())
def test_package_has_the_schema_that_the_code_makes(name: str) -> None:
    assert shipped(name) == schemas()[name], "renew them: python -m dqctl.report.schema"


def test_package_has_no_other_schema() -> None:
    found = {path.name for path in files("dqctl.report").joinpath("schemas").iterdir()}
    assert found == {f"{name}.1.schema.json" for name in schemas()}


@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize("kind", CONTENTS)
def test_reports_are_as_their_schema_says(kind: str, samples: bool) -> None:
    content = CONTENTS[kind]
    nights = flights.history(3)
    past = flights.past(content, nights)
    report = build(content, nights, past, generated_at=flights.GENERATED_AT, samples=samples)
    text = render(report, Form.JSON)
    TypeAdapter(ReportDocument).validate_json(text, strict=True)
    assert set(json.loads(text)) == set(shipped("report")["required"])


def test_comparisons_are_as_their_schema_says() -> None:
    text = render(test_comparison.night(), Form.JSON)
    TypeAdapter(ComparisonDocument).validate_json(text, strict=True)
    found = json.loads(text)
    assert set(found) == set(shipped("comparison")["required"])
    assert set(found["counts"]) == set(shipped("comparison")["$defs"]["Changes"]["required"])


@pytest.mark.parametrize("spoil", ["run", "counts", "results", "generated_at"])
def test_a_report_that_is_otherwise_does_not_pass(spoil: str) -> None:
    found = json.loads(render(build(flights.brief_run(), generated_at=flights.GENERATED_AT), Form.JSON))
    with pytest.raises(ValidationError):
        TypeAdapter(ReportDocument).validate_json(json.dumps({**found, spoil: "otherwise"}), strict=True)


def _fits(value: object, described: Mapping[str, Any]) -> bool:
    allowed = tuple(kind for word in described["type"] for kind in WORDS[word])
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def _row(table: Table) -> dict[str, Any]:
    values = {
        Type.STRING: "text",
        Type.BIGINT: 7,
        Type.DOUBLE: 0.5,
        Type.BOOLEAN: True,
        Type.TIMESTAMP: datetime(2026, 11, 21, 2, tzinfo=UTC),
    }
    return {column.name: values.get(column.type, Decimal("1.5")) for column in table.columns}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_commands_print_are_as_their_schema_says(name: str) -> None:
    described = shipped(name)["properties"][name]["items"]
    full = _row(ROWS[name])
    rows = [full, dict.fromkeys(full), full | {key: float("nan") for key, v in full.items() if v == 0.5}]
    for row in rows:
        printed = plain(row)
        assert set(printed) == set(described["required"])
        assert not [key for key in printed if not _fits(printed[key], described["properties"][key])]


def test_schemas_name_their_format() -> None:
    for name, found in schemas().items():
        assert found["$id"] == f"urn:dqctl:{name}:{schema.FORMAT}"
        assert found["properties"]["format"]["const"] == schema.FORMAT
