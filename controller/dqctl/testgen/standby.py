"""TestGen's Python, started before there is anything to ask it, and asked more than once.

Its imports take longer than much of its work. Where a command knows that it is going to need it, it starts while
other things do, and what asks finds it ready; where it does not fit, or has ended, ``ask`` starts one as ever.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Protocol

from dqctl import processes, signals
from dqctl.clock import Deadline
from dqctl.testgen.ports import Completed, Feed, Runtime
from dqctl.testgen.side_by_side import Stoppable

_log = logging.getLogger(__name__)

_POLL = 0.1
_LAST_WORDS = 30.0  # seconds for one that is stopped: it settles its job, then is killed


class _Heard(Protocol):
    """What listens to the answers to one call."""

    @property
    def anything(self) -> bool:
        """Whether the question was read."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing more to wait for."""
        ...

    def __call__(self, line: str) -> None:
        """The next line."""
        ...


class Standby:
    """One process, which a thread of its own looks after until it has ended."""

    def __init__(self, runtime: Runtime, argv: Sequence[str], first: str, deadline: Deadline) -> None:
        self._runtime = runtime
        self._argv = argv
        self._configuration = runtime.configuration
        self._leash = Stoppable(deadline)
        self._feed = Feed()
        # Lines, then how it ended.
        self._said: queue.SimpleQueue[str | Completed | BaseException] = queue.SimpleQueue()
        self._feed.tell(first)
        self._thread = threading.Thread(target=self._run, name="testgen-standby", daemon=True)
        self._thread.start()

    def fits(self, runtime: Runtime) -> bool:
        """Whether it runs, and was started as one of ``runtime`` would be now."""
        return self._thread.is_alive() and runtime.configuration == self._configuration

    def serve(self, asked: str, deadline: Deadline, heard: _Heard) -> Completed | None:
        """Ask it, and pass on what it says, in the caller's thread; how it ended, None while it goes on.

        What ends the wait (the deadline, an error in ``heard``, Ctrl-C, SIGTERM) stops it first. It may end
        without having read the question: then nothing was heard.
        """
        self._feed.tell(asked)
        with signals.unwinding():
            try:
                while not heard.is_complete:
                    if deadline.passed:
                        raise processes.not_in_time(["TestGen"], deadline)
                    try:
                        said = self._said.get(timeout=_POLL)  # short, so that Ctrl-C is felt
                    except queue.Empty:
                        continue
                    if isinstance(said, str):
                        heard(said)
                        continue
                    self._thread.join()  # nobody asks it again
                    if isinstance(said, Completed) or not heard.anything:
                        return said if isinstance(said, Completed) else None
                    raise said
            except BaseException:
                self.stop()
                raise
        return None

    def dismiss(self) -> None:
        """Let it end by itself, which takes it a moment; with us at the latest. Nobody waits for it."""
        self._feed.tell("\n")
        self._feed.end()

    def stop(self) -> None:
        """End it, whatever it does, as a process is ended whose deadline has passed."""
        self._leash.stop()
        self._feed.end()
        self._thread.join(_LAST_WORDS)

    def _run(self) -> None:
        try:
            done = self._runtime.run(
                self._argv, program="python", stdin=self._feed, deadline=self._leash, on_line=self._said.put
            )
        except BaseException as error:  # noqa: BLE001 - raised where it is asked
            _log.debug("TestGen's Python stands by no more: %s", error)
            self._said.put(error)
        else:
            self._said.put(done)


class _Expected:
    """What a command expects to ask, and who stands by for it."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.standby: Standby | None = None


_expected: ContextVar[_Expected | None] = ContextVar("expected", default=None)


@contextlib.contextmanager
def expected(deadline: Deadline) -> Iterator[None]:
    """Inside the block it is worth while to stand by: TestGen's Python is going to be asked by this thread.

    Blocks may be nested: who stands by stays until the outer one ends, or an error leaves one of them.
    ``deadline`` is the longest that it may live.
    """
    outer = _expected.get()
    here = outer or _Expected(deadline)
    token = _expected.set(here)
    try:
        yield
    except BaseException:
        if here.standby:
            here.standby.stop()
        raise
    finally:
        _expected.reset(token)
        if here.standby and outer is None:
            here.standby.dismiss()


def begin(runtime: Runtime, argv: Sequence[str], first: str) -> None:
    """Have somebody stand by, if that is expected and nobody does; ``first`` is what it reads first."""
    here = _expected.get()
    if here and not (here.standby and here.standby.fits(runtime)):
        if here.standby:
            here.standby.stop()
        here.standby = Standby(runtime, argv, first, here.deadline)


def found(runtime: Runtime) -> Standby | None:
    """Who stands by for ``runtime``; None when nobody does."""
    here = _expected.get()
    return here.standby if here and here.standby and here.standby.fits(runtime) else None
