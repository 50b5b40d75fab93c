import pytest

from dqctl.report.chart import HEIGHT, WIDTH, Chart, chart
from dqctl.report.model import build
from unit.report import flights


def _chart(runs: int = 12) -> Chart:
    found = chart(build(flights.suite_run(), flights.history(runs), generated_at=flights.GENERATED_AT))
    assert found is not None
    return found


def test_one_run_is_no_trend() -> None:
    assert chart(build(flights.suite_run(), generated_at=flights.GENERATED_AT)) is None
    assert chart(build(flights.generate_run(), flights.history(), generated_at=flights.GENERATED_AT)) is None


@pytest.mark.parametrize("runs", [1, 5, 29, 100])
def test_bars_stay_inside_and_apart(runs: int) -> None:
    found = _chart(runs)
    for bar, following in zip(found.bars, found.bars[1:], strict=False):
        assert bar.x + bar.width < following.x
    for bar in found.bars:
        assert found.left <= bar.x
        assert bar.x + bar.width <= WIDTH
        for segment in bar.segments:
            assert 0 <= segment.y <= segment.y + segment.height <= found.base + 0.2 <= HEIGHT


def test_height_of_a_bar_is_what_needs_a_look() -> None:
    found = _chart(12)
    worst = max(found.bars, key=lambda bar: sum(segment.height for segment in bar.segments))
    assert worst.title.endswith("5 failed, 2 could not be evaluated, 1 warns, of 151 tests")
    top = max(float(label) for _, label in found.lines)
    (unit,) = {round((found.base - y) / float(label), 2) for y, label in found.lines if label not in ("0", "4")}
    assert top == 8
    assert sum(segment.height for segment in worst.segments) == pytest.approx(8 * unit, abs=0.3)


def test_run_that_did_not_finish_has_no_bar() -> None:
    (broken,) = (bar for bar in _chart(12).bars if not bar.completed)
    assert broken.title.endswith("did not finish")


def test_figures_say_the_same_as_bars() -> None:
    found = _chart(12)
    assert len(found.rows) == len(found.bars) == 13
    assert found.rows[-1].figures == (4, 1, 2)
