"""Runs as OpenLineage events, by the facets' definitions (spec 2-0-2, facets 1-1-0 and 1-0-3)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from openlineage.client.serde import Serde

from dqctl.records import RunContent
from dqctl.report.lineage import events, namespace

BEGUN, ENDED = datetime(2026, 3, 1, 2, 0, tzinfo=UTC), datetime(2026, 3, 1, 2, 5, tzinfo=UTC)
RUN: dict[str, Any] = {
    "run_id": "3f1c0000-0000-4000-8000-000000000000",
    "kind": "test",
    "status": "completed",
    "system": "shop",
    "test_suite": "nightly",
    "table_group": "tables",
    "started_at": BEGUN,
    "ended_at": ENDED,
    "testgen_version": "5.134.0",
    "error_message": None,
}
RESULT: dict[str, Any] = {
    "schema_name": "sales",
    "table_name": "orders",
    "column_names": "amount",
    "test_type": "Missing_Pct",
    "result_status": "Passed",
    "severity": "Fail",
    "test_definition_id": "d1",
    "test_description": "Few are missing",
    "threshold_value": "10",
    "result_measure": "7",
    "dq_dimension": "Completeness",
}
COLUMN: dict[str, Any] = {
    "schema_name": "sales",
    "table_name": "orders",
    "column_name": "amount",
    "db_data_type": "decimal(10,2)",
    "record_ct": 100,
    "value_ct": 90,
    "null_value_ct": 10,
    "distinct_value_ct": 80,
    "min_value": 1.5,
    "max_value": float("inf"),
    "percentile_25": 2,
    "percentile_50": 3,
    "percentile_75": None,
}
DATABRICKS: dict[str, Any] = {
    "sql_flavor": "databricks",
    "sql_flavor_code": "databricks",
    "project_host": "dbc-1.cloud.databricks.com",
    "project_port": "443",
    "project_db": "main",
}


def made(run: dict[str, Any], rows: list[dict[str, Any]], **options: bool) -> list[dict[str, Any]]:
    table = "dq_test_results" if run["kind"] == "test" else "dq_profile_columns"
    found = events(RunContent(run, {table: tuple(rows)}), DATABRICKS, "lab", **options)
    return [json.loads(Serde.to_json(event)) for event in found]


def test_a_test_run_begins_and_ends_with_the_assertions_of_its_tables() -> None:
    start, end = made(
        RUN,
        [
            RESULT,
            {**RESULT, "column_names": "a,b", "result_status": "Error", "severity": "Warning"},
            {**RESULT, "table_name": None, "column_names": None, "result_status": "Log", "severity": "Log"},
        ],
    )
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert (start["eventTime"], end["eventTime"]) == ("2026-03-01T02:00:00+00:00", "2026-03-01T02:05:00+00:00")
    assert start["run"]["runId"] == end["run"]["runId"] == RUN["run_id"]
    assert (end["job"]["namespace"], end["job"]["name"]) == ("dqctl.lab", "shop.nightly.test")
    orders, schema = end["inputs"]
    assert (orders["namespace"], orders["name"]) == (
        "databricks://dbc-1.cloud.databricks.com",
        "main.sales.orders",
    )
    assert schema["name"] == "main.sales"
    facet = orders["inputFacets"]["dataQualityAssertions"]
    assert "DataQualityAssertionsDatasetFacet.json" in facet["_schemaURL"]
    first, errored = facet["assertions"]
    assert first == {
        "assertion": "Missing_Pct",
        "success": True,
        "column": "amount",
        "severity": "error",
        "name": "d1",
        "description": "Few are missing",
        "expected": "10",
        "actual": "7",
        "params": {"testgen_status": "Passed", "dq_dimension": "Completeness"},
    }
    assert (errored["success"], errored["severity"], errored["params"]["columns"]) == (False, "warn", ["a", "b"])
    assert "column" not in errored
    assert schema["inputFacets"]["dataQualityAssertions"]["assertions"][0]["success"] is True


def test_a_profile_has_counts_and_values_only_where_they_are_asked_for() -> None:
    run = {**RUN, "kind": "profile", "test_suite": None}
    _, end = made(run, [COLUMN])
    (orders,) = end["inputs"]
    assert end["job"]["name"] == "shop.tables.profile"
    metrics = orders["inputFacets"]["dataQualityMetrics"]
    assert metrics["rowCount"] == 100
    counts = {"count": 90, "nullCount": 10, "distinctCount": 80}
    assert metrics["columnMetrics"] == {"amount": counts}
    assert orders["facets"]["schema"]["fields"] == [{"name": "amount", "type": "decimal(10,2)", "fields": []}]
    _, shown = made(run, [COLUMN], samples=True)
    assert shown["inputs"][0]["inputFacets"]["dataQualityMetrics"]["columnMetrics"]["amount"] == {
        **counts,
        "min": 1.5,
        "quantiles": {"0.25": 2, "0.5": 3},
    }


def test_what_a_test_measured_is_left_out_where_it_is_a_value_of_the_data() -> None:
    rows = [{**RESULT, "test_type": "LOV_All"}]
    _, end = made(RUN, rows)
    (assertion,) = end["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert not {"expected", "actual"} & set(assertion)
    _, end = made(RUN, rows, samples=True)
    (assertion,) = end["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (assertion["expected"], assertion["actual"]) == ("10", "7")


def test_many_results_travel_in_several_events_and_a_table_in_one() -> None:
    rows = [{**RESULT, "table_name": f"t{place % 5}"} for place in range(3000)]
    start, *running, end = made(RUN, rows)
    assert [event["eventType"] for event in running] == ["RUNNING"] * 4
    assert not start["inputs"]
    names = [dataset["name"] for event in (*running, end) for dataset in event["inputs"]]
    assert sorted(names) == [f"main.sales.t{place}" for place in range(5)]
    assert made(RUN, rows) == [start, *running, end], "made of what is stored alone"


@pytest.mark.parametrize(("status", "state"), [("error", "FAIL"), ("canceled", "ABORT")])
def test_a_run_that_did_not_complete_says_so(status: str, state: str) -> None:
    message = "no such host: \"db.example.com\", value 'secret cell'"
    *_, end = made({**RUN, "status": status, "started_at": None, "error_message": message}, [])
    assert end["eventType"] == state
    if state == "FAIL":
        assert "no such host" in end["run"]["facets"]["errorMessage"]["message"]
        assert "secret cell" not in json.dumps(end)


def test_a_run_that_nobody_knows_the_time_of_has_no_events() -> None:
    assert not made({**RUN, "started_at": None, "ended_at": None}, [])


@pytest.mark.parametrize(
    ("flavor", "host", "port", "named"),
    [
        ("postgresql", "db.example.com", "5432", "postgres://db.example.com:5432"),
        ("snowflake", "org-account.snowflakecomputing.com", "443", "snowflake://org-account"),
        ("bigquery", None, None, "bigquery"),
        ("azure_mssql", "h", "1433", "mssql://h:1433"),
        ("oracle", "h", None, "oracle://h"),
    ],
)
def test_a_place_is_named_as_openlineage_names_it(flavor: str, host: str, port: str, named: str) -> None:
    subject = {"sql_flavor": flavor, "sql_flavor_code": flavor, "project_host": host, "project_port": port}
    assert namespace(subject) == named
