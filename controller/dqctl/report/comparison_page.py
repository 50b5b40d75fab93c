"""The comparison of two runs as one HTML file: all tests of both, with what became of them."""

from dqctl.report.comparison import Change, Comparison, Pair, summarize_comparison
from dqctl.report.comparison_text import outcome
from dqctl.report.grid import Badge, Grid, GridRow, Head
from dqctl.report.page import render_page
from dqctl.report.results import Result
from dqctl.report.words import NOTHING

_KINDS = {
    Change.BEGAN: "failed",
    Change.STILL: "error",
    Change.PASSES: "passed",
    Change.NEW: "log",
    Change.GONE: "warning",
    Change.CHANGED: "log",
    Change.SAME: "passed",
}


def render_html_comparison(comparison: Comparison) -> str:
    """The comparison as one HTML file."""
    summary = summarize_comparison(comparison)
    return render_page(
        "comparison.html.j2", comparison.name, summary, grids(comparison), comparison=comparison, kinds=_KINDS
    )


def grids(comparison: Comparison) -> tuple[Grid, ...]:
    """The table of the comparison; none when neither run has a test."""
    heads = (Head("Table", facet=True), Head("Column"), Head("Test", facet=True), Head("Before"), Head("Now"))
    badges = tuple(Badge(_KINDS[change], change.value) for change in Change)
    rows = tuple(_row(pair) for pair in comparison.pairs)
    return (Grid("changes", "Tests of both runs", "Change", badges, heads, rows),) if rows else ()


def _row(pair: Pair) -> GridRow:
    test, before, after = pair.test, pair.before, pair.after
    now = f"{after.status.value}: {after.message or 'no message'}" if after else "not run"
    facts = (
        ("What it checks", test.checks),
        *((f"{label} before", value) for label, value in _measured(before)),
        *((f"{label} now", value) for label, value in _measured(after)),
        ("Unit", test.unit),
        ("Type", test.test_type),
    )
    return GridRow(
        pair.change.rank,
        (test.table or NOTHING, test.about or NOTHING, test.name, outcome(before), now),
        tuple((label, value) for label, value in facts if value),
    )


def _measured(result: Result | None) -> tuple[tuple[str, str | None], ...]:
    if result is None:
        return ()
    return ("Measured", result.measure), ("Threshold", result.threshold), ("Message", result.message)
