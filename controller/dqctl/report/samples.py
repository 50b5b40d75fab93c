"""What of a run is a value out of the data itself. A report shows it only where it is asked for.

A report is passed on: by mail, in a pull request, as an artifact that everybody may open. Counts, shares, averages
and names of tables and columns may travel so; a cell of somebody's table may not. TestGen (5.134) stores values in

- profiles: the smallest and the largest value, the most frequent ones;
- the detail of some anomalies (``detail_expression`` of their types);
- ``baseline_value`` of a test, which may be a list of all values that a column had, and, of a few types, the
  measure, the threshold and the message that is made of both (``measure`` of their templates);
- errors, in which databases quote what they stumbled over.

Queries and conditions were written by a person, and patterns (``Aa9-99``) are no values: they are shown.
"""

import re

NOT_SHOWN = "(values are not shown)"

# Types of tests whose measure is made of values, not of counts or differences.
VALUED_TESTS = frozenset(
    {
        *("Freshness_Trend", "LOV_All", "Match_Max_Date", "Match_Max_Val", "Match_Min_Date", "Match_Min_Val"),
        "Table_Freshness",
    }
)
VALUED_PARAMETERS = frozenset({"baseline_value", "input_parameters"})

# Types of anomalies whose detail is of counts, types and patterns. What is not among them may hold values.
_COUNTED_ANOMALIES = frozenset(
    {
        *("Char_Column_Date_Values", "Char_Column_Number_Values", "Column_Pattern_Mismatch"),
        *("Inconsistent_Casing", "Invalid_Zip3_USA", "Invalid_Zip_USA", "Leading_Spaces"),
        *("Multiple_Types_Major", "Multiple_Types_Minor"),
        *("No_Values", "Non_Alpha_Name_Address", "Non_Printing_Chars", "Non_Standard_Blanks", "Potential_PII"),
        *("Quoted_Values", "Small Missing Value Ct", "Small_Missing_Value_Ct", "Small_Numeric_Value_Ct"),
        *("Standardized_Value_Matches", "Suggested_Type", "Table_Pattern_Mismatch"),
    }
)
# 'x' as every database quotes a value, "x" after a colon as PostgreSQL does, (id)=(x) of its unique indexes. An
# apostrophe inside a word opens nothing. What is quoted up to the end of a line that was cut is quoted, too.
_QUOTED = re.compile(r"""(?<!\w)'(?:[^'\n]|'')*(?:'(?!\w)|$)|(?<=: )"[^"\n]*(?:"|$)|(?<=\)=)\([^()\n]*\)""", re.M)


def counted(anomaly_type: str | None) -> bool:
    """Whether the detail of an anomaly of this type holds no value out of the data."""
    return anomaly_type in _COUNTED_ANOMALIES


def without_values(error: str | None) -> str | None:
    """An error without what a database quotes in it."""
    return error and _QUOTED.sub(_masked, error)


def _masked(quoted: re.Match[str]) -> str:
    return {"'": "'…'", '"': '"…"', "(": "(…)"}[quoted[0][0]]
