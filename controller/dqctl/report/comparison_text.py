"""The comparison of two runs for a terminal and as Markdown: what changed, and the rest in figures."""

from rich.console import Console

from dqctl.report.comparison import Change, Comparison, Pair, run_in_words, summarize_comparison
from dqctl.report.markdown import LEVELS, SIGNS, Section, code, fitted, table, text
from dqctl.report.results import Result
from dqctl.report.terminal import STYLES, listed, on_screen, plain
from dqctl.report.words import NOTHING, count

# What people ask for first; tests that only changed are many, and in the HTML.
_LISTED = (Change.BEGAN, Change.PASSES, Change.NEW, Change.GONE, Change.STILL)
_HEAD = ("Test", "Table", "Column", "Before", "Now", "Finding")


def render_terminal_comparison(comparison: Comparison, *, colour: bool, width: int) -> str:
    """The comparison as text of ``width`` columns."""
    return on_screen(lambda console: _print(console, comparison), colour=colour, width=width)


def _print(console: Console, comparison: Comparison) -> None:
    summary = summarize_comparison(comparison)
    console.print(plain(f"{comparison.name}: {summary.headline}", STYLES[summary.level]))
    for sentence in summary.sentences:
        console.print(plain(sentence))
    console.print(plain(f"before: {run_in_words(comparison.before)}", "dim"))
    console.print(plain(f"now:    {run_in_words(comparison.after)}", "dim"))
    console.print(plain(" · ".join(f"{word.lower()} {number:,}" for word, number in _counts(comparison)), "dim"))
    for change in _LISTED:
        pairs = comparison.of(change)
        rows = [
            (p.test.name, p.test.table, p.test.about, outcome(p.before), outcome(p.after), _finding(p))
            for p in pairs
        ]
        listed(console, f"{change.value} ({len(pairs):,})", _HEAD, rows)


def render_markdown_comparison(comparison: Comparison) -> str:
    """The comparison as Markdown that fits into a comment."""
    summary = summarize_comparison(comparison)
    counts = _counts(comparison)
    parts = [
        f"## {LEVELS[summary.level]} {text(comparison.name)}: {text(summary.headline)}",
        " ".join(text(sentence) for sentence in summary.sentences),
        f"Before: {_run(comparison, before=True)}  \nNow: {_run(comparison, before=False)}",
        "\n".join(table([word for word, _ in counts], [[count(number) for _, number in counts]])),
    ]
    sections = [_section(comparison, change) for change in _LISTED if comparison.of(change)]
    return fitted("\n\n".join(part for part in parts if part), sections)


def _section(comparison: Comparison, change: Change) -> Section:
    rows = [
        [
            *(text(p.test.name), code(p.test.table), code(p.test.about)),
            *(_signed(p.before), _signed(p.after), text(_finding(p))),
        ]
        for p in comparison.of(change)
    ]
    return change.value, list(_HEAD), rows


def outcome(result: Result | None) -> str:
    """``Failed, 12``: how a test ended, and what was measured."""
    if result is None:
        return NOTHING
    return f"{result.status.value}, {result.measure}" if result.measure else result.status.value


def _signed(result: Result | None) -> str:
    if result is None:
        return NOTHING
    return f"{SIGNS[result.status]}, {text(result.measure)}" if result.measure else SIGNS[result.status]


def _finding(pair: Pair) -> str | None:
    return pair.test.message


def _counts(comparison: Comparison) -> list[tuple[str, int]]:
    return [(change.value, number) for change, number in comparison.counts.items()]


def _run(comparison: Comparison, *, before: bool) -> str:
    when, run_id = run_in_words(comparison.before if before else comparison.after).rsplit(" ", 1)
    return f"{text(when)} {code(run_id)}"
