"""A test of every type that generation leaves out, declared straight in TestGen's metadata."""

from typing import Any

import psycopg

_TEXT = ("people", "full_name")
_NUMBER = ("payments", "amount")
_DATE = ("payments", "paid_on")
_LOW = {"threshold_value": "0"}
_COUNTS = {"baseline_ct": "600", "baseline_value_ct": "580", "baseline_unique_ct": "300"}
_MOMENTS = {
    "baseline_ct": "600",
    "baseline_value_ct": "600",
    "baseline_unique_ct": "500",
    "baseline_sum": "30000",
    "baseline_avg": "50.5",
    "baseline_sd": "28.5",
    "baseline_value": "1",
    "threshold_value": "1",
    "upper_tolerance": "1",
    "lower_tolerance": "1",
}
_DAY = {"baseline_value": "2023-01-05", "baseline_ct": "300", "baseline_sum": "1", "threshold_value": "1"}
_MATCH = {
    "match_schema_name": "contract",
    "match_table_name": "payments_copy",
    "subset_condition": "1=1",
    "match_subset_condition": "1=1",
    "groupby_names": "status",
    "match_groupby_names": "status",
    "having_condition": "COUNT(*) > 1",
    "match_having_condition": "COUNT(*) > 1",
    "skip_errors": "0",
}
_BALANCE = _MATCH | {"match_column_names": "SUM(amount)", "lower_tolerance": "-5", "upper_tolerance": "5"}
_WINDOW = {"window_date_column": "paid_on", "window_days": "30", "subset_condition": "1=1", "skip_errors": "0"}
_HISTORY = {"history_calculation": "Minimum", "history_calculation_upper": "Maximum", "history_lookback": "10"}

# Type: table, column and parameters. What is not named here is a column's test, and found by its kind of column.
DECLARED: dict[str, tuple[tuple[str, str], dict[str, str]]] = {
    "Aggregate_Balance": (("payments", "SUM(amount)"), _BALANCE),
    "Aggregate_Balance_Percent": (("payments", "SUM(amount)"), _BALANCE),
    "Aggregate_Balance_Range": (("payments", "SUM(amount)"), _BALANCE),
    "Aggregate_Minimum": (("payments", "SUM(amount)"), _BALANCE),
    "Combo_Match": (("payments", "status"), _MATCH),
    "Distribution_Shift": (("payments", "status"), _MATCH | {"threshold_value": "0.1"}),
    "Timeframe_Combo_Gain": (("payments", "status"), _WINDOW),
    "Timeframe_Combo_Match": (("payments", "status"), _WINDOW),
    "CUSTOM": (
        ("payments", "amount"),
        {
            "custom_query": "SELECT payment_id, amount FROM main.contract.payments WHERE amount > 100",
            "skip_errors": "0",
        },
    ),
    "SQL_Metric": (
        ("payments", "amount"),
        {
            "custom_query": "SELECT AVG(amount) FROM main.contract.payments",
            "lower_tolerance": "1",
            "upper_tolerance": "99",
        },
    ),
    "Metric_Trend": (("payments", "amount"), _HISTORY | {"custom_query": "AVG(amount)"}),
    "Volume_Trend": (("payments", ""), _HISTORY | {"custom_query": "COUNT(*)", "subset_condition": "1=1"}),
    "Table_Freshness": (("payments", ""), {"custom_query": "CAST(COUNT(*) AS STRING)", "subset_condition": "1=1"}),
    "Freshness_Trend": (
        ("payments", ""),
        _HISTORY | {"custom_query": "CAST(COUNT(*) AS STRING)", "subset_condition": "1=1"},
    ),
    "Condition_Flag": (("payments", "amount"), _LOW | {"custom_query": "amount < 1"}),
    "Row_Ct": (("payments", ""), {"threshold_value": "600"}),
    "Row_Ct_Pct": (("payments", ""), {"baseline_ct": "590", "threshold_value": "1"}),
    "LOV_All": (("payments", "status"), {"threshold_value": "'paid|returned'"}),
    "LOV_Match": (("payments", "status"), {"baseline_value": "('paid','returned')", "threshold_value": "0"}),
    "Constant": (("people", "region"), {"baseline_value": "'EU'", "threshold_value": "0"}),
    "Pattern_Match": (("people", "email"), {"baseline_value": "^u[0-9]+@", "threshold_value": "0"}),
    "Email_Format": (("people", "email"), _LOW),
    "Street_Addr_Pattern": (("people", "street_address"), {"threshold_value": "75"}),
    "US_State": (("people", "us_state"), _LOW),
    "Valid_Characters": (_TEXT, _LOW),
    "Valid_US_Zip": (("people", "zip_code"), _LOW),
    "Valid_US_Zip3": (("people", "zip_code"), _LOW),
    "Valid_Month": (("people", "birth_month"), {"baseline_value": "'01','02','03'", "threshold_value": "0"}),
    "Required_No_Placeholder": (("people", "note"), {"baseline_value": "N/A", "threshold_value": "0"}),
    "Text_Length_Range": (
        ("people", "note"),
        {"lower_tolerance": "1", "upper_tolerance": "6", "threshold_value": "0"},
    ),
    "Match_True_Ct": (("people", "active"), _COUNTS),
    "Dec_Trunc": (("payments", "rate"), _LOW),
    "Match_Fractional_Sum": (("payments", "rate"), _MOMENTS),
    "Max_Date": (("payments", "paid_on"), {"baseline_value": "2023-12-31", "threshold_value": "0"}),
    "Max_Val": (("payments", "amount"), {"baseline_value": "100", "threshold_value": "0"}),
    "Min_Val": (("payments", "amount"), {"baseline_value": "1", "threshold_value": "0"}),
    "Match_Hash_Date": (("payments", "paid_on"), _MOMENTS),
    "Match_Keyed_Hash_Date": (("payments", "paid_on"), _MOMENTS | {"groupby_names": "payment_id"}),
    "Match_Frequent_Values": (("payments", "status"), _MOMENTS),
    "Match_Keyed_Hash_Num": (("payments", "amount"), _MOMENTS | {"groupby_names": "payment_id"}),
    "Match_Keyed_Hash_Text": (("payments", "status"), _MOMENTS | {"groupby_names": "payment_id"}),
}
_OF_DATES = ("date", "recency", "rec_ct", "record_ct", "epoch")
_OF_NUMBERS = ("avg", "val", "num", "sd", "stdev", "sum", "outlier", "variability", "zero_ct", "shift")


def declared(connection: "psycopg.Connection[Any]") -> None:
    """Declare them, in the one suite that there is; what generation made stays as it is."""
    missing = connection.execute(
        "SELECT test_type, test_scope FROM test_types"
        " WHERE test_type NOT IN (SELECT test_type FROM test_definitions) ORDER BY test_type"
    ).fetchall()
    for kind, scope in missing:
        (table, column), parameters = DECLARED.get(kind) or _by_kind(kind)
        values = {
            "test_type": kind,
            "schema_name": "contract",
            "table_name": table,
            "column_name": column if column and scope != "table" else None,
            "lock_refresh": "Y",
            **parameters,
        }
        names = ", ".join(values)
        marks = ", ".join(f"%({name})s" for name in values)
        connection.execute(
            f"INSERT INTO test_definitions (table_groups_id, test_suite_id, {names})"
            f" SELECT table_groups_id, id, {marks} FROM test_suites WHERE test_suite = 'all-types'".encode(),
            values,
        )


def _by_kind(kind: str) -> tuple[tuple[str, str], dict[str, str]]:
    name = kind.lower()
    if any(part in name for part in _OF_DATES) and name != "daily_record_ct_text":
        return _DATE, _DAY
    if any(part in name for part in _OF_NUMBERS):
        return _NUMBER, _MOMENTS
    return _TEXT, _MOMENTS
