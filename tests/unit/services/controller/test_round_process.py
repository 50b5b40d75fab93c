"""The process of a round: ready before it is needed, told to go once, and gone when it is not needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dqctl.services.controller.round_process import RoundProcess
from dqctl.settings import Settings
from sidecar import within


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """There is no such stack: a round ends by an error, soon."""
    return Settings(home=tmp_path)


@pytest.fixture
def round_process() -> Iterator[RoundProcess]:
    made = RoundProcess()
    yield made
    made.forget()


def test_one_that_is_ready_goes_when_it_is_told_and_says_what_it_came_to(
    round_process: RoundProcess, settings: Settings
) -> None:
    round_process.get_ready(settings)
    assert round_process.is_ready
    assert round_process.ended() is None
    process = round_process.process
    round_process.go(settings)
    assert round_process.process is process
    assert not round_process.is_ready
    code, said = within(round_process.ended)
    assert code == 2
    assert said["error"]["message"] == f"stack 'default' is not installed in {settings.home}"
    assert round_process.process is None
    assert not round_process.is_going


def test_one_that_died_while_it_waited_is_replaced_and_one_that_is_not_needed_ends(
    round_process: RoundProcess, settings: Settings
) -> None:
    round_process.get_ready(settings)
    first = round_process.process
    assert first
    first.kill()
    first.wait(60)
    assert not round_process.is_ready
    round_process.get_ready(settings)
    second = round_process.process
    assert second
    assert second is not first
    assert round_process.is_ready
    round_process.forget()
    assert second.returncode is not None
    assert round_process.process is None


def test_one_whose_sidecar_is_gone_ends_by_itself_and_does_nothing(
    round_process: RoundProcess, settings: Settings
) -> None:
    round_process.get_ready(settings)
    process = round_process.process
    assert process
    assert process.stdin
    process.stdin.close()
    assert process.wait(120) == 0
