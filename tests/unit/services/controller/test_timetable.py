"""Schedules that the sidecar keeps: which are due, how often, and what becomes of those that were missed."""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.clock import Clock
from dqctl.services.controller.standing import Standing
from dqctl.services.controller.timetable import Timetable
from dqctl.settings import Settings
from dqctl.stack import schedules
from dqctl.stack.paths import StackPaths
from dqctl.stack.schedules import Schedule

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)


class Time:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON
        self.clock = Clock(now=lambda: self.now)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def paths(settings: Settings) -> StackPaths:
    return StackPaths(settings.home, settings.stack)


@pytest.fixture
def timetable(time: Time) -> Iterator[Timetable]:
    """What it starts ends by itself, at once: there is no such stack."""
    made = Timetable(Standing("default", time.clock), time.clock)
    yield made
    for process in made.running:
        process.wait(120)


def add(paths: StackPaths, name: str, at: str, written: datetime, by: str = "controller") -> None:
    schedules.write(paths, Schedule(name, at, ("runs",), by))  # type: ignore[arg-type] - one of the three
    os.utime(paths.schedules / f"{name}.json", (written.timestamp(),) * 2)


def began(timetable: Timetable, settings: Settings, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What begins in this turn."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "dqctl.services.controller"):
        timetable.keep(settings)
    return [each.getMessage() for each in caplog.records if "begin schedule" in each.getMessage()]


def test_each_minute_is_kept_once(
    timetable: Timetable, settings: Settings, paths: StackPaths, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    add(paths, "often", "* * * * *", NOON)
    assert began(timetable, settings, caplog) == []  # the minute in which it was added is over
    time.now += timedelta(seconds=40)
    assert began(timetable, settings, caplog) == ["begin schedule often: dqctl runs"]
    assert began(timetable, settings, caplog) == []
    time.now += timedelta(seconds=10)
    assert began(timetable, settings, caplog) == []


def test_what_was_missed_is_begun_once_however_often_it_was(
    timetable: Timetable, settings: Settings, paths: StackPaths, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    add(paths, "hourly", "15 * * * *", NOON - timedelta(days=3))
    (said,) = began(timetable, settings, caplog)
    assert "which was due" in said
    assert began(timetable, settings, caplog) == []
    # Another one, after a restart, knows what was begun.
    other = Timetable(Standing("default", time.clock), time.clock)
    assert began(other, settings, caplog) == []


def test_one_that_still_runs_is_not_begun_beside_itself(
    timetable: Timetable, settings: Settings, paths: StackPaths, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    add(paths, "often", "* * * * *", NOON - timedelta(days=1))
    assert began(timetable, settings, caplog)
    (running,) = timetable.running
    if running.poll() is None:
        time.now += timedelta(minutes=1)
        assert began(timetable, settings, caplog) == []
        assert any("still runs" in each.getMessage() for each in caplog.records) or running.poll() is not None


def test_those_of_cron_and_systemd_are_theirs(
    timetable: Timetable, settings: Settings, paths: StackPaths, caplog: pytest.LogCaptureFixture
) -> None:
    for by in ("cron", "systemd"):
        add(paths, by, "* * * * *", NOON - timedelta(days=1), by)
    assert began(timetable, settings, caplog) == []


def test_a_clock_that_was_put_back_a_day_does_not_stop_a_schedule(
    timetable: Timetable, settings: Settings, paths: StackPaths, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    add(paths, "often", "* * * * *", NOON - timedelta(days=9))
    schedules.write_begun(paths, "often", NOON + timedelta(days=1))
    assert began(timetable, settings, caplog) == []
    time.now += timedelta(minutes=1)
    assert began(timetable, settings, caplog) == ["begin schedule often: dqctl runs"]


def test_a_file_that_is_damaged_is_said_and_stops_nothing_else(
    settings: Settings, paths: StackPaths, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    add(paths, "broken", "* * * * *", NOON)
    (paths.schedules / "broken.json").write_text("{")
    add(paths, "often", "* * * * *", NOON - timedelta(days=1))
    standing = Standing("default", time.clock)
    timetable = Timetable(standing, time.clock)
    assert len(began(timetable, settings, caplog)) == 1
    assert began(timetable, settings, caplog) == []
    assert "broken.json cannot be read" in standing.troubles["schedule"]
    schedules.drop(paths, "broken")
    assert began(timetable, settings, caplog) == []
    assert standing.troubles == {}
    for process in timetable.running:
        process.wait(120)
