"""Reading the logs of several sources as one."""

import heapq
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime

from dqctl.services.logs.sources import LogLine, Source, written

_LISTEN = 0.5  # seconds; a wait without an end could not be interrupted


def read(
    sources: Sequence[Source], *, since: datetime | None = None, lines: int | None = None
) -> Iterator[LogLine]:
    """What is there, in the order of time; of each source the last ``lines``, those written ``since`` then."""
    logs = [deque(source.lines(since), maxlen=lines) for source in sources]
    return heapq.merge(*logs, key=written)


def follow(sources: Sequence[Source]) -> Iterator[LogLine]:
    """What is written from now on (after ``read``), as it comes; for ever: until the caller stops."""
    heard: queue.SimpleQueue[LogLine] = queue.SimpleQueue()
    over = threading.Event()
    for source in sources:
        threading.Thread(target=source.follow, args=(heard.put, over), daemon=True).start()
    try:
        while True:
            try:
                yield heard.get(timeout=_LISTEN)
            except queue.Empty:
                continue
    finally:
        over.set()
