"""What reports take for values out of the data, beside what TestGen itself makes of it."""

import re

import pytest

from dqctl.progress import silent
from dqctl.report.samples import VALUED_TESTS, counted
from dqctl.runtime import open_runtime
from dqctl.settings import Settings

pytestmark = pytest.mark.local

# Columns of a profile that hold values. (Patterns are none.)
_VALUES = re.compile(r"frequent_values|(min|max)_(text|value|date)|intersect_list")
# Measures that are a value of the column, or all of them. (A length or a count of them is none.)
_VALUE = re.compile(
    r"(STRING_AGG|LISTAGG|ARRAY_AGG)\(|^(CAST\(|TO_CHAR\(|DATE_FORMAT\()?(MIN|MAX)\(\{COLUMN_NAME\}\)",
    re.IGNORECASE,
)


def test_anomalies_whose_detail_is_shown_quote_no_value(installed_stack: Settings) -> None:
    with open_runtime(installed_stack, silent).metadata() as connection:
        found = dict(
            connection.execute("SELECT anomaly_type, detail_expression FROM profile_anomaly_types").fetchall()
        )
    quoting = {name for name, expression in found.items() if _VALUES.search(expression or "")}
    assert len(quoting) > 8
    assert not {name for name in quoting if counted(name)}
    # What is shown is no wish: most of the others are.
    assert len([name for name in found if counted(name)]) > len(found) / 2


def test_tests_that_measure_values_are_known(installed_stack: Settings) -> None:
    with open_runtime(installed_stack, silent).metadata() as connection:
        found = connection.execute(
            "SELECT test_type, measure FROM cat_test_conditions WHERE sql_flavor IN ('databricks', 'postgresql')"
        ).fetchall()
    measuring = {test_type for test_type, measure in found if _VALUE.search((measure or "").strip())}
    assert "LOV_All" in measuring
    assert measuring <= VALUED_TESTS
