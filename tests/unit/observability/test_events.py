"""Requests to DataOps Observability: whatever TestGen stored is taken, and each result travels once."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqctl.observability.events import Chunk, chunks, envelope, halved, outcome
from observability_receiver import validate

AT = datetime(2026, 3, 1, 2, 3, 4, 560_000, tzinfo=UTC)
SUBJECT: dict[str, Any] = {
    "project_code": "shop",
    "component_key": None,
    "component_name": "",
    "table_groups_id": "3f1c0000-0000-4000-8000-000000000000",
    "table_groups_name": "tables",
    "table_group_schema": "sales",
    "profile_use_sampling": "N",
    "profile_sample_percent": "30",
    "profile_sample_min_count": 15000,
    "profiling_table_set": "'orders','customers'",
    "profiling_include_mask": "%",
    "profiling_exclude_mask": "tmp%",
    "connection_name": "pg",
    "sql_flavor": "postgresql",
    "sql_flavor_code": "postgresql",
    "project_db": "shop",
}
RESULT: dict[str, Any] = {
    "id": "r1",
    "result_status": "Passed",
    "test_time": AT,
    "column_names": "amount,note",
    "table_name": "orders",
    "schema_name": "sales",
    "table_group": "tables",
    "test_suite": "nightly",
    "input_parameters": "Threshold=10, List=a,b",
    "test_definition_id": "d1",
    "test_type": "Row_Ct",
    "test_name_short": "Row Count",
    "test_name_long": "Number of Rows is at or above threshold",
    "type_description": "Tests that the count is not lower",
    "threshold": "10",
    "operator": "<",
    "result_message": "Count: 7",
    "result_measure": "7",
    "dq_dimension": "Completeness",
    "measure_uom": "Row count",
    "measure_uom_description": "",
}
_texts = st.one_of(st.none(), st.text(max_size=30))
_rows = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "result_status": st.sampled_from(["Passed", "Failed", "Warning", "Error", "Log"]),
        "test_time": st.just(AT),
        "schema_name": st.just("sales"),
        "table_group": st.just("tables"),
        "test_suite": st.just("nightly"),
        "test_definition_id": st.uuids().map(str),
        "test_type": st.just("Row_Ct"),
        "operator": st.sampled_from([None, "<", "<=", ">", ">=", "<>", "NOT BETWEEN"]),
        "result_message": st.one_of(_texts, st.just("é" * 17_000)),
        "result_measure": st.one_of(_texts, st.decimals().map(str), st.floats().map(str)),
        "threshold": st.one_of(_texts, st.integers().map(str)),
        **dict.fromkeys(
            (
                *("column_names", "table_name", "input_parameters", "test_name_short", "test_name_long"),
                *("type_description", "dq_dimension", "measure_uom", "measure_uom_description"),
            ),
            _texts,
        ),
    }
)


def event(chunk: Chunk) -> dict[str, Any]:
    found = json.loads(chunk.body)
    assert isinstance(found, dict)
    return found


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(_rows, max_size=12), subject=st.sampled_from(["%", "", None]), sampled=st.sampled_from("YN"))
def test_whatever_is_stored_is_taken_and_travels_once(
    rows: list[dict[str, Any]], subject: str | None, sampled: str
) -> None:
    about = envelope({**SUBJECT, "profiling_include_mask": subject, "profile_use_sampling": sampled}, AT)
    made = list(chunks(about, rows))
    assert [each for chunk in made for each in chunk.results] == [row["id"] for row in rows]
    for chunk in made:
        assert len(chunk.body) < 100 * 1024
        validate(event(chunk))
        assert [each["key"] for each in event(chunk)["test_outcomes"]] == [
            row["test_definition_id"] for row in rows if row["id"] in chunk.results
        ]


@given(count=st.integers(2, 40))
def test_halves_have_all_of_it_in_order(count: int) -> None:
    (whole,) = chunks(envelope(SUBJECT, AT), [{**RESULT, "id": f"r{place}"} for place in range(count)])
    first, second = halved(whole)
    assert first.results + second.results == whole.results
    assert event(first)["test_outcomes"] + event(second)["test_outcomes"] == event(whole)["test_outcomes"]
    assert abs(len(first.results) - len(second.results)) <= 1


def test_requests_are_as_big_as_testgens_and_never_of_more_than_500_outcomes() -> None:
    about = envelope(SUBJECT, AT)
    sizes = [len(chunk.results) for chunk in chunks(about, [RESULT] * 2000)]
    assert sum(sizes) == 2000
    assert max(len(chunk.body) for chunk in chunks(about, [RESULT] * 2000)) < 52_000
    short = {**RESULT, **dict.fromkeys(("type_description", "input_parameters", "result_message"))}
    assert max(len(chunk.results) for chunk in chunks(about, [short] * 2000)) <= 500


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("a=1", {"a": "1"}),
        ("Threshold=10, List=a,b", {"Threshold": "10", "List": "a,b"}),
        ("Condition=x = 5, Other= y ", {"x": "5", "Other": "y"}),
        ("a=1,2,b=3", {"a": "1,2", "b": "3"}),
        ("a=, b=2", {"b": "2"}),
        ("no parameter", {}),
        ("=x", {}),
        (None, {}),
    ],
)
def test_parameters_are_divided_as_testgen_divides_them(stored: str | None, sent: Mapping[str, str]) -> None:
    made = outcome({**RESULT, "input_parameters": stored})["integrations"]["testgen"]["test_parameters"]
    assert {each["name"]: each["value"] for each in made} == sent


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("7.25", "7.25"),
        (" 7 ", " 7 "),
        ("-1e3", "-1e3"),
        ("999999999999999.99999", "999999999999999.99999"),
        ("1000000000000000", None),
        ("NaN", None),
        ("Infinity", None),
        ("2026-03-01", None),
        ("", None),
        (None, None),
    ],
)
def test_a_measure_is_a_number_that_the_receiver_has_room_for(stored: str | None, sent: str | None) -> None:
    assert outcome({**RESULT, "result_measure": stored})["metric_value"] == sent


@pytest.mark.parametrize(
    ("status", "sent", "metadata"),
    [
        ("Passed", "PASSED", {}),
        ("Failed", "FAILED", {}),
        ("Warning", "WARNING", {}),
        ("Error", "FAILED", {"testgen_status": "Error"}),
        ("Log", "PASSED", {"testgen_status": "Log"}),
        ("Of tomorrow", "FAILED", {"testgen_status": "Of tomorrow"}),
    ],
)
def test_a_status_that_the_receiver_has_no_word_for_is_said_beside_it(
    status: str, sent: str, metadata: Mapping[str, str]
) -> None:
    made = outcome({**RESULT, "result_status": status})
    assert (made["status"], made["metadata"]) == (sent, metadata)


@pytest.mark.parametrize(
    ("operator", "low", "high"),
    [("<", None, "10"), ("<=", None, "10"), (">", "10", None), (">=", "10", None), ("<>", None, None)],
)
def test_a_threshold_is_on_the_side_that_testgen_puts_it(operator: str, low: str, high: str) -> None:
    made = outcome({**RESULT, "operator": operator})
    assert (made["min_threshold"], made["max_threshold"]) == (low, high)


def test_files_have_no_schema_and_samples_are_named() -> None:
    made = envelope({**SUBJECT, "sql_flavor_code": "s3", "profile_use_sampling": "Y"}, AT)
    about = made["component_integrations"]["integrations"]["testgen"]
    assert about["schema"] is None
    group = about["table_group_configuration"]
    assert (group["sample_percentage"], group["sample_minimum_count"]) == ("30", 15000)
    assert (made["dataset_key"], made["dataset_name"]) == (SUBJECT["table_groups_id"], "tables")
    assert made["event_timestamp"] == "2026-03-01T02:03:04Z"
