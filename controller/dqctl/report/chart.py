"""The trend as bars: geometry only, drawn by the page's template."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dqctl.report.model import Kind, RunReport, TrendPoint
from dqctl.report.words import counted, moment, share

WIDTH, HEIGHT = 720, 150
_LEFT, _RIGHT, _TOP, _BASE = 44, 8, 12, 118
_WIDEST = 34


@dataclass(frozen=True)
class Segment:
    """One part of a bar; ``kind`` names its colour and pattern."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One run: its parts from the bottom up, none when there was nothing to look at."""

    x: float
    width: float
    segments: tuple[Segment, ...]
    completed: bool
    current: bool
    title: str
    label: str


@dataclass(frozen=True)
class Row:
    """The same run in figures, for who cannot see the bars."""

    when: str
    outcome: str
    figures: tuple[int, ...]
    score: str


@dataclass(frozen=True)
class Chart:
    """Bars of what needs a look, run by run, oldest first, with lines at round numbers."""

    title: str
    heads: tuple[str, ...]
    kinds: tuple[str, ...]
    bars: tuple[Bar, ...]
    lines: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    base: int = _BASE


@dataclass(frozen=True)
class _Part:
    head: str
    kind: str
    noun: str
    plural: str


_TESTS = (
    _Part("Failed", "failed", "failed", "failed"),
    _Part("Error", "error", "could not be evaluated", "could not be evaluated"),
    _Part("Warning", "warning", "warns", "warn"),
)
_PROFILES = (
    _Part("Incomplete columns", "error", "incomplete column", "incomplete columns"),
    _Part("Anomalies", "warning", "anomaly", "anomalies"),
)


def chart(report: RunReport) -> Chart | None:
    """The chart of the report's trend; ``None`` without an earlier run, since one bar is no trend."""
    points = report.trend
    if len(points) < 2:
        return None
    tests = report.run.kind is Kind.TEST
    parts = _TESTS if tests else _PROFILES
    figures = [_figures(point, tests=tests) for point in points]
    top = _round_up(max(sum(numbers) for numbers in figures))
    step = (WIDTH - _LEFT - _RIGHT) / len(points)
    every = max(1, math.ceil(len(points) / 8))
    bars = tuple(
        _bar(point, numbers, parts, top, number, step, labelled=(len(points) - 1 - number) % every == 0)
        for number, (point, numbers) in enumerate(zip(points, figures, strict=True))
    )
    return Chart(
        title="Tests to look at, run by run" if tests else "Findings, run by run",
        heads=tuple(part.head for part in parts),
        kinds=tuple(part.kind for part in parts),
        bars=bars,
        lines=tuple((round(_y(value, top), 1), f"{value:,}") for value in sorted({0, top // 2, top})),
        rows=tuple(
            Row(
                moment(point.started_at),
                "completed" if point.completed else "did not finish",
                numbers,
                share(point.score),
            )
            for point, numbers in zip(points, figures, strict=True)
        ),
    )


def _figures(point: TrendPoint, *, tests: bool) -> tuple[int, ...]:
    if tests:
        return point.tally.failed, point.tally.error, point.tally.warning
    return point.column_errors, point.anomalies


def _bar(
    point: TrendPoint,
    numbers: tuple[int, ...],
    parts: Sequence[_Part],
    top: int,
    number: int,
    step: float,
    *,
    labelled: bool,
) -> Bar:
    width = min(_WIDEST, step * 0.7)
    segments, below = [], 0
    for part, figure in zip(parts, numbers, strict=True):
        if figure:
            y = _y(below + figure, top)
            segments.append(Segment(part.kind, round(y, 1), round(_y(below, top) - y, 1)))
            below += figure
    said = [counted(figure, part.noun, part.plural) for part, figure in zip(parts, numbers, strict=True) if figure]
    outcome = ", ".join(said) or "nothing to look at"
    if point.tally.total:
        outcome += f", of {counted(point.tally.total, 'test')}"
    when = moment(point.started_at)
    return Bar(
        x=round(_LEFT + step * (number + 0.5) - width / 2, 1),
        width=round(width, 1),
        segments=tuple(segments),
        completed=point.completed,
        current=point.current,
        title=f"{when}: {outcome if point.completed else 'did not finish'}",
        label=f"{point.started_at:%d %b}" if labelled and point.started_at else "",
    )


def _y(value: float, top: int) -> float:
    return _BASE - (_BASE - _TOP) * value / top


def _round_up(value: int) -> int:
    """The next even number whose first digit is all that is not zero, so that lines stand at round numbers."""
    if value <= 2:
        return 2
    unit: int = 10 ** (len(str(value)) - 1)
    rounded = math.ceil(value / unit) * unit
    return rounded + rounded % 2
