"""How long a command takes to start: what everybody pays every time."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.conftest import Record

pytestmark = pytest.mark.benchmark

CEILING = 0.25
WallTime = Callable[[Sequence[str], int], float]


def test_help_is_there_at_once(record: Record, wall_time: WallTime) -> None:
    seconds = wall_time([str(Path(sys.executable).with_name("dqctl")), "--help"], 15)
    record("dqctl --help", seconds, "s", ceiling=CEILING)
    assert seconds < CEILING


def test_help_is_many_times_quicker_than_testgens(
    record: Record, wall_time: WallTime, testgen_program: Path
) -> None:
    ours = wall_time([str(Path(sys.executable).with_name("dqctl")), "--help"], 15)
    theirs = wall_time([str(testgen_program), "--help"], 5)
    record("testgen --help", theirs, "s", program=testgen_program.parent.parent.name)
    record("testgen --help over dqctl --help", theirs / ours, "times")
    assert theirs / ours > 3
