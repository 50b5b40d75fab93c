"""Whether the warehouse runs: one that is stopped starts with the next request for it, which may take a while."""

import threading
import time
from collections.abc import Callable


class WarehouseState:
    """RUNNING, STOPPED or STARTING, in Databricks' words; safe to use from many threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._takes = 0.0
        self._stopped = False
        self._runs_at = 0.0
        self._used = monotonic()

    @property
    def name(self) -> str:
        """The state now."""
        with self._lock:
            return "STOPPED" if self._stopped else "STARTING" if self._left() > 0 else "RUNNING"

    @property
    def idle(self) -> float:
        """Seconds since it was used last; 0 unless it runs."""
        with self._lock:
            resting = self._stopped or self._left() > 0
            return 0.0 if resting else self._monotonic() - max(self._used, self._runs_at)

    def used(self) -> None:
        """Somebody asks it for something."""
        with self._lock:
            self._used = self._monotonic()

    def stop(self, starting_takes: float | None = None) -> None:
        """Stop it; the next start takes so many seconds, by default as many as were asked for before."""
        with self._lock:
            self._stopped = True
            self._takes = self._takes if starting_takes is None else starting_takes

    def start(self) -> float:
        """Start it unless it runs; seconds until it does."""
        with self._lock:
            self._used = self._monotonic()
            if self._stopped:
                self._stopped, self._runs_at = False, self._monotonic() + self._takes
            return self._left()

    def run(self) -> None:
        """Have it running at once, after the next stop too."""
        with self._lock:
            self._stopped, self._runs_at, self._takes, self._used = False, 0.0, 0.0, self._monotonic()

    def _left(self) -> float:
        return max(0.0, self._runs_at - self._monotonic())
