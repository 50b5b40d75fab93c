"""A run as OpenLineage events: data-quality facets of the tables that it was about.

A test run gives ``dataQualityAssertions`` of its tables, a profile ``dataQualityMetrics`` and ``schema``; they are
facets of input datasets, since the run reads them. An event is made of what is stored alone, so that sending it
again sends the same: receivers know a run by its id and take an event of it for an update.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from openlineage.client.event_v2 import InputDataset, Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    error_message_run,
    job_type_job,
    processing_engine_run,
    schema_dataset,
)

import dqctl
from dqctl.records import Row, RunContent
from dqctl.report.samples import VALUED_TESTS, without_values

PRODUCER = f"urn:dqctl:{dqctl.__version__}"
# Assertions and columns in one event: receivers limit a request's size. What one table has is never divided, since
# a facet replaces the one that was there.
_TOGETHER = 1000
_STATES = {"completed": RunState.COMPLETE, "canceled": RunState.ABORT}
_SEVERITIES = {"Fail": "error", "Warning": "warn", "Log": "log"}
# Names of engines in namespaces, where they are not TestGen's (OpenLineage, spec/Naming.md).
_SCHEMES = {
    "postgresql": "postgres",
    "azure_mssql": "mssql",
    "onelake_mssql": "mssql",
    "synapse_mssql": "sqlserver",
}


def events(content: RunContent, subject: Row, stack: str, *, samples: bool = False) -> tuple[RunEvent, ...]:
    """The events of a finished run: START, RUNNING as often as it takes, and COMPLETE, FAIL or ABORT.

    ``subject`` says where the tables are (``MetadataReader.export_subjects``). With ``samples``, values out of the
    data are in them: the smallest and the largest of a column, and what tests measured that is a value.
    """
    run = content.run
    begin, end = run["started_at"] or run["ended_at"], run["ended_at"] or run["started_at"]
    if begin is None:
        return ()
    if run["kind"] == "test":
        datasets = list(_tested(content.rows["dq_test_results"], subject, samples=samples))
    else:
        datasets = list(_profiled(content.rows["dq_profile_columns"], subject, samples=samples))
    groups = list(_grouped(datasets)) or [[]]
    state = _STATES.get(run["status"], RunState.FAIL)
    made = [_event(run, stack, RunState.START, begin, ())]
    made += [_event(run, stack, RunState.RUNNING, end, group) for group in groups[:-1]]
    return (*made, _event(run, stack, state, end, groups[-1]))


def _event(run: Row, stack: str, state: RunState, at: datetime, inputs: Sequence[InputDataset]) -> RunEvent:
    facets: dict[str, Any] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
            version=str(run["testgen_version"]), name="TestGen", producer=PRODUCER
        )
    }
    if state is RunState.FAIL:
        message = without_values(run["error_message"]) or "the run failed"
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=message, programmingLanguage="SQL", producer=PRODUCER
        )
    name = f"{run['system']}.{run['test_suite'] or run['table_group']}.{run['kind']}"
    kind = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="TESTGEN", jobType=str(run["kind"]).upper(), producer=PRODUCER
    )
    return RunEvent(
        eventTime=at.isoformat(),
        producer=PRODUCER,
        eventType=state,
        run=Run(runId=run["run_id"], facets=facets),
        job=Job(namespace=f"dqctl.{stack}", name=name, facets={"jobType": kind}),
        inputs=list(inputs),
        outputs=[],
    )


def _tested(results: Sequence[Row], subject: Row, *, samples: bool) -> Iterator[tuple[InputDataset, int]]:
    for (schema, table), rows in _by_table(results).items():
        facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[_assertion(row, samples=samples) for row in rows], producer=PRODUCER
        )
        yield _dataset(subject, schema, table, {"dataQualityAssertions": facet}), len(rows)


def _assertion(row: Row, *, samples: bool) -> data_quality_assertions_dataset.Assertion:
    shown = samples or row["test_type"] not in VALUED_TESTS
    columns = [name for name in (row["column_names"] or "").split(",") if name]
    params = {"testgen_status": row["result_status"], "dq_dimension": row["dq_dimension"]}
    if len(columns) > 1:
        params["columns"] = columns
    return data_quality_assertions_dataset.Assertion(
        assertion=row["test_type"],
        # What could not be evaluated is no success; its status is among the parameters.
        success=row["result_status"] in ("Passed", "Log"),
        column=columns[0] if len(columns) == 1 else None,
        severity=_SEVERITIES.get(row["severity"]),
        name=row["test_definition_id"],
        description=row["test_description"],
        expected=row["threshold_value"] if shown else None,
        actual=row["result_measure"] if shown else None,
        params={name: value for name, value in params.items() if value},
    )


def _profiled(columns: Sequence[Row], subject: Row, *, samples: bool) -> Iterator[tuple[InputDataset, int]]:
    for (schema, table), rows in _by_table(columns).items():
        fields = [
            schema_dataset.SchemaDatasetFacetFields(name=row["column_name"], type=row["db_data_type"])
            for row in rows
        ]
        metrics = data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
            rowCount=max((row["record_ct"] for row in rows if row["record_ct"] is not None), default=None),
            columnMetrics={row["column_name"]: _metrics(row, samples=samples) for row in rows},
            producer=PRODUCER,
        )
        yield (
            _dataset(
                subject,
                schema,
                table,
                {"dataQualityMetrics": metrics},
                {"schema": schema_dataset.SchemaDatasetFacet(fields=fields, producer=PRODUCER)},
            ),
            len(rows),
        )


def _metrics(row: Row, *, samples: bool) -> data_quality_metrics_input_dataset.ColumnMetrics:
    quantiles = {"0.25": "percentile_25", "0.5": "percentile_50", "0.75": "percentile_75"}
    values = {name: _number(row[column]) for name, column in quantiles.items()} if samples else {}
    return data_quality_metrics_input_dataset.ColumnMetrics(
        nullCount=row["null_value_ct"],
        distinctCount=row["distinct_value_ct"],
        count=row["value_ct"],
        min=_number(row["min_value"]) if samples else None,
        max=_number(row["max_value"]) if samples else None,
        quantiles={name: value for name, value in values.items() if value is not None} or None,
    )


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and abs(number) < float("inf") else None


def _dataset(
    subject: Row, schema: str, table: str, input_facets: Mapping[str, Any], facets: Mapping[str, Any] | None = None
) -> InputDataset:
    return InputDataset(
        namespace=namespace(subject),
        name=".".join(part for part in (_database(subject), schema, table) if part),
        facets=dict(facets or {}),
        inputFacets=dict(input_facets),
    )


def namespace(subject: Row) -> str:
    """Where the tables are, as OpenLineage names it: ``databricks://HOST``, ``postgres://HOST:PORT``."""
    flavor, host = subject["sql_flavor_code"] or subject["sql_flavor"], subject["project_host"] or ""
    if flavor == "databricks":
        return f"databricks://{host}"
    if flavor == "bigquery":
        return "bigquery"
    if flavor == "snowflake":
        return f"snowflake://{host.removesuffix('.snowflakecomputing.com')}"
    port = f":{subject['project_port']}" if subject["project_port"] else ""
    return f"{_SCHEMES.get(flavor, flavor)}://{host}{port}"


def _database(subject: Row) -> str:
    return subject["project_db"] or ""


def _by_table(rows: Sequence[Row]) -> Mapping[tuple[str, str], list[Row]]:
    """Rows by schema and table; what is about a whole schema has no table."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["schema_name"] or "", row["table_name"] or ""), []).append(row)
    return found


def _grouped(datasets: Iterable[tuple[InputDataset, int]]) -> Iterator[list[InputDataset]]:
    group: list[InputDataset] = []
    size = 0
    for dataset, count in datasets:
        if group and size + count > _TOGETHER:
            yield group
            group, size = [], 0
        group.append(dataset)
        size += count
    if group:
        yield group
