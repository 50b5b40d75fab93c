"""Threads that end with the command, whatever ends it."""

import threading
import time
from collections.abc import Iterator

import pytest

from dqctl.clock import Deadline
from dqctl.testgen.side_by_side import Stoppable, side_by_side

WAIT = 30.0


def patient(deadline: Deadline) -> Iterator[str]:
    """Yields once, then waits for its deadline, as a call of TestGen does."""
    yield "begun"
    end = time.monotonic() + WAIT
    while not deadline.passed and time.monotonic() < end:
        time.sleep(0.01)
    raise TimeoutError("the deadline passed")


def test_what_all_yield_comes_and_all_end() -> None:
    numbers = iter(range(100))
    lock = threading.Lock()

    def take(deadline: Deadline) -> Iterator[int]:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    assert sorted(side_by_side(4, take, Deadline(WAIT))) == list(range(100))


def test_one_that_fails_holds_up_nobody_and_is_told_at_the_end() -> None:
    places = iter(range(3))
    failed = threading.Event()

    def work(deadline: Deadline) -> Iterator[str]:
        if next(places) == 0:
            failed.set()
            raise ValueError("this one")
        assert failed.wait(WAIT)
        yield "done"

    heard: list[str] = []
    with pytest.raises(ValueError, match="this one"):
        heard.extend(side_by_side(3, work, Deadline(WAIT)))
    assert heard == ["done", "done"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_the_caller_stops_all(reason: type[BaseException]) -> None:
    running = side_by_side(3, patient, Deadline(WAIT))
    started = time.monotonic()
    assert [next(running) for _ in range(3)] == ["begun"] * 3
    if reason is GeneratorExit:
        running.close()
    else:
        with pytest.raises(reason):
            running.throw(reason())
    assert time.monotonic() - started < WAIT / 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("jobs-")]


def test_a_deadline_that_passes_ends_all() -> None:
    with pytest.raises(TimeoutError):
        list(side_by_side(2, patient, Deadline(0.2)))


def test_a_deadline_tells_a_stop_from_time() -> None:
    late = Stoppable(Deadline(0.0))
    assert (late.passed, late.stopped) == (True, False)
    stopped = Stoppable(Deadline(60.0))
    assert not stopped.passed
    stopped.stop()
    assert (stopped.passed, stopped.stopped, stopped.seconds) == (True, True, 60.0)
