"""How the sidecar is, for those who ask from other threads: its health, its readiness, its own few numbers."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from dqctl.clock import Clock
from dqctl.report.controller import Turning

# What can go wrong: looking at the stack, a round (publishing, saving), a schedule, an alert.
Kind = Literal["watch", "round", "schedule", "alert"]
KINDS: tuple[Kind, ...] = ("watch", "round", "schedule", "alert")

# A turn takes milliseconds; one that alerts, or connects, as long as somebody does not answer.
_HEALTHY_SECONDS = 120.0


class Standing:
    """Written by the loop, read by everybody: each value is replaced as a whole."""

    def __init__(self, stack: str, clock: Clock) -> None:
        self.stack = stack
        self.is_leading = False
        self.leader: str | None = None
        """Who leads, where it is another one."""
        self._clock = clock
        self._turned = clock.monotonic()
        self._turned_at = clock.now()
        self._troubles: dict[Kind, str] = {}
        self._errors: Counter[Kind] = Counter()
        self._rounds = 0

    def turn(self) -> None:
        """The loop turns."""
        self._turned, self._turned_at = self._clock.monotonic(), self._clock.now()

    def fail(self, kind: Kind, why: str) -> bool:
        """Something is wrong, until ``succeed``; whether that is news."""
        self._errors[kind] += 1
        news = self._troubles.get(kind) != why
        self._troubles = {**self._troubles, kind: why}
        return news

    def succeed(self, kind: Kind) -> bool:
        """It works; whether it did not before."""
        news = kind in self._troubles
        self._troubles = {name: why for name, why in self._troubles.items() if name != kind}
        return news

    def count_round(self) -> None:
        """A round has ended."""
        self._rounds += 1

    @property
    def is_healthy(self) -> bool:
        """Whether the loop turns."""
        return self._clock.monotonic() - self._turned < _HEALTHY_SECONDS

    @property
    def troubles(self) -> Mapping[Kind, str]:
        """What is wrong right now, and why."""
        return self._troubles

    def turning(self) -> Turning:
        """The numbers."""
        return Turning(
            stack=self.stack,
            is_leading=self.is_leading,
            is_ready=not self._troubles,
            turned_at=self._turned_at,
            rounds=self._rounds,
            errors={kind: self._errors[kind] for kind in KINDS},
        )
