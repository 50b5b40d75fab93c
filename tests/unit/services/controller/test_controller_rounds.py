"""When the sidecar goes a round: at once, again later and later while it fails, and never two at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.clock import Clock
from dqctl.services.controller.rounds import Rounds
from dqctl.services.controller.standing import Standing
from dqctl.settings import Settings
from dqctl.testgen.noticing import Noticed

WAITING = Noticed(waiting=True)


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        start = datetime(2026, 3, 2, tzinfo=UTC)
        self.clock = Clock(now=lambda: start + timedelta(seconds=self.seconds), monotonic=lambda: self.seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def standing(time: Time) -> Standing:
    return Standing("default", time.clock)


@pytest.fixture
def rounds(standing: Standing, time: Time) -> Iterator[Rounds]:
    made = Rounds(standing, time.clock)
    yield made
    if made.running:
        made.running.wait(120)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """There is no such stack: a round ends by an error, soon."""
    return Settings(home=tmp_path)


def finish(rounds: Rounds) -> None:
    assert rounds.running
    rounds.running.wait(120)
    assert rounds.reap()


def test_a_round_that_fails_is_told_and_gone_again_later_and_later(
    rounds: Rounds, standing: Standing, settings: Settings, time: Time
) -> None:
    rounds.tend(WAITING, settings)
    finish(rounds)
    assert standing.troubles["round"] == f"stack 'default' is not installed in {settings.home}"
    assert standing.turning().errors["round"] == 1
    time.seconds += 9.9
    rounds.tend(WAITING, settings)
    assert rounds.running is None
    time.seconds += 0.1
    rounds.tend(WAITING, settings)
    finish(rounds)
    time.seconds += 19.9
    rounds.tend(WAITING, settings)
    assert rounds.running is None
    assert standing.turning().rounds == 2


def test_where_nothing_is_to_do_it_cleans_up_once_and_no_more_for_a_while(
    rounds: Rounds, settings: Settings, time: Time
) -> None:
    rounds.tend(Noticed(), settings)
    finish(rounds)
    rounds.tend(Noticed(unsaved=True), settings.model_copy(update={"state": "off"}))
    assert rounds.running is None
