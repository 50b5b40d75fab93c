"""What dqctl publishes, as data: tables, columns, types and meanings.

One definition serves three readers: ``tables`` makes SQL, Arrow schemas and migrations out of it,
``testgen`` reads TestGen's metadata into rows of it, ``report`` shows those rows. A row is a plain mapping
from column name to value (``None`` is NULL); its Python types follow the column's ``Type``.

The columns that TestGen stores keep TestGen's names. Those that only some versions of TestGen have are NULL
in the others. JSON columns hold the text that PostgreSQL makes of them: keys in its fixed order, numbers to the
last digit. Times before the year 1 or after 9999 (and infinite ones), and decimals that are no number, are NULL:
Delta has no room for them.

Long because it is one list: every published column with its meaning, which nothing gains from being cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Place(NamedTuple):
    """Where a test stands. A generated test is known by it: TestGen makes such tests anew, under other ids."""

    table: str
    column: str
    test_type: str


def place_of(result: Row) -> Place:
    """Where the test of a result stands."""
    return Place(result.get("table_name") or "", result.get("column_names") or "", result.get("test_type") or "")


class Type(StrEnum):
    """Column types, as Databricks SQL spells them. Timestamps are UTC."""

    STRING = "STRING"
    BIGINT = "BIGINT"
    DOUBLE = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    TIMESTAMP = "TIMESTAMP"
    DECIMAL_38_0 = "DECIMAL(38,0)"
    DECIMAL_38_6 = "DECIMAL(38,6)"
    DECIMAL_38_8 = "DECIMAL(38,8)"


@dataclass(frozen=True)
class Column:
    """One column. ``since`` is the migration that brought it; ``required`` means NOT NULL."""

    name: str
    type: Type
    comment: str
    required: bool = False
    since: int = 1


@dataclass(frozen=True)
class Table:
    """One published table. ``key`` identifies a row for ever; ``cluster_by`` is how readers look for it.

    ``since`` is the migration that brought it, ``properties`` are those of Delta that only this table has.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    cluster_by: tuple[str, ...]
    since: int = 1
    properties: tuple[tuple[str, str], ...] = ()

    def column(self, name: str) -> Column:
        """The column called ``name``; ``KeyError`` when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(column.name for column in self.columns)


def _text(name: str, comment: str, *, required: bool = False) -> Column:
    return Column(name, Type.STRING, comment, required)


def _count(name: str, comment: str) -> Column:
    return Column(name, Type.BIGINT, comment)


def _number(name: str, comment: str) -> Column:
    return Column(name, Type.DOUBLE, comment)


def _flag(name: str, comment: str) -> Column:
    return Column(name, Type.BOOLEAN, comment)


def _time(name: str, comment: str) -> Column:
    return Column(name, Type.TIMESTAMP, comment)


_STACK = _text("stack", "The dqctl stack that ran it.", required=True)
_RUN_ID = _text("run_id", "The run: id of its job in TestGen (UUID).", required=True)
_ROW_ID = _text("id", "The row's own id in TestGen (UUID).", required=True)
_RUN_KEY = ("stack", "run_id", "id")

_SUBJECT = (
    _text("system", "The system that was checked: TestGen's project code."),
    _text("table_group", "Name of the table group."),
    _text("table_groups_id", "Id of the table group (UUID)."),
)
_SUITE = (
    _text("test_suite", "Name of the test suite."),
    _text("test_suite_id", "Id of the test suite (UUID)."),
)

RUNS = Table(
    "dq_runs",
    "One row a run, written last: a run that is here is complete in every other table.",
    (
        _STACK,
        _RUN_ID,
        _text("kind", "What ran: profile, generate or test.", required=True),
        _text("status", "How the job ended in TestGen: completed, error or canceled.", required=True),
        *_SUBJECT,
        *_SUITE,
        _text("connection", "Name of the connection that was used."),
        _text("schema_name", "Schema that was read."),
        _time("started_at", "When the job started."),
        _time("ended_at", "When the job ended."),
        _number("seconds", "How long the job took."),
        _text("error_message", "Why the job failed, as TestGen says it."),
        _count("test_ct", "Tests that were run."),
        _count("passed_ct", "Tests that passed."),
        _count("failed_ct", "Tests that failed."),
        _count("warning_ct", "Tests that warn."),
        _count("error_ct", "Tests that could not be evaluated."),
        _count("log_ct", "Tests that only log."),
        _count("table_ct", "Tables that were read."),
        _count("column_ct", "Columns that were read."),
        _count("record_ct", "Records in the tables that were profiled."),
        _count("data_point_ct", "Records times columns that were profiled."),
        _count("anomaly_ct", "Anomalies that profiling found."),
        _count("column_error_ct", "Columns whose profile is incomplete because a query failed."),
        _count("dq_affected_data_points", "Data points that the score counts as affected."),
        _count("dq_total_data_points", "Data points that the score is over."),
        _number("dq_score", "TestGen's score of the run, 0 to 1."),
        _text("testgen_version", "Version of TestGen that ran it."),
        _text("schema_revision", "Revision of TestGen's metadata schema."),
        _text("dqctl_version", "Version of dqctl that published it."),
        _text("row_counts", "Rows published with this run, as JSON: table to count."),
        _time("published_at", "When the run was published."),
    ),
    key=("stack", "run_id"),
    cluster_by=("stack", "started_at"),
)

TEST_RESULTS = Table(
    "dq_test_results",
    "One row a test of a test run, errored tests included, as TestGen stored it.",
    (
        _STACK,
        _RUN_ID,
        _ROW_ID,
        *_SUBJECT,
        *_SUITE,
        _text("test_definition_id", "The test: id of its definition (UUID)."),
        _text("test_type", "Type of the test."),
        _text("test_name_short", "Short name of the type."),
        _text("dq_dimension", "Dimension of data quality that the type measures."),
        _text("measure_uom", "Unit of the measure."),
        _flag("auto_gen", "Whether TestGen generated the test."),
        _time("test_time", "Time of the test run."),
        _text("schema_name", "Schema that was tested."),
        _text("table_name", "Table that was tested."),
        _text("column_names", "Columns that were tested, or what the test is about."),
        _count("skip_errors", "How many errors the test tolerates."),
        _text("input_parameters", "Parameters that the test ran with."),
        _count("result_code", "1 passed, 0 failed, -1 training or not run; NULL when errored."),
        _text("severity", "Severity of a failure: Fail, Warning or Log."),
        _text("result_status", "Passed, Failed, Warning, Error or Log."),
        _text("result_message", "What TestGen says about it; the error when it errored."),
        _text("result_signal", "Signal of a monitor."),
        _text("result_measure", "What was measured."),
        _text("threshold_value", "What it was measured against."),
        _text("disposition", "What a person decided about it."),
        _text("test_description", "Description of the test."),
        _number("dq_prevalence", "Share of records affected, 0 to 1."),
        _count("dq_record_ct", "Records that the test is over."),
        _text("observability_status", "State of the export to Observability."),
        _text("impact_dimension", "Dimension of impact."),
    ),
    key=_RUN_KEY,
    cluster_by=("run_id", "table_name"),
)

TEST_DEFINITIONS = Table(
    "dq_test_definitions",
    "One row a test definition of the suite, as it stood when the run ended.",
    (
        _STACK,
        _RUN_ID,
        _ROW_ID,
        *_SUBJECT,
        *_SUITE,
        _text("profile_run_id", "Profile that the test was generated from (UUID)."),
        _text("test_type", "Type of the test."),
        _text("test_description", "Description of the test."),
        _text("schema_name", "Schema under test."),
        _text("table_name", "Table under test."),
        _text("column_name", "Column under test, or what the test is about."),
        _count("skip_errors", "How many errors the test tolerates."),
        *(
            _text(name, comment)
            for name, comment in (
                ("baseline_ct", "Baseline: records."),
                ("baseline_unique_ct", "Baseline: distinct values."),
                ("baseline_value", "Baseline: a value, or a list of them."),
                ("baseline_value_ct", "Baseline: records with a value."),
                ("threshold_value", "Threshold."),
                ("baseline_sum", "Baseline: sum."),
                ("baseline_avg", "Baseline: average."),
                ("baseline_sd", "Baseline: standard deviation."),
                ("lower_tolerance", "Lower tolerance."),
                ("upper_tolerance", "Upper tolerance."),
                ("subset_condition", "SQL condition: records under test."),
                ("groupby_names", "Columns to group by."),
                ("having_condition", "SQL condition on the groups."),
                ("window_date_column", "Date column of the window."),
            )
        ),
        _count("window_days", "Days of the window."),
        *(
            _text(name, comment)
            for name, comment in (
                ("match_schema_name", "Schema to compare with."),
                ("match_table_name", "Table to compare with."),
                ("match_column_names", "Columns to compare with."),
                ("match_subset_condition", "SQL condition: records to compare with."),
                ("match_groupby_names", "Columns to group the other side by."),
                ("match_having_condition", "SQL condition on the other side's groups."),
                ("history_calculation", "How the (lower) threshold follows history."),
                ("history_calculation_upper", "How the upper threshold follows history."),
            )
        ),
        _count("history_lookback", "Runs that history looks back."),
        _text("prediction", "Prediction of a monitor, as JSON."),
        _text("custom_query", "SQL of a custom test."),
        _text("test_active", "Y when the test runs."),
        _text("test_definition_status", "Why TestGen deactivated it, if it did."),
        _text("severity", "Severity of a failure; NULL means the suite's."),
        _text("watch_level", "Watch level."),
        _text("check_result", "Result of the last validation."),
        _text("lock_refresh", "Y when generation leaves the test alone."),
        _time("last_auto_gen_date", "When it was generated; NULL when a person made it."),
        _time("profiling_as_of_date", "Profile that it was generated from, as of."),
        _time("last_manual_update", "When a person changed it last."),
        _text("export_to_observability", "Y when results are exported."),
        _flag("flagged", "Whether a person flagged it."),
        _text("external_id", "Id elsewhere (UUID)."),
        _text("impact_dimension", "Dimension of impact."),
        _text("external_url", "Link elsewhere."),
        _text("custom_metadata", "Metadata of the user's own, as JSON."),
        _text("version_id", "Version of the suite (UUID)."),
        _text("contract_term_id", "Term of a data contract."),
    ),
    key=_RUN_KEY,
    cluster_by=("run_id", "table_name"),
)

PROFILE_COLUMNS = Table(
    "dq_profile_columns",
    "One row a column of a profile, as TestGen stored it.",
    (
        _STACK,
        _RUN_ID,
        _ROW_ID,
        *_SUBJECT,
        _text("schema_name", "Schema that was profiled."),
        _time("run_date", "Time of the profile."),
        _text("table_name", "Table."),
        _count("position", "Position of the column, from 1."),
        _text("column_name", "Column."),
        _text("column_type", "Type of the column, shortened by TestGen."),
        _text("db_data_type", "Type of the column in the database."),
        _text("general_type", "A alphanumeric, N numeric, D date, B boolean, T time, X other."),
        *(
            _count(name, comment)
            for name, comment in (
                ("record_ct", "Records."),
                ("value_ct", "Records with a value."),
                ("distinct_value_ct", "Distinct values."),
                ("distinct_std_value_ct", "Distinct values, standardised."),
                ("null_value_ct", "Records with NULL."),
                ("min_length", "Shortest value, characters."),
                ("max_length", "Longest value, characters."),
            )
        ),
        _number("avg_length", "Average length, characters."),
        *(
            _count(name, comment)
            for name, comment in (
                ("zero_value_ct", "Zeros."),
                ("zero_length_ct", "Empty strings."),
                ("lead_space_ct", "Values with a leading space."),
                ("quoted_value_ct", "Values in quotes."),
                ("includes_digit_ct", "Values with a digit."),
                ("filled_value_ct", "Values that only fill a gap, such as a dash."),
            )
        ),
        _text("min_text", "First value in order."),
        _text("max_text", "Last value in order."),
        *(
            _count(name, comment)
            for name, comment in (
                ("upper_case_ct", "Values in upper case."),
                ("lower_case_ct", "Values in lower case."),
                ("non_alpha_ct", "Values without a letter."),
                ("non_printing_ct", "Values with a character that does not print."),
                ("mixed_case_ct", "Values in mixed case."),
                ("numeric_ct", "Values that are numbers."),
                ("date_ct", "Values that are dates."),
            )
        ),
        _text("frequent_patterns", "Most frequent patterns (JSON from TestGen 5.134 on, text before)."),
        _text("frequent_values", "Most frequent values (JSON from TestGen 5.134 on, text before)."),
        _text("distinct_value_hash", "Hash of the distinct values."),
        *(
            _number(name, comment)
            for name, comment in (
                ("min_value", "Smallest value."),
                ("min_value_over_0", "Smallest value above zero."),
                ("max_value", "Largest value."),
                ("avg_value", "Average."),
                ("stdev_value", "Standard deviation."),
                ("percentile_25", "25th percentile."),
                ("percentile_50", "Median."),
                ("percentile_75", "75th percentile."),
            )
        ),
        _text("percentile_method", "How the percentiles were found."),
        Column("fractional_sum", Type.DECIMAL_38_6, "Sum of the fractional parts."),
        Column("sum_value", Type.DECIMAL_38_8, "Sum."),
        Column("multiset_hash", Type.DECIMAL_38_0, "Hash of the values as a multiset."),
        Column("epoch_sum", Type.DECIMAL_38_0, "Sum of the values as epochs."),
        _text("key_column_name", "Key column of the keyed hash."),
        Column("keyed_hash", Type.DECIMAL_38_0, "Hash of the values with their keys."),
        _time("min_date", "First date."),
        _time("max_date", "Last date."),
        *(
            _count(name, comment)
            for name, comment in (
                ("before_1yr_date_ct", "Dates more than a year before the profile."),
                ("before_5yr_date_ct", "Dates more than 5 years before it."),
                ("before_20yr_date_ct", "Dates more than 20 years before it."),
                ("before_100yr_date_ct", "Dates more than 100 years before it."),
                ("within_1yr_date_ct", "Dates within a year before it."),
                ("within_1mo_date_ct", "Dates within a month before it."),
                ("future_date_ct", "Dates after it."),
                ("distant_future_date_ct", "Dates far after it."),
                ("date_days_present", "Distinct days."),
                ("date_weeks_present", "Distinct weeks."),
                ("date_months_present", "Distinct months."),
                ("boolean_true_ct", "Records with true."),
            )
        ),
        _text("datatype_suggestion", "Type that TestGen suggests."),
        _count("distinct_pattern_ct", "Distinct patterns."),
        _count("embedded_space_ct", "Values with a space inside."),
        _number("avg_embedded_spaces", "Average count of spaces inside."),
        _text("std_pattern_match", "Standard pattern that the values match."),
        _text("pii_flag", "Kind of personal data that it may be."),
        _text("functional_data_type", "What the column is for, as TestGen guesses."),
        _text("functional_table_type", "What the table is for, as TestGen guesses."),
        _number("sample_ratio", "Records over records read, when a sample was profiled."),
        _text("query_error", "Why the profile of this column is incomplete."),
    ),
    key=_RUN_KEY,
    cluster_by=("run_id", "table_name"),
)

ANOMALIES = Table(
    "dq_anomalies",
    "One row an anomaly (hygiene issue) that a profile found, as TestGen stored it.",
    (
        _STACK,
        _RUN_ID,
        _ROW_ID,
        *_SUBJECT,
        _text("column_id", "The column in TestGen's catalog (UUID)."),
        _text("schema_name", "Schema."),
        _text("table_name", "Table."),
        _text("column_name", "Column."),
        _text("column_type", "Type of the column, shortened by TestGen."),
        _text("db_data_type", "Type of the column in the database."),
        _text("anomaly_id", "Type of the anomaly: its number."),
        _text("anomaly_type", "Type of the anomaly: its key."),
        _text("anomaly_name", "Type of the anomaly: its name."),
        _text("anomaly_description", "What the type means."),
        _text("issue_likelihood", "Definite, Likely, Possible or Potential PII."),
        _text("suggested_action", "What TestGen suggests."),
        _text("dq_dimension", "Dimension of data quality."),
        _text("detail", "What was found."),
        _text("disposition", "What a person decided about it."),
        _number("dq_prevalence", "Share of records affected, 0 to 1."),
        _text("impact_dimension", "Dimension of impact."),
    ),
    key=_RUN_KEY,
    cluster_by=("run_id", "table_name"),
)

SCORES = Table(
    "dq_scores",
    "TestGen's scores, 0 to 1, as they stood when the run was published: what was checked, and the scorecards.",
    (
        _STACK,
        _RUN_ID,
        _text("id", "What is scored: its id in TestGen (UUID), and the category of a scorecard's.", required=True),
        *_SUBJECT,
        _text("level", "What is scored: table_group, table, column or scorecard.", required=True),
        _text("schema_name", "Schema."),
        _text("table_name", "Table."),
        _text("column_name", "Column."),
        _text("scorecard", "Name of the scorecard."),
        _text("category", "What of the scorecard: score, cde_score (critical data elements), or a group of it."),
        _number("score_profiling", "Score of the newest profile."),
        _number("score_testing", "Score of the newest test runs."),
        _number("score", "Both multiplied, as TestGen does; a scorecard's own score."),
    ),
    key=_RUN_KEY,
    cluster_by=("run_id", "table_name"),
    since=2,
)

SYSTEMS = Table(
    "dq_systems",
    "What the run's system consisted of: one row a test suite, or a table group without one.",
    (
        _STACK,
        _RUN_ID,
        _ROW_ID,
        _text("system", "The system: TestGen's project code."),
        _text("system_name", "Its name."),
        _text("connection", "Name of the connection."),
        _text("connection_id", "Number of the connection in TestGen."),
        _text("sql_flavor", "Flavor of the connection."),
        _text("host", "Host that is read."),
        _text("http_path", "HTTP path of the warehouse."),
        _text("catalog", "Catalog or database that is read."),
        _text("table_group", "Name of the table group."),
        _text("table_groups_id", "Id of the table group (UUID)."),
        _text("schema_name", "Schema of the table group."),
        _text("include_mask", "Tables that are included."),
        _text("exclude_mask", "Tables that are excluded."),
        _text("table_set", "Tables that are listed by name."),
        _flag("sampled", "Whether profiling reads a sample only."),
        _text("test_suite", "Name of the test suite."),
        _text("test_suite_id", "Id of the test suite (UUID)."),
        _text("test_suite_description", "Its description."),
        _text("severity", "Severity that the suite gives its tests."),
    ),
    key=_RUN_KEY,
    cluster_by=("run_id",),
)

# In the order in which a publish writes them: the run's own row last makes the run visible.
RUN_CONTENT = (TEST_RESULTS, TEST_DEFINITIONS, PROFILE_COLUMNS, ANOMALIES, SCORES, SYSTEMS)
TABLES = (*RUN_CONTENT, RUNS)

# What each kind of run has rows in; the other tables are not touched.
CONTENT_OF: Mapping[str, tuple[Table, ...]] = {
    "profile": (PROFILE_COLUMNS, ANOMALIES, SCORES, SYSTEMS),
    "generate": (TEST_DEFINITIONS, SYSTEMS),
    "test": (TEST_RESULTS, TEST_DEFINITIONS, SCORES, SYSTEMS),
}


@dataclass(frozen=True)
class RunContent:
    """One run with everything that belongs to it: the run's row, and each content table's rows.

    ``rows`` has an entry for every table of ``RUN_CONTENT``, keyed by table name, empty when the kind of run
    has none.
    """

    run: Row
    rows: Mapping[str, tuple[Row, ...]]
