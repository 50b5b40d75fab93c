"""The report for a terminal: what a person wants to know first, and no more than fits a screen or two."""

import io
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dqctl.report.model import Kind, RunReport
from dqctl.report.profiles import Likelihood, by_error
from dqctl.report.results import Status, shortened
from dqctl.report.summary import Level, scale, summarize
from dqctl.report.words import count, counted, duration, moment, share

_MOST_ROWS = 40
STYLES: dict[str, str] = {
    Status.FAILED: "bold red",
    Status.ERROR: "bold magenta",
    Status.WARNING: "yellow",
    Status.LOG: "dim",
    Status.PASSED: "green",
    Likelihood.DEFINITE: "bold red",
    Likelihood.LIKELY: "yellow",
    Likelihood.PII: "bold magenta",
    Level.GOOD: "bold green",
    Level.EMPTY: "bold",
    Level.WARNING: "bold yellow",
    Level.INCOMPLETE: "bold magenta",
    Level.FAILED: "bold red",
    Level.BROKEN: "bold magenta",
}


def render_terminal(report: RunReport, *, colour: bool, width: int) -> str:
    """The report as text of ``width`` columns, with escape sequences only when ``colour`` is wanted."""
    return on_screen(lambda console: _print(console, report), colour=colour, width=width)


def on_screen(show: Callable[[Console], None], *, colour: bool, width: int) -> str:
    """What ``show`` prints, as text."""
    screen = io.StringIO()
    console = Console(
        file=screen,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    show(console)
    lines = (line.rstrip() for line in screen.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def _print(console: Console, report: RunReport) -> None:
    summary = summarize(report)
    console.print(plain(f"{report.name}: {summary.headline}", STYLES[summary.level]))
    for sentence in summary.sentences:
        console.print(plain(sentence))
    for remedy in summary.remedies:
        console.print(plain(f"hint: {remedy.replace('`', '')}", "bold"))
    console.print(plain(_facts(report), "dim"))
    if report.tables:
        console.print()
        console.print(_by_table(report))
    _findings(console, report)


def _facts(report: RunReport) -> str:
    run = report.run
    facts = [f"{run.kind.value} run {run.run_id}", moment(run.started_at), duration(run.seconds)]
    if run.tables:
        facts.append(scale(report))
    if run.score is not None:
        facts.append(f"score {share(run.score)}")
    return " · ".join(facts)


def _by_table(report: RunReport) -> Table:
    table = _table("Table")
    for status in Status:
        table.add_column(status.value, justify="right")
    for entry in report.tables[:_MOST_ROWS]:
        numbers = [
            Text(count(number := entry.tally.of(status)), style=STYLES[status] if number else "dim")
            for status in Status
        ]
        table.add_row(plain(entry.table or "no table"), *numbers)
    return table


def _findings(console: Console, report: RunReport) -> None:
    trouble = [r for r in report.results if r.status in (Status.FAILED, Status.ERROR, Status.WARNING)]
    listed(
        console,
        counted(len(trouble), "test to look at", "tests to look at"),
        ("Status", "Table", "Column", "Test", "Finding"),
        [(r.status, r.table, r.about, r.name, r.message) for r in trouble],
    )
    listed(
        console,
        counted(len(report.incomplete_columns), "column without", "columns without") + " a complete profile",
        ("Table", "Columns", "Error"),
        [(table, shortened(", ".join(names)), error) for table, names, error in by_error(report.columns)],
    )
    listed(
        console,
        counted(len(report.anomalies), "anomaly", "anomalies"),
        ("Likelihood", "Table", "Column", "Anomaly", "Detail"),
        [(a.likelihood, a.table, a.column, a.name, a.detail) for a in report.anomalies],
    )
    if report.run.kind is Kind.GENERATE:
        listed(
            console,
            counted(len(report.definitions), "test"),
            ("", "Table", "Column", "Type", "Checks"),
            [
                ("Active" if d.active else "Idle", d.table, shortened(d.column), d.test_type, d.checks)
                for d in report.definitions
            ],
        )


def listed(console: Console, title: str, head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """A table with its title, as long as a person reads; nothing when it has no rows."""
    if not rows:
        return
    console.print(plain(f"\n{title}", "bold"))
    table = _table(*head)
    for row in rows[:_MOST_ROWS]:
        first = row[0] or ""
        table.add_row(plain(str(first), STYLES.get(first, "")), *(plain(cell or "") for cell in row[1:]))
    console.print(table)
    if len(rows) > _MOST_ROWS:
        console.print(plain(f"… and {len(rows) - _MOST_ROWS:,} more; the HTML report has them all.", "dim"))


def _table(*head: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for title in head:
        table.add_column(title, overflow="fold", justify="right" if title in STYLES and len(head) == 6 else "left")
    return table


def plain(value: str, style: str = "") -> Text:
    """Text without anything that a terminal would obey: data may hold escape sequences."""
    shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in value)
    return Text(shown, style=style)
