"""The report as Markdown: for a pull request's comment and for the step summary of a CI job.

It fits into a comment on GitHub, which holds 65,536 characters, and into a check's summary, which holds 65,535
bytes. Whatever comes from data is written so that it
cannot become markup, a table's border, a link or a mention of somebody.
"""

import re
from collections.abc import Container, Iterable, Sequence

from dqctl.report.model import Kind, RunReport
from dqctl.report.profiles import by_error
from dqctl.report.results import Status, shortened
from dqctl.report.summary import Level, scale, summarize
from dqctl.report.words import NOTHING, count, counted, duration, moment, share

LIMIT = 60_000
# A title, the heads of its columns, and rows of cells that are Markdown already.
Section = tuple[str, list[str], list[list[str]]]
_LONGEST_CELL = 300
# Shapes differ, not only colours.
SIGNS = {
    Status.FAILED: "❌ Failed",
    Status.ERROR: "💥 Error",
    Status.WARNING: "⚠️ Warning",
    Status.LOG: "📝 Log",
    Status.PASSED: "✅ Passed",
}
LEVELS = {
    Level.GOOD: "✅",
    Level.EMPTY: "⚪",
    Level.WARNING: "⚠️",
    Level.INCOMPLETE: "💥",
    Level.FAILED: "❌",
    Level.BROKEN: "💥",
}
_MARKUP = re.compile(r"[\\`*_{}\[\]|~$]|^[-+=]|^\d+(?=[.)])")


def text(value: str | None) -> str:
    """Text from data, on one line, as itself and nothing else."""
    if value is None:
        return NOTHING
    plain = " ".join(_printable(value).split())
    if len(plain) > _LONGEST_CELL:
        plain = plain[: _LONGEST_CELL - 1] + "…"
    return _escaped(plain)


def _escaped(plain: str) -> str:
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A zero-width space keeps a name from being notified and a link or a reference from being made.
    for linked in ("@", "#", "://", "www."):
        plain = plain.replace(linked, f"{linked[0]}\u200b{linked[1:]}")
    return _MARKUP.sub(r"\\\g<0>", plain)


def code(value: str | None) -> str:
    """A name from data as code, which GitHub leaves alone altogether."""
    if value is None:
        return NOTHING
    plain = " ".join(_printable(value).split())[:_LONGEST_CELL]
    fence = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    inside = f" {plain} " if plain[:1] in "` " or plain[-1:] in "` " else plain
    # Even inside code a table's cell ends at a pipe, and only there a backslash escapes it.
    return f"{fence}{inside}{fence}".replace("|", r"\|")


def _printable(value: str) -> str:
    return "".join(character if character.isprintable() else " " for character in value)


def render_markdown(report: RunReport) -> str:
    """The report as Markdown of at most ``LIMIT`` bytes; what does not fit is counted instead."""
    summary = summarize(report)
    parts = [
        f"## {LEVELS[summary.level]} {text(report.name)}: {text(summary.headline)}",
        *(" ".join(text(sentence) for sentence in summary.sentences),),
        *(f"> **To do:** {_advice(remedy)}" for remedy in summary.remedies),
        _facts(report),
    ]
    if report.run.kind is Kind.TEST and report.results:
        parts += [_counts(report), _by_table(report)]
    return fitted("\n\n".join(part for part in parts if part), _details(report))


def _advice(remedy: str) -> str:
    """Our own words, in which every second piece between backticks is code."""
    pieces = remedy.split("`")
    return "`".join(_escaped(piece) if number % 2 == 0 else piece for number, piece in enumerate(pieces))


def _facts(report: RunReport) -> str:
    run = report.run
    facts = [
        f"{run.kind.value} run {code(run.run_id)}",
        f"{text(run.system)} / {text(run.table_group)}" if run.system and run.table_group else "",
        moment(run.started_at) if run.started_at else "",
        duration(run.seconds) if run.seconds is not None else "",
        f"score {share(run.score)}" if run.score is not None else "",
        scale(report) if run.tables else "",
    ]
    return " · ".join(fact for fact in facts if fact)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table of cells that are Markdown already."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _counts(report: RunReport) -> str:
    head = [*(SIGNS[status] for status in Status), "Total"]
    numbers = [*(count(report.tally.of(status)) for status in Status), count(report.tally.total)]
    return "\n".join(table(head, [numbers]))


def _by_table(report: RunReport) -> str:
    bad = [entry for entry in report.tables if entry.tally.passed + entry.tally.log < entry.tally.total]
    if not bad:
        return ""
    head = ["Table", *(status.value for status in Status)]
    rows = [[code(entry.table), *(count(entry.tally.of(status)) for status in Status)] for entry in bad[:50]]
    rest = [f"\n… and {counted(len(bad) - 50, 'more table')} with trouble."] if len(bad) > 50 else []
    return "\n".join([*table(head, rows), *rest])


def _details(report: RunReport) -> list[Section]:
    sections: list[Section] = []
    if trouble := [r for r in report.results if r.status in (Status.FAILED, Status.ERROR, Status.WARNING)]:
        rows = [[SIGNS[r.status], code(r.table), code(r.about), text(r.name), text(r.message)] for r in trouble]
        sections.append(("Tests to look at", ["Status", "Table", "Column", "Test", "Finding"], rows))
    if report.incomplete_columns:
        rows = [[code(t), code(shortened(", ".join(names))), text(e)] for t, names, e in by_error(report.columns)]
        sections.append(("Columns without a complete profile", ["Table", "Columns", "Error"], rows))
    if report.anomalies:
        rows = [
            [a.likelihood.value, code(a.table), code(a.column), text(a.name), text(a.detail)]
            for a in report.anomalies
        ]
        sections.append(("Anomalies", ["Likelihood", "Table", "Column", "Anomaly", "Detail"], rows))
    return sections


def fitted(head: str, sections: Iterable[Section], folded: Container[str] = ()) -> str:
    """A text with tables of findings below it, each as long as there is room for; what is left out is counted.

    ``folded`` are titles of tables that stay closed until somebody opens them.
    """
    written = head
    for title, columns, rows in sections:
        written += _section(title, columns, rows, LIMIT - _size(written) - 1, is_folded=title in folded)
    return written + "\n"


def _section(title: str, head: list[str], rows: list[list[str]], room: int, *, is_folded: bool) -> str:
    opening = f"<details><summary>{title}: {len(rows):,}</summary>" if is_folded else f"### {title}"
    lines = ["", "", opening, "", *table(head, [])]
    # The last lines, which count the rest and end what is folded, have their room from the start.
    used = sum(_size(line) + 1 for line in lines) + 120
    shown = 0
    for line in table(head, rows)[2:]:
        used += _size(line) + 1
        if used > room:
            break
        lines.append(line)
        shown += 1
    if not shown:
        lines = ["", "", f"{title}: {len(rows):,}, for which there is no room here; the HTML report has them all."]
        return "\n".join(lines) if sum(map(_size, lines)) + 2 <= room else ""
    if shown < len(rows):
        lines += ["", f"… and {len(rows) - shown:,} more: the HTML report has them all."]
    if is_folded:
        lines += ["", "</details>"]
    return "\n".join(lines)


def _size(written: str) -> int:
    return len(written.encode())
