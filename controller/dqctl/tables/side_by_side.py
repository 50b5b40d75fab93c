"""Work that goes on beside the one that asks for it: statements while further rows are read, several at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_Outcome = TypeVar("_Outcome")


class SideBySide:
    """Carries out work in up to ``width`` threads, in no order; with 1 where it is asked for, at once.

    The threads do not keep a process that is interrupted: what they had under way is as if it was killed.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._places = threading.Semaphore(width)
        self._begun: list[Future[Any]] = []

    def begin(self, work: Callable[[], _Outcome]) -> "Future[_Outcome]":
        """Have it done; what came of it, or went wrong with it, is in the future."""
        future: Future[_Outcome] = Future()
        self._begun.append(future)
        if self._width == 1:
            _carry_out(work, future)
        else:
            threading.Thread(target=self._when_there_is_room, args=(work, future), daemon=True).start()
        return future

    @property
    def failed(self) -> bool:
        """Whether something has gone wrong already."""
        return any(each.done() and each.exception() for each in self._begun)

    def settle(self) -> "list[Exception]":
        """Wait until all of it is over; what went wrong, in the order of asking."""
        failures = [failure for each in tuple(self._begun) if (failure := each.exception())]
        self._begun.clear()
        return [failure for failure in failures if isinstance(failure, Exception)]

    def finish(self) -> None:
        """Wait until all of it is over; the first that went wrong is raised."""
        if failures := self.settle():
            raise failures[0]

    def _when_there_is_room(self, work: Callable[[], _Outcome], future: "Future[_Outcome]") -> None:
        with self._places:
            _carry_out(work, future)


def _carry_out(work: Callable[[], _Outcome], future: "Future[_Outcome]") -> None:
    try:
        outcome = work()
    except Exception as failure:  # noqa: BLE001 - whoever looks at the future gets it
        future.set_exception(failure)
    else:
        future.set_result(outcome)
