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

    @property
    def name(self) -> str:
        """The state now."""
        with self._lock:
            return "STOPPED" if self._stopped else "STARTING" if self._left() > 0 else "RUNNING"

    def stop(self, starting_takes: float = 0.0) -> None:
        """Stop it; the next start takes so many seconds."""
        with self._lock:
            self._stopped, self._takes = True, starting_takes

    def start(self) -> float:
        """Start it unless it runs; seconds until it does."""
        with self._lock:
            if self._stopped:
                self._stopped, self._runs_at = False, self._monotonic() + self._takes
            return self._left()

    def run(self) -> None:
        """Have it running at once."""
        with self._lock:
            self._stopped, self._runs_at = False, 0.0

    def _left(self) -> float:
        return max(0.0, self._runs_at - self._monotonic())
