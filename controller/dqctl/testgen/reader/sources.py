"""Where the columns of the published tables are found in TestGen's metadata.

A column is looked for under its own name in the source's first table. What is called otherwise, or comes from a
table joined to it, is listed: the first place that the version has is read. What no place has is NULL.
"""

# ruff: noqa: S608 - SQL text out of names that are written here; values travel as parameters

from collections.abc import Mapping
from dataclasses import dataclass, field

from dqctl import records
from dqctl.records import Table
from dqctl.testgen.capabilities import Capabilities


@dataclass(frozen=True)
class Source:
    """The rows of one published table.

    ``aliases`` names the metadata tables of ``joined`` (a FROM clause) by alias, the first has the columns of the
    same name. ``places`` lists "alias.column" in order of preference, ``computed`` holds SQL of the right type.
    """

    table: Table
    aliases: Mapping[str, str]
    joined: str
    where: str
    order_by: str
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    computed: Mapping[str, str] = field(default_factory=dict)


_GROUP = {"table_group": ("g.table_groups_name",), "table_groups_id": ("g.id",)}
_SUITE = {"test_suite": ("s.test_suite",), "test_suite_id": ("s.id",)}
# What the caller knows already; cast, because PostgreSQL does not guess the type of a parameter in a SELECT list.
_CONSTANTS = {"stack": "%(stack)s::text", "run_id": "%(job)s::text"}


# The same tables in all versions. What was dropped on the target keeps its last score: it is left out.
_SCORED = (
    "SELECT id::text AS id, id AS table_groups_id, 'table_group' AS level,"
    " table_group_schema::text AS schema_name, NULL::text AS table_name, NULL::text AS column_name,"
    " NULL::text AS scorecard, NULL::text AS category, dq_score_profiling::float8 AS score_profiling,"
    " dq_score_testing::float8 AS score_testing, NULL::float8 AS score"
    " FROM table_groups WHERE id = %(table_groups_id)s::uuid"
    " UNION ALL SELECT table_id::text, table_groups_id, 'table', schema_name::text, table_name::text, NULL, NULL,"
    " NULL, dq_score_profiling::float8, dq_score_testing::float8, NULL FROM data_table_chars"
    " WHERE table_groups_id = %(table_groups_id)s::uuid AND drop_date IS NULL"
    " UNION ALL SELECT column_id::text, table_groups_id, 'column', schema_name::text, table_name::text,"
    " column_name::text, NULL, NULL, dq_score_profiling::float8, dq_score_testing::float8, NULL"
    " FROM data_column_chars WHERE table_groups_id = %(table_groups_id)s::uuid AND drop_date IS NULL"
    " UNION ALL SELECT score_definitions.id::text || ':' || score_definition_results.category,"
    " NULL, 'scorecard', NULL, NULL, NULL,"
    " score_definitions.name::text, score_definition_results.category::text, NULL, NULL,"
    " score_definition_results.score::float8 FROM score_definition_results"
    " JOIN score_definitions ON score_definitions.id = score_definition_results.definition_id"
    " WHERE score_definitions.project_code = %(project_code)s"
)


def content_sources(capabilities: Capabilities) -> tuple[Source, ...]:
    """The sources of ``records.RUN_CONTENT``, in that order.

    Their parameters: ``stack``; ``job``, the id of the run's job, which is what dqctl calls the run; ``own_run``,
    what TestGen calls it; ``test_suite_id``, ``table_groups_id`` and ``project_code`` of the run.
    """
    return (
        Source(
            records.TEST_RESULTS,
            {"r": "test_results", "s": "test_suites", "g": "table_groups", "t": "test_types"},
            "test_results r LEFT JOIN test_suites s ON s.id = r.test_suite_id"
            " LEFT JOIN table_groups g ON g.id = COALESCE(r.table_groups_id, s.table_groups_id)"
            " LEFT JOIN test_types t ON t.test_type = r.test_type",
            "r.test_run_id = %(own_run)s::uuid",
            'r.schema_name COLLATE "C", r.table_name COLLATE "C", r.column_names COLLATE "C",'
            ' r.test_type COLLATE "C", r.id',
            {
                "system": ("s.project_code",),
                **_GROUP,
                **_SUITE,
                "test_name_short": ("t.test_name_short",),
                "dq_dimension": ("t.dq_dimension",),
                "measure_uom": ("t.measure_uom",),
            },
            _CONSTANTS,
        ),
        Source(
            records.TEST_DEFINITIONS,
            {"d": "test_definitions", "s": "test_suites", "g": "table_groups"},
            "test_definitions d JOIN test_suites s ON s.id = d.test_suite_id"
            " LEFT JOIN table_groups g ON g.id = COALESCE(d.table_groups_id, s.table_groups_id)",
            "d.test_suite_id = %(test_suite_id)s::uuid",
            'd.schema_name COLLATE "C", d.table_name COLLATE "C", d.column_name COLLATE "C",'
            ' d.test_type COLLATE "C", d.id',
            {"system": ("s.project_code",), **_GROUP, **_SUITE},
            _CONSTANTS | _profile_run(capabilities),
        ),
        Source(
            records.PROFILE_COLUMNS,
            {"p": "profile_results", "g": "table_groups"},
            "profile_results p LEFT JOIN table_groups g ON g.id = p.table_groups_id",
            "p.profile_run_id = %(own_run)s::uuid",
            'p.schema_name COLLATE "C", p.table_name COLLATE "C", p.position, p.column_name COLLATE "C", p.id',
            {
                "system": ("p.project_code",),
                **_GROUP,
                # Their names before JSON came.
                "frequent_patterns": ("p.frequent_patterns", "p.top_patterns"),
                "frequent_values": ("p.frequent_values", "p.top_freq_values"),
            },
            _CONSTANTS,
        ),
        Source(
            records.ANOMALIES,
            {"a": "profile_anomaly_results", "g": "table_groups", "t": "profile_anomaly_types"},
            "profile_anomaly_results a LEFT JOIN table_groups g ON g.id = a.table_groups_id"
            " LEFT JOIN profile_anomaly_types t ON t.id = a.anomaly_id",
            "a.profile_run_id = %(own_run)s::uuid",
            'a.schema_name COLLATE "C", a.table_name COLLATE "C", a.column_name COLLATE "C",'
            ' a.anomaly_id COLLATE "C", a.id',
            {
                "system": ("a.project_code",),
                **_GROUP,
                "anomaly_type": ("t.anomaly_type",),
                "anomaly_name": ("t.anomaly_name",),
                "anomaly_description": ("t.anomaly_description",),
                "issue_likelihood": ("t.issue_likelihood",),
                "suggested_action": ("t.suggested_action",),
                "dq_dimension": ("t.dq_dimension",),
                "impact_dimension": ("a.impact_dimension", "t.impact_dimension"),
            },
            _CONSTANTS,
        ),
        Source(
            records.SCORES,
            {"g": "table_groups"},
            f"({_SCORED}) x LEFT JOIN table_groups g ON g.id = x.table_groups_id",
            "TRUE",
            'x.level, x.schema_name COLLATE "C", x.table_name COLLATE "C", x.column_name COLLATE "C",'
            ' x.category COLLATE "C", x.id',
            _GROUP,
            {
                **_CONSTANTS,
                **{name: f"x.{name}" for name in ("id", "level", "score_profiling", "score_testing")},
                **{name: f"x.{name}" for name in ("schema_name", "table_name", "column_name")},
                **{name: f"x.{name}" for name in ("scorecard", "category")},
                "system": "%(project_code)s::text",
                # As TestGen makes a scorecard's out of the two.
                "score": "COALESCE(x.score, CASE WHEN x.score_profiling IS NOT NULL OR x.score_testing IS NOT NULL"
                " THEN COALESCE(x.score_profiling, 1) * COALESCE(x.score_testing, 1) END)",
            },
        ),
        Source(
            records.SYSTEMS,
            {"g": "table_groups", "s": "test_suites", "c": "connections", "j": "projects"},
            "table_groups g JOIN projects j ON j.project_code = g.project_code"
            " LEFT JOIN connections c ON c.connection_id = g.connection_id"
            " LEFT JOIN test_suites s ON s.table_groups_id = g.id",
            "g.project_code = %(project_code)s",
            'g.table_groups_name COLLATE "C", s.test_suite COLLATE "C", g.id, s.id',
            {
                "id": ("s.id", "g.id"),
                "system": ("g.project_code",),
                "system_name": ("j.project_name",),
                "connection": ("c.connection_name",),
                "connection_id": ("c.connection_id",),
                "sql_flavor": ("c.sql_flavor_code", "c.sql_flavor"),
                "host": ("c.project_host",),
                "http_path": ("c.http_path",),
                "catalog": ("c.project_db",),
                **_GROUP,
                "schema_name": ("g.table_group_schema",),
                "include_mask": ("g.profiling_include_mask",),
                "exclude_mask": ("g.profiling_exclude_mask",),
                "table_set": ("g.profiling_table_set",),
                **_SUITE,
                "test_suite_description": ("s.test_suite_description",),
                "severity": ("s.severity",),
            },
            _CONSTANTS | {"id": "COALESCE(s.id, g.id)::text", "sampled": "g.profile_use_sampling = 'Y'"},
        ),
    )


def run_source(capabilities: Capabilities) -> Source:
    """The source of ``records.RUNS``: the job's row, which every kind of run has, and what hangs on it.

    Outcomes are counted from the results themselves: TestGen writes its own counts only when a run completes.
    """
    profile, test = "j.job_key = 'run-profile'", "j.job_key IN ('run-tests', 'run-monitors')"
    counts = {column: f"CASE WHEN {test} THEN o.{column} END" for column in ("test_ct", *OUTCOMES.values())}
    return Source(
        records.RUNS,
        {
            "j": "job_executions",
            "tr": "test_runs",
            "pr": "profiling_runs",
            "s": "test_suites",
            "g": "table_groups",
            "c": "connections",
            "v": "tg_revision",
        },
        f"{_subjects(capabilities)}"
        " LEFT JOIN connections c ON c.connection_id = COALESCE(pr.connection_id, g.connection_id)"
        " LEFT JOIN tg_revision v ON v.component = 'metadata_db'"
        f" LEFT JOIN LATERAL (SELECT {_outcomes()} FROM test_results WHERE test_run_id = tr.id) o ON TRUE"
        " LEFT JOIN LATERAL (SELECT COUNT(*) AS anomaly_ct FROM profile_anomaly_results"
        " WHERE profile_run_id = pr.id) a ON TRUE"
        " LEFT JOIN LATERAL (SELECT COUNT(*) FILTER (WHERE query_error > '') AS column_error_ct"
        " FROM profile_results WHERE profile_run_id = pr.id) p ON TRUE",
        FINISHED,
        "j.completed_at DESC NULLS LAST, j.created_at DESC, j.id",
        {
            "run_id": ("j.id",),
            "status": ("j.status",),
            "system": ("j.project_code",),
            **_GROUP,
            **_SUITE,
            "connection": ("c.connection_name",),
            "started_at": ("j.started_at",),
            "ended_at": ("j.completed_at",),
            "error_message": ("j.error_message",),
            "record_ct": ("pr.record_ct",),
            "data_point_ct": ("pr.data_point_ct",),
            "schema_revision": ("v.revision",),
        },
        {
            "stack": "%(stack)s::text",
            "testgen_version": "%(version)s::text",
            "kind": _kind(),
            "schema_name": "g.table_group_schema",
            "seconds": "EXTRACT(EPOCH FROM j.completed_at - j.started_at)::float8",
            **counts,
            "anomaly_ct": f"CASE WHEN {profile} THEN a.anomaly_ct END",
            "column_error_ct": f"CASE WHEN {profile} THEN p.column_error_ct END",
            "table_ct": "COALESCE(pr.table_ct, tr.table_ct)::bigint",
            "column_ct": "COALESCE(pr.column_ct, tr.column_ct)::bigint",
            "dq_affected_data_points": "COALESCE(pr.dq_affected_data_points, tr.dq_affected_data_points)",
            "dq_total_data_points": "COALESCE(pr.dq_total_data_points, tr.dq_total_data_points)",
            "dq_score": "COALESCE(pr.dq_score_profiling, tr.dq_score_test_run)::float8",
        },
    )


def _subjects(capabilities: Capabilities) -> str:
    """A FROM clause: each job ``j``, its run, the suite ``s`` and the table group ``g`` that it is about."""
    own = _own_run_id(capabilities)
    return (
        f"job_executions j LEFT JOIN test_runs tr ON tr.{own} = j.id"
        f" LEFT JOIN profiling_runs pr ON pr.{own} = j.id"
        # A generation has no row of its own, and a run that failed early has none either.
        " LEFT JOIN test_suites s ON s.id::text = COALESCE(tr.test_suite_id::text, j.kwargs ->> 'test_suite_id')"
        " LEFT JOIN table_groups g ON g.id::text ="
        " COALESCE(pr.table_groups_id::text, s.table_groups_id::text, j.kwargs ->> 'table_group_id')"
    )


def newest(capabilities: Capabilities) -> str:
    """SQL: of each kind of finished run and what it is about, the newest one's id and its last success (UTC)."""
    of_each = "PARTITION BY j.job_key, s.id, g.id"
    return (
        "SELECT run_id, last_success FROM ("
        "SELECT j.id::text AS run_id, j.completed_at, MAX(j.completed_at) FILTER (WHERE j.status = 'completed')"
        f" OVER ({of_each}) AS last_success,"
        f" ROW_NUMBER() OVER ({of_each} ORDER BY j.completed_at DESC NULLS LAST, j.created_at DESC, j.id) AS place"
        f" FROM {_subjects(capabilities)} WHERE {FINISHED}"
        ") x WHERE place = 1 ORDER BY completed_at DESC NULLS LAST LIMIT %(limit)s"
    )


def sizes(capabilities: Capabilities) -> str:
    """SQL: how many rows the runs ``jobs`` have in the tables that grow with what is checked."""
    own = _own_run_id(capabilities)
    return (
        "WITH run AS (SELECT j.id, tr.id AS test_run, pr.id AS profile_run,"
        " COALESCE(tr.test_suite_id::text, j.kwargs ->> 'test_suite_id') AS suite, j.job_key"
        f" FROM job_executions j LEFT JOIN test_runs tr ON tr.{own} = j.id"
        f" LEFT JOIN profiling_runs pr ON pr.{own} = j.id WHERE j.id = ANY(%(jobs)s::uuid[])),"
        # Each suite is counted once, however many of its runs there are.
        " suite AS (SELECT test_suite_id::text AS id, COUNT(*) AS definitions FROM test_definitions"
        " WHERE test_suite_id::text IN (SELECT suite FROM run) GROUP BY 1),"
        " result AS (SELECT test_run_id AS id, COUNT(*) AS ct FROM test_results"
        " WHERE test_run_id = ANY(ARRAY(SELECT test_run FROM run)) GROUP BY 1),"
        " profile AS (SELECT profile_run_id AS id, COUNT(*) AS ct FROM profile_results"
        " WHERE profile_run_id = ANY(ARRAY(SELECT profile_run FROM run)) GROUP BY 1),"
        " anomaly AS (SELECT profile_run_id AS id, COUNT(*) AS ct FROM profile_anomaly_results"
        " WHERE profile_run_id = ANY(ARRAY(SELECT profile_run FROM run)) GROUP BY 1)"
        " SELECT run.id::text AS run_id,"
        f" COALESCE(result.ct, 0) AS {records.TEST_RESULTS.name},"
        f" COALESCE(suite.definitions, 0) AS {records.TEST_DEFINITIONS.name},"
        f" COALESCE(profile.ct, 0) AS {records.PROFILE_COLUMNS.name},"
        f" COALESCE(anomaly.ct, 0) AS {records.ANOMALIES.name}"
        " FROM run LEFT JOIN suite ON suite.id = run.suite LEFT JOIN result ON result.id = run.test_run"
        " LEFT JOIN profile ON profile.id = run.profile_run LEFT JOIN anomaly ON anomaly.id = run.profile_run"
    )


def outcomes(capabilities: Capabilities) -> str:
    """SQL: what every test of the test runs ``jobs`` came to; ``places`` are those of the runs in ``jobs``."""
    return (
        "SELECT x.test_definition_id::text, x.table_name, x.column_names, x.test_type,"
        " array_agg(array_position(%(jobs)s::uuid[], j.id)) AS places,"
        " array_agg(x.result_status::text) AS statuses, array_agg(x.result_measure::text) AS measures"
        f" FROM job_executions j JOIN test_runs tr ON tr.{_own_run_id(capabilities)} = j.id"
        " JOIN test_results x ON x.test_run_id = tr.id"
        " WHERE j.id = ANY(%(jobs)s::uuid[]) GROUP BY 1, 2, 3, 4"
    )


# What an export has of a result beside its row of ``dq_test_results``: name to SQL, for the source's aliases.
EXPORTED = {
    "test_name_long": "t.test_name_long::text",
    "type_description": "t.test_description::text",
    "measure_uom_description": "t.measure_uom_description::text",
    # The definition as it is now, as in TestGen's own export; one that is gone left its threshold in the result.
    "threshold": "COALESCE((SELECT d.threshold_value FROM test_definitions d WHERE d.id = r.test_definition_id),"
    " r.threshold_value)::text",
    # How a type compares, where it is evaluated with others in one statement; other types have no such thing.
    "operator": "(SELECT o.test_operator FROM cat_test_conditions o"
    " JOIN connections c ON c.sql_flavor = o.sql_flavor"
    " WHERE c.connection_id = g.connection_id AND o.test_type = r.test_type)::text",
}
_QUEUED = "r.observability_status = 'Queued'"
QUEUED = f"{_QUEUED} AND r.id <> ALL(%(without)s::uuid[])"


def queued(capabilities: Capabilities) -> str:
    """SQL: finished test runs with results that wait for an export: ``run_id``, and how many there are."""
    return (
        "SELECT j.id::text AS run_id, COUNT(*) AS results FROM test_results r"
        " JOIN test_runs tr ON tr.id = r.test_run_id"
        f" JOIN job_executions j ON j.id = tr.{_own_run_id(capabilities)}"
        f" WHERE {_QUEUED} AND {FINISHED} GROUP BY j.id"
    )


# What an export says about a suite's table group and where its tables are.
EXPORT_SUBJECTS = (
    "SELECT s.id::text AS test_suite_id, s.project_code::text, s.component_key::text, s.component_name::text,"
    " g.id::text AS table_groups_id, g.table_groups_name::text, g.table_group_schema::text,"
    " g.profile_use_sampling::text, g.profile_sample_percent::text, g.profile_sample_min_count,"
    " g.profiling_table_set::text, g.profiling_include_mask::text, g.profiling_exclude_mask::text,"
    " c.connection_name::text, c.sql_flavor::text, c.sql_flavor_code::text, c.project_host::text,"
    " c.project_port::text, c.project_db::text"
    " FROM table_groups g JOIN connections c ON c.connection_id = g.connection_id"
    " LEFT JOIN test_suites s ON s.table_groups_id = g.id"
)


KINDS = {
    "run-profile": "profile",
    "run-test-generation": "generate",
    "run-monitor-generation": "generate",
    "run-tests": "test",
    "run-monitors": "test",
}
OUTCOMES = {
    "Passed": "passed_ct",
    "Failed": "failed_ct",
    "Warning": "warning_ct",
    "Error": "error_ct",
    "Log": "log_ct",
}
FINISHED = "j.status = ANY(%(final)s) AND j.job_key = ANY(%(job_keys)s)"


def own_run_id(capabilities: Capabilities) -> str:
    """SQL: what TestGen calls the run of job ``j``, where it differs from the job's id."""
    return "j.id" if capabilities.run_id_is_job_id else "COALESCE(tr.id, pr.id)"


def _own_run_id(capabilities: Capabilities) -> str:
    return "id" if capabilities.run_id_is_job_id else "job_execution_id"


def _profile_run(capabilities: Capabilities) -> dict[str, str]:
    if capabilities.run_id_is_job_id:
        return {}
    # A definition names the profile by TestGen's id, the published runs go by the job's.
    return {
        "profile_run_id": "COALESCE((SELECT x.job_execution_id FROM profiling_runs x"
        " WHERE x.id = d.profile_run_id), d.profile_run_id)::text"
    }


def _outcomes() -> str:
    counts = [f"COUNT(*) FILTER (WHERE result_status = '{status}') AS {name}" for status, name in OUTCOMES.items()]
    return ", ".join(["COUNT(*) AS test_ct", *counts])


def _kind() -> str:
    return "CASE j.job_key " + " ".join(f"WHEN '{key}' THEN '{kind}'" for key, kind in KINDS.items()) + " END"
