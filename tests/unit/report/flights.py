"""Runs as they are published of New York's flights: what TestGen 5.134 stores, made up without randomness."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from dqctl import records
from dqctl.records import Row, RunContent
from dqctl.report.history import Past

STARTED = datetime(2026, 11, 20, 2, 0, 12, tzinfo=UTC)
GENERATED_AT = datetime(2026, 11, 20, 2, 1, 0, tzinfo=UTC)

# Table: records, columns with their type in Databricks.
TABLES: dict[str, tuple[int, dict[str, str]]] = {
    "airlines": (16, {"carrier": "string", "name": "string"}),
    "airports": (
        1458,
        {"faa": "string", "name": "string", "lat": "double", "lon": "double", "alt": "bigint", "tz": "bigint"}
        | {"dst": "string", "tzone": "string"},
    ),
    "flights": (
        336_776,
        dict.fromkeys(("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time"), "bigint")
        | dict.fromkeys(("sched_arr_time", "arr_delay"), "bigint")
        | {"carrier": "string", "flight": "bigint", "tailnum": "string", "origin": "string", "dest": "string"}
        | {"air_time": "bigint", "distance": "bigint", "hour": "bigint", "minute": "bigint"}
        | {"time_hour": "timestamp"},
    ),
    "planes": (
        3322,
        {"tailnum": "string", "year": "bigint", "type": "string", "manufacturer": "string", "model": "string"}
        | {"engines": "bigint", "seats": "bigint", "speed": "bigint", "engine": "string"},
    ),
    "weather": (
        26_115,
        {"origin": "string", "year": "bigint", "month": "bigint", "day": "bigint", "hour": "bigint"}
        | dict.fromkeys(("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"), "double")
        | {"precip": "double", "pressure": "double", "visib": "double", "time_hour": "timestamp"},
    ),
}
# Type: name, description, unit, dimension, parameters, general types of the columns it is for.
TYPES = {
    "Row_Ct": (
        "Row Count",
        "Tests that the count of records has not decreased from the baseline count.",
        "Row count",
        "Completeness",
        "threshold_value={records}",
        "table",
    ),
    "Dupe_Rows": (
        "Duplicate Rows",
        "Tests for the absence of duplicate rows based on unique combination of column values.",
        "Duplicate records",
        "Uniqueness",
        "groupby_names={names}",
        "table",
    ),
    "Required": (
        "Required Entry",
        "Tests that a non-null value is present in each record for the column, consistent with baseline data.",
        "Missing values",
        "Completeness",
        "threshold_value=0",
        "bigint string timestamp",
    ),
    "LOV_Match": (
        "Value Match",
        "Tests that column values match the list of values identified in baseline data.",
        "Non-matching records",
        "Validity",
        "baseline_value=(`9E`,`AA`,`AS`,`B6`,`DL`,`EV`,`F9`); threshold_value=0",
        "string",
    ),
    "Avg_Shift": (
        "Average Shift",
        "Tests for statistically significant shift in mean value for column from average calculated at baseline.",
        "Difference measure",
        "Consistency",
        "baseline_value_ct={records}; baseline_avg=12.6390702; baseline_sd=40.2100609; threshold_value=0.5",
        "bigint double",
    ),
    "Missing_Pct": (
        "Percent Missing",
        "Tests for statistically significant shift in percentage of missing values in column.",
        "Difference measure",
        "Completeness",
        "baseline_ct={records}; baseline_value_ct={records}; threshold_value=2.0",
        "double",
    ),
    "Min_Val": (
        "Minimum Value",
        "Tests that minimum value present in column is no lower than minimum value in baseline data.",
        "Values under limit",
        "Validity",
        "baseline_value=-43; threshold_value=0",
        "bigint double",
    ),
    "Future_Date": (
        "Past Dates",
        "Tests that maximum date referenced in column is no greater than the test date.",
        "Future dates",
        "Timeliness",
        "threshold_value=0",
        "timestamp",
    ),
}
# After the load that came twice, the column that lost values, and the carrier out of the list.
DEFECTS: dict[tuple[str, str | None, str], tuple[str, str, str | None]] = {
    ("flights", None, "Dupe_Rows"): ("Failed", "Duplicate records: 8,812", "8812"),
    ("flights", "carrier", "LOV_Match"): ("Failed", "Non-matching records: 1204, Threshold: 0", "1204"),
    ("flights", "tailnum", "Required"): ("Failed", "Missing values: 20211, Threshold: 0", "20211"),
    ("flights", "dest", "Required"): ("Failed", "Missing values: 311, Threshold: 0", "311"),
    ("flights", "dep_delay", "Avg_Shift"): ("Warning", "Difference measure: 0.82, Threshold: 0.5", "0.82"),
    ("weather", "wind_gust", "Missing_Pct"): ("Warning", "Difference measure: 2.4, Threshold: 2.0", "2.4"),
    ("planes", "speed", "Min_Val"): (
        "Error",
        "[TABLE_OR_VIEW_NOT_FOUND] The table or view `demo`.`planes` cannot be found. SQLSTATE: 42P01",
        None,
    ),
    ("airports", None, "Row_Ct"): ("Log", "Row count: 1458, Threshold: 1458", "1458"),
}


def identifier(*parts: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))))


def row(table: records.Table, **values: Any) -> Row:
    """A whole row of a published table, NULL where nothing is said."""
    unknown = set(values) - set(table.column_names)
    assert not unknown, f"{table.name} has no {unknown}"
    return {name: values.get(name) for name in table.column_names}


def run(kind: str, **values: Any) -> Row:
    given: dict[str, Any] = {
        "stack": "demo",
        "run_id": identifier("run", kind),
        "kind": kind,
        "status": "completed",
        "system": "FLIGHTS",
        "table_group": "nyc",
        "test_suite": None if kind == "profile" else "nyc-nightly",
        "connection": "lakehouse",
        "schema_name": "nyc",
        "started_at": STARTED,
        "ended_at": STARTED + timedelta(seconds=8.9),
        "seconds": 8.9,
        "table_ct": 5,
        "column_ct": 53,
        "testgen_version": "5.134.0",
        "dqctl_version": "0.1.0",
    }
    return row(records.RUNS, **given | values)


def content(run_row: Row, **rows: list[Row]) -> RunContent:
    empty: dict[str, tuple[Row, ...]] = {table.name: () for table in records.RUN_CONTENT}
    return RunContent(run_row, empty | {name: tuple(found) for name, found in rows.items()})


def result(**values: Any) -> Row:
    given = {
        "stack": "demo",
        "run_id": identifier("run", "test"),
        "id": identifier("result", sorted(values.items())),
    }
    return row(records.TEST_RESULTS, **given | values)


def results(*, defect: bool = True) -> list[Row]:
    found = []
    for table, (count, columns) in TABLES.items():
        for test_type, (name, checks, unit, dimension, parameters, wanted) in TYPES.items():
            targets = [None] if wanted == "table" else [c for c, t in columns.items() if t in wanted.split()]
            for column in targets:
                status, message, measure = "Passed", f"{unit}: 0, Threshold: 0", "0"
                if defect:
                    status, message, measure = DEFECTS.get((table, column, test_type), (status, message, measure))
                found.append(
                    result(
                        id=identifier("result", table, column, test_type),
                        system="FLIGHTS",
                        test_suite="nyc-nightly",
                        test_definition_id=identifier("definition", table, column, test_type),
                        test_type=test_type,
                        test_name_short=name,
                        dq_dimension=dimension,
                        measure_uom=unit,
                        auto_gen=True,
                        test_time=STARTED,
                        schema_name="nyc",
                        table_name=table,
                        column_names=column or ", ".join(columns),
                        input_parameters=parameters.format(records=count, names=", ".join(columns)),
                        result_code=None if status == "Error" else int(status == "Passed"),
                        severity="Warning" if "Shift" in name or "Percent" in name else "Fail",
                        result_status=status,
                        result_message=message,
                        result_measure=measure,
                        threshold_value="0",
                        test_description=checks,
                        dq_prevalence=0.06 if status == "Failed" else 0.0,
                        dq_record_ct=count,
                    )
                )
    return found


def system() -> Row:
    return row(
        records.SYSTEMS,
        stack="demo",
        run_id=identifier("run", "test"),
        id=identifier("system"),
        system="FLIGHTS",
        connection="lakehouse",
        sql_flavor="databricks",
        host="dbc.example.com",
        catalog="main",
        schema_name="nyc",
        table_group="nyc",
        test_suite="nyc-nightly",
    )


def suite_run(*, defect: bool = True, **values: Any) -> RunContent:
    given = {"dq_score": 0.9612 if defect else 1.0} | values
    return content(run("test", **given), dq_test_results=results(defect=defect), dq_systems=[system()])


def brief_run(**values: Any) -> RunContent:
    """The same with few enough results for a golden file: all trouble, and one that passed."""
    trouble = [found for found in results() if found["result_status"] != "Passed"]
    passed = next(found for found in results() if found["result_status"] == "Passed")
    return content(run("test", **values), dq_test_results=[passed, *trouble], dq_systems=[system()])


def history(runs: int = 12) -> list[Row]:
    """Earlier nights, oldest first: mostly quiet, one bad week, one night without a result."""
    total = len(results())
    nights = []
    for night in range(runs, 0, -1):
        failed = {9: 2, 8: 5, 7: 3, 3: 1}.get(night, 0)
        broken = night == 5
        nights.append(
            run(
                "test",
                run_id=identifier("earlier", night),
                status="error" if broken else "completed",
                started_at=STARTED - timedelta(days=night),
                test_ct=0 if broken else total,
                passed_ct=0 if broken else total - failed,
                failed_ct=failed,
                warning_ct=0 if broken else 1 + night % 2,
                error_ct=2 if night == 8 else 0,
                log_ct=0,
                dq_score=None if broken else 0.999 - failed / 100,
            )
        )
    return nights


def past(content: RunContent, nights: list[Row], outcomes: str = "PPPFPP") -> Past:
    """What the tests came to in those nights: ``outcomes`` repeat, and each test begins one further on."""
    letters = {"P": "Passed", "F": "Failed", "W": "Warning", "E": "Error", "L": "Log"}
    rows = []
    for number, found in enumerate(content.rows["dq_test_results"]):
        said = [letters[outcomes[(number + night) % len(outcomes)]] for night in range(len(nights))]
        rows.append(
            {
                **{
                    name: found[name] for name in ("test_definition_id", "table_name", "column_names", "test_type")
                },
                "places": list(range(1, len(nights) + 1)),
                "statuses": said,
                "measures": [None if word == "Error" else str(number + night) for night, word in enumerate(said)],
            }
        )
    return Past(tuple(night["run_id"] for night in nights), rows)


def profile_run(*, ansi: bool = True, sampled: bool = True) -> RunContent:
    columns = [
        _profiled(table, count, position, column, kind, ansi=ansi, sampled=sampled)
        for table, (count, found) in TABLES.items()
        for position, (column, kind) in enumerate(found.items(), 1)
    ]
    failed = sum(1 for column in columns if column["query_error"])
    found = run(
        "profile", record_ct=367_687, data_point_ct=7_000_000, anomaly_ct=5, column_error_ct=failed, dq_score=0.981
    )
    return content(found, dq_profile_columns=columns, dq_anomalies=_anomalies(), dq_systems=[system()])


def _profiled(table: str, count: int, position: int, column: str, kind: str, *, ansi: bool, sampled: bool) -> Row:
    text, time = kind == "string", kind == "timestamp"
    nulls = {"dep_delay": 8255, "tailnum": 2512, "speed": 3299, "wind_gust": 20_778}.get(column, 0)
    error = (
        '(DatabaseError) [CAST_INVALID_INPUT] The value \'UA\' of the type "STRING" cannot be cast to "DATE" '
        "because it is malformed. SQLSTATE: 22018"
        if ansi and text
        else None
    )
    return row(
        records.PROFILE_COLUMNS,
        stack="demo",
        run_id=identifier("run", "profile"),
        id=identifier("column", table, column),
        system="FLIGHTS",
        table_group="nyc",
        schema_name="nyc",
        run_date=STARTED,
        table_name=table,
        position=position,
        column_name=column,
        column_type=kind,
        db_data_type=kind,
        general_type="A" if text else "D" if time else "N",
        record_ct=count,
        value_ct=count - nulls,
        null_value_ct=nulls,
        zero_length_ct=0 if text else None,
        distinct_value_ct=min(count, 16 if column == "carrier" else 105),
        min_length=2 if text else None,
        max_length=6 if text else None,
        min_text="9E" if text and not error else None,
        max_text="YV" if text and not error else None,
        frequent_values='{"values": [{"ct": 58665, "value": "UA"}, {"ct": 54635, "value": "B6"}]}'
        if column == "carrier"
        else None,
        min_value=None if text or time else -43.0,
        max_value=None if text or time else 1301.0,
        avg_value=None if text or time else 12.6390702,
        min_date=datetime(2013, 1, 1, 5, tzinfo=UTC) if time else None,
        max_date=datetime(2013, 12, 31, 23, tzinfo=UTC) if time else None,
        functional_data_type="Category" if column == "carrier" else "ID-Unique" if column == "tailnum" else None,
        pii_flag="B/NAME/Individual" if column == "name" else None,
        sample_ratio=12.5 if sampled and table == "flights" else None,
        query_error=error,
    )


ANOMALY_TYPES = {
    "Small Percentage of Divergent Values Found": "Small Divergent Value Ct",
    "Variant Codings for Same Values": "Variant_Coded_Values",
    "Character Column with Mostly Date Values": "Char_Column_Date_Values",
    "Personally Identifiable Information": "Potential_PII",
    "Non-Standard Blank Values": "Non_Standard_Blanks",
}


def _anomalies() -> list[Row]:
    found = (
        (
            "Possible",
            "planes",
            "speed",
            "Small Percentage of Divergent Values Found",
            "Most common: 432, 23 of 3322",
        ),
        ("Definite", "planes", "manufacturer", "Variant Codings for Same Values", "AIRBUS, AIRBUS INDUSTRIE"),
        ("Likely", "airports", "tzone", "Character Column with Mostly Date Values", r"Values: \N, 3 of 1458"),
        ("Potential PII", "airports", "name", "Personally Identifiable Information", "Risk: MODERATE, Type: Name"),
        ("Definite", "airports", "tzone", "Non-Standard Blank Values", "Dummy values: 3, Null values: 0"),
    )
    return [
        row(
            records.ANOMALIES,
            stack="demo",
            run_id=identifier("run", "profile"),
            id=identifier("anomaly", table, column, name),
            table_name=table,
            column_name=column,
            anomaly_type=ANOMALY_TYPES[name],
            anomaly_name=name,
            anomaly_description="What this type of anomaly means, as TestGen describes it.",
            issue_likelihood=likelihood,
            suggested_action="Review your source data, ingestion process, and any processing steps.",
            dq_dimension="Validity",
            detail=detail,
        )
        for likelihood, table, column, name, detail in found
    ]


def generate_run() -> RunContent:
    definitions = [
        row(
            records.TEST_DEFINITIONS,
            stack="demo",
            run_id=identifier("run", "generate"),
            id=found["test_definition_id"],
            test_suite="nyc-nightly",
            test_type=found["test_type"],
            test_description=None,
            schema_name="nyc",
            table_name=found["table_name"],
            column_name=found["column_names"],
            threshold_value="0",
            test_active="N" if number == 3 else "Y",
            test_definition_status="Deactivated 2026-11-19: column not found" if number == 3 else None,
            last_auto_gen_date=None if number == 5 else STARTED,
            custom_query="SELECT * FROM nyc.flights WHERE dep_delay < -60" if number == 5 else None,
        )
        for number, found in enumerate(results(defect=False))
    ]
    return content(run("generate"), dq_test_definitions=definitions, dq_systems=[system()])


def nothing(kind: str) -> RunContent:
    """A run of which nothing is known but what has to be."""
    bare = {"stack": "demo", "run_id": "r", "kind": kind, "status": "completed"}
    rows = {
        "dq_test_results": [row(records.TEST_RESULTS, stack="demo", run_id="r", id="1")],
        "dq_test_definitions": [row(records.TEST_DEFINITIONS, stack="demo", run_id="r", id="1")],
        "dq_profile_columns": [row(records.PROFILE_COLUMNS, stack="demo", run_id="r", id="1")],
        "dq_anomalies": [row(records.ANOMALIES, stack="demo", run_id="r", id="1")],
        "dq_systems": [row(records.SYSTEMS, stack="demo", run_id="r", id="1")],
    }
    return content(row(records.RUNS, **bare), **rows)


def many(number: int) -> RunContent:
    """A run with ``number`` results, each with a text of its own, as a big suite has them."""
    base = results()
    found = []
    for index in range(number):
        values = dict(base[index % len(base)])
        values["id"] = identifier("many", index)
        values["test_definition_id"] = identifier("definition", index)
        values["table_name"] = f"{values['table_name']}_{index // len(base):04d}"
        values["result_message"] = f"{values['result_message']} ({index})"
        found.append(values)
    return content(run("test"), dq_test_results=found)
