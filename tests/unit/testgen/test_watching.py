"""One line out of TestGen's list of steps."""

import pytest

from dqctl.testgen.watching import describe

DONE = {"key": "data_chars", "label": "Refreshing data catalog", "status": "Completed"}
RUNNING = {"key": "col_profiling", "label": "Profiling columns", "status": "Running", "detail": "3 of 53"}
PENDING = {"key": "freq_analysis", "label": "Running frequency analysis", "status": "Pending"}


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ([DONE, RUNNING, PENDING], "profiling flights: profiling columns, 3 of 53"),
        ([{**DONE, "status": "Running"}, PENDING], "profiling flights: refreshing data catalog"),
        ([{**RUNNING, "detail": None}], "profiling flights: profiling columns"),
        ([DONE], ""),
        ([], ""),
    ],
)
def test_the_step_that_runs_is_told(steps, line):
    assert describe("profiling flights", steps) == line
