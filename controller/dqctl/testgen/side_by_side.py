"""Several processes of TestGen for one command, each watched by a thread, and all ended with the command."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from dqctl.clock import Deadline
from dqctl.signals import unwinding

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

_POLL = 0.1


class Stoppable(Deadline):
    """A deadline that can be brought forward: what waits for it gives up at once."""

    def __init__(self, deadline: Deadline) -> None:
        self.seconds = deadline.seconds
        self._deadline = deadline
        self._stopped = threading.Event()

    @property
    def left(self) -> float:
        """Seconds left, none when it was stopped."""
        return 0.0 if self._stopped.is_set() else self._deadline.left

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it, rather than time."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let it pass now."""
        self._stopped.set()


def side_by_side(count: int, serve: Callable[[Deadline], Iterator[Item]], deadline: Deadline) -> Iterator[Item]:
    """What ``count`` calls of ``serve`` yield, as it comes, each in a thread of its own.

    Those that raise do not hold up the others; the first error is raised when all have ended. However this ends,
    Ctrl-C, SIGTERM and a caller that wants no more included, all have ended then: their deadline is stopped.
    """
    leash = Stoppable(deadline)
    heard: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()

    def work() -> None:
        fault: BaseException | None = None
        try:
            for item in serve(leash):
                heard.put(item)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            fault = error
        finally:
            heard.put(_End(fault))

    threads = [threading.Thread(target=work, name=f"jobs-{number}") for number in range(count)]
    with unwinding():
        try:
            for thread in threads:
                thread.start()
            yield from _until_all_end(heard, count)
        finally:
            leash.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()


def _until_all_end(heard: "queue.SimpleQueue[Item | _End]", count: int) -> Iterator[Item]:
    faults: list[BaseException] = []
    left = count
    while left:
        try:
            item = heard.get(timeout=_POLL)  # short, so that Ctrl-C is felt
        except queue.Empty:
            continue
        if not isinstance(item, _End):
            yield item
            continue
        left -= 1
        if item.fault:
            faults.append(item.fault)
    for fault in faults[1:]:
        _log.warning("another of %s at the same time: %s", count, fault)
    if faults:
        raise faults[0]


class _End:
    """The end of one thread."""

    def __init__(self, fault: BaseException | None) -> None:
        self.fault = fault
