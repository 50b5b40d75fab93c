"""The process of a round: ready before it is needed, told to go once, and gone when it is not needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dqctl.services.controller.goer import Goer
from dqctl.settings import Settings
from sidecar import within


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """There is no such stack: a round ends by an error, soon."""
    return Settings(home=tmp_path)


@pytest.fixture
def goer() -> Iterator[Goer]:
    made = Goer()
    yield made
    made.forget()


def test_one_that_is_ready_goes_when_it_is_told_and_says_what_it_came_to(goer: Goer, settings: Settings) -> None:
    goer.get_ready(settings)
    assert goer.is_ready
    assert goer.ended() is None
    process = goer.process
    goer.go(settings)
    assert goer.process is process
    assert not goer.is_ready
    code, said = within(goer.ended)
    assert code == 2
    assert said["error"]["message"] == f"stack 'default' is not installed in {settings.home}"
    assert goer.process is None
    assert not goer.is_going


def test_one_that_died_while_it_waited_is_replaced_and_one_that_is_not_needed_ends(
    goer: Goer, settings: Settings
) -> None:
    goer.get_ready(settings)
    first = goer.process
    assert first
    first.kill()
    first.wait(60)
    assert not goer.is_ready
    goer.get_ready(settings)
    second = goer.process
    assert second
    assert second is not first
    assert goer.is_ready
    goer.forget()
    assert second.returncode is not None
    assert goer.process is None


def test_one_whose_sidecar_is_gone_ends_by_itself_and_does_nothing(goer: Goer, settings: Settings) -> None:
    goer.get_ready(settings)
    process = goer.process
    assert process
    assert process.stdin
    process.stdin.close()
    assert process.wait(120) == 0
