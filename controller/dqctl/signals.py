"""Ctrl-C and SIGTERM while programs of ours run: both unwind, and none of them is lost."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """While a process runs, SIGTERM unwinds like Ctrl-C, unless the program handles it in a way of its own.

    Of the main thread only: who waits there for processes of other threads needs it, too.
    """

    def unwind(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What a signal's handler does (Ctrl-C's and that of ``sigterm_raises`` raise) it does when the block is left.

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
