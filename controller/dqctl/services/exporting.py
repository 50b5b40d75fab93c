"""What the receivers of exports have in common."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dqctl.progress import Progress
from dqctl.records import Row
from dqctl.testgen.exports import Doubt


class Doubtful(StrEnum):
    """What becomes of requests of which nobody knows whether they were taken."""

    LEAVE = "leave"
    RESEND = "resend"
    ASSUME_DELIVERED = "assume-delivered"


@dataclass
class Tally:
    """What of one run was handed over so far: ``results`` in ``requests`` of together ``size`` bytes."""

    results: int = 0
    requests: int = 0
    size: int = 0

    def add(self, results: int, size: int) -> None:
        """One request more."""
        self.results += results
        self.requests += 1
        self.size += size


class Exporter(Protocol):
    """One receiver, and what it has already."""

    @property
    def target(self) -> str:
        """The receiver, for people."""
        ...

    @property
    def refused(self) -> Mapping[str, str]:
        """Results that the receiver does not take, by id, and why."""
        ...

    def prepare(self, doubtful: Doubtful, progress: Progress) -> None:
        """Before anything is handed over, when nobody else is exporting."""
        ...

    def waiting(self) -> Collection[str]:
        """Ids of the runs of which something is to be handed over."""
        ...

    def requests(self, run: Row) -> Iterable[tuple[int, bytes]]:
        """What would be sent of a run (a row of ``dq_runs``): how many results, and the body, of each request."""
        ...

    def deliver(self, run: Row, tally: Tally, progress: Progress) -> None:
        """Send what is to be sent of a run, counting it; the first thing that goes wrong is raised."""
        ...

    def doubts(self) -> tuple[Doubt, ...]:
        """Requests that may have been taken or not, when nobody else is exporting."""
        ...
