import itertools

import pytest

from dqctl.errors import ExitCode, worst


def test_the_worst_wins_in_the_documented_order() -> None:
    order = [7, 3, 4, 5, 6, 1, 2]
    for first, second in itertools.combinations(order, 2):
        assert worst([ExitCode(second), ExitCode(first)]) == first
        assert worst([ExitCode(first), ExitCode.DONE, ExitCode(second)]) == first


@pytest.mark.parametrize("code", list(ExitCode))
def test_a_single_code_stays_what_it_is(code: ExitCode) -> None:
    assert worst([code, ExitCode.DONE]) is code


def test_nothing_bad_is_done() -> None:
    assert worst([]) is ExitCode.DONE
