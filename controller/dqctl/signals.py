"""Ctrl-C, SIGTERM and SIGHUP while programs of ours run: they unwind, and none of them is lost."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """While programs run, SIGTERM and SIGHUP (a terminal that is closed) unwind like Ctrl-C.

    One that this program handles in a way of its own, or that it is to ignore (nohup), stays as it is. Of the main
    thread only: who waits there for processes of other threads needs it, too.
    """

    def unwind(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, unwind)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What a signal's handler does (Ctrl-C's and those of ``unwinding`` raise) it does when the block is left.

    For a fork with a ``preexec_fn``, around which Python calls hooks of its modules. What is raised in one of them
    is ignored: the signal is lost, and what the hook was for is not done, as to let go of logging's lock.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)

    if threading.current_thread() is not threading.main_thread():  # no handler runs in another one
        yield
        return
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {each: handler for each, handler in handlers.items() if callable(handler)}
    for each in before:
        signal.signal(each, note)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)
