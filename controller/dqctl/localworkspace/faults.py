"""Faults on request: which of the coming requests meet which fault. Pure: no network.

A real warehouse is slow, busy, stopped, throttled, and loses answers; here all of that happens when it is asked
for. The script lives as long as the server does.
"""

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from dqctl.localworkspace.conflicts import CONFLICTS, SQLSTATE, wording

MOST_HITS = 1000
SHOWN_SUBJECT = 300  # characters


class Kind(StrEnum):
    """What a request is about, and what ``Fault.matching`` is looked for in."""

    STATEMENT = "statement"  # its text
    SESSION = "session"  # opening one; no text
    RESULT = "result"  # asking for the state, shape or rows of a statement: the name of the Thrift call
    FILE = "file"  # a file of a volume, by either door: "PUT /Volumes/main/..."
    SIGN_IN = "sign-in"  # a service principal's token: "POST /oidc/v1/token"
    OTHER = "other"  # everything else: "GET /api/2.0/..."
    COMMIT = "commit"  # a statement has its rows and is about to make them a version of the table: its text


class Effect(StrEnum):
    """What happens to a request."""

    DELAY = "delay"  # it waits ``seconds``, and is carried out; goes together with any other fault
    STATUS = "status"  # it is answered with ``status``, and with Retry-After when ``retry_after`` is not None
    RESET = "reset"  # the connection is reset, nothing is carried out
    LOST = "lost"  # it is carried out, then the connection is reset: the answer is lost
    CUT = "cut"  # it is carried out, half of the answer arrives
    HANG = "hang"  # nothing is carried out, and no answer comes for ``seconds``, or until the client goes
    ERROR = "error"  # a statement fails with ``error_class``, ``message`` and ``sqlstate``
    EXPIRE = "expire"  # the token that came with it has expired, from now on
    STOP = "stop"  # the warehouse stops, its sessions end, and starting takes ``seconds``


@dataclass(frozen=True)
class Fault:
    """Requests of ``kind`` in which the regular expression ``matching`` is found meet ``effect``.

    The first ``skip`` of them are spared, then each ``every``-th is hit (1: each), ``times`` in all (0: until the
    script is cleared); with a ``probability`` below 1, only so many of those, and which ones follows from ``seed``
    alone. ``ValueError`` when it makes no sense.
    """

    effect: Effect
    kind: Kind = Kind.STATEMENT
    matching: str = ""
    skip: int = 0
    every: int = 1
    times: int = 1
    seconds: float = 0.0
    status: int = 503
    retry_after: int | None = None
    error_class: str = "DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES"
    message: str = ""
    sqlstate: str = ""
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """See that it can happen."""
        try:
            re.compile(self.matching)
        except re.error as error:
            raise ValueError(f"{self.matching!r} is no regular expression: {error}") from error
        if self.skip < 0 or self.every < 1 or self.times < 0 or not 0 <= self.seconds <= 86_400:
            raise ValueError("skip, times and seconds are not negative, every is at least 1, a day is the longest")
        if not 0 < self.probability <= 1:
            raise ValueError("probability is above 0, and 1 at most")
        if not 400 <= self.status <= 599:
            raise ValueError(f"{self.status} is no HTTP status of a failure")
        if self.effect is Effect.ERROR and self.kind is not Kind.STATEMENT:
            raise ValueError("only statements fail with an error class")
        if self.kind is Kind.COMMIT and self.effect is not Effect.DELAY:
            raise ValueError("a commit is delayed; anything else happens to its statement")
        if self.effect is Effect.ERROR and not self.wording[0]:
            raise ValueError(f"what does {self.error_class} say? Known are: {', '.join(CONFLICTS)}")

    def hits(self, number: int) -> bool:
        """Whether the request that matches after ``number`` others is hit; the same in every run."""
        beyond = number - self.skip
        if beyond < 0 or beyond % self.every:
            return False
        # Not for cryptography: a sequence that can be had again.
        return self.probability >= 1 or random.Random(f"{self.seed}/{beyond}").random() < self.probability  # noqa: S311

    @property
    def wording(self) -> tuple[str, str]:
        """Message and SQLSTATE of the error: those that are given, else Databricks' own."""
        if self.error_class not in CONFLICTS:
            return self.message, self.sqlstate or "XX000"
        return self.message or wording(self.error_class), self.sqlstate or SQLSTATE

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Fault":
        """The fault that a JSON object describes; ``ValueError`` when it describes none."""
        if unknown := set(document) - {field.name for field in fields(cls)}:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
        given = dict(document)
        try:
            given["effect"] = Effect(given["effect"])
            given["kind"] = Kind(given.get("kind", Kind.STATEMENT))
            return cls(**given)
        except KeyError:
            raise ValueError("a fault has an effect") from None
        except TypeError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True)
class ScriptedFault:
    """A fault of the script: requests that it ``matched`` so far, and those that it ``hit``."""

    id: int
    fault: Fault
    matched: int = 0
    hit: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it has happened as often as it should."""
        return 0 < self.fault.times <= self.hit

    def as_document(self) -> dict[str, Any]:
        """The JSON object that ``workspace fault list`` shows."""
        return {"id": self.id, **asdict(self.fault), "matched": self.matched, "hit": self.hit}


@dataclass(frozen=True)
class Hit:
    """That a fault happened: to which request, and when (seconds since the epoch)."""

    number: int
    fault: int
    effect: Effect
    kind: Kind
    subject: str
    at: float


class FaultScript:
    """The faults that are asked for, in the order in which they were; safe to use from many threads."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._faults: list[ScriptedFault] = []
        self._next = 1
        self._hits: deque[Hit] = deque(maxlen=MOST_HITS)
        self._hit_count = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing can happen any more."""
        return all(scripted.is_over for scripted in self._faults)

    def add(self, fault: Fault) -> ScriptedFault:
        """Put a fault at the end."""
        return self.extend([fault])[0]

    def extend(self, faults: Sequence[Fault]) -> tuple[ScriptedFault, ...]:
        """Put faults at the end, all of them at once."""
        with self._lock:
            scripted = tuple(ScriptedFault(self._next + place, fault) for place, fault in enumerate(faults))
            self._faults.extend(scripted)
            self._next += len(scripted)
            return scripted

    def all(self) -> tuple[ScriptedFault, ...]:
        """All of them, also those that are over."""
        with self._lock:
            return tuple(self._faults)

    def hits(self) -> tuple[Hit, ...]:
        """What happened since the script was cleared last, at most the ``MOST_HITS`` newest."""
        with self._lock:
            return tuple(self._hits)

    def remove(self, number: int) -> bool:
        """Forget one by its id; whether it was there."""
        with self._lock:
            left = [scripted for scripted in self._faults if scripted.id != number]
            gone = len(left) < len(self._faults)
            self._faults = left
            return gone

    def clear(self) -> int:
        """Forget all of them, and what happened; how many could still have happened."""
        with self._lock:
            left = sum(not scripted.is_over for scripted in self._faults)
            self._faults.clear()
            self._hits.clear()
            self._hit_count = 0
            return left

    def meet(self, kind: Kind, subject: str) -> tuple[Fault, ...]:
        """What happens to this request: delays first, and at most one other fault, the first that hits.

        Those behind it do not count the request as one of theirs.
        """
        delays: list[Fault] = []
        with self._lock:
            for place, scripted in enumerate(self._faults):
                fault = scripted.fault
                if scripted.is_over or fault.kind is not kind or not re.search(fault.matching, subject):
                    continue
                hits = fault.hits(scripted.matched)
                self._faults[place] = ScriptedFault(
                    scripted.id, fault, scripted.matched + 1, scripted.hit + int(hits)
                )
                if not hits:
                    continue
                self._hit_count += 1
                about = (scripted.id, fault.effect, kind, subject[:SHOWN_SUBJECT], self._now())
                self._hits.append(Hit(self._hit_count, *about))
                if fault.effect is not Effect.DELAY:
                    return (*delays, fault)
                delays.append(fault)
        return tuple(delays)

    def hold(self, statement: str, stop: threading.Event) -> None:
        """Wait before a commit as long as faults want it and are not removed; ``stop`` ends it, too."""
        for fault in self.meet(Kind.COMMIT, statement):
            end = time.monotonic() + fault.seconds
            while time.monotonic() < end and any(each.fault is fault for each in self.all()):
                if stop.wait(0.02):
                    return


def faults_from(document: Any) -> list[Fault]:
    """The faults of a script as JSON has it: ``{"faults": [{"effect": "lost"}, ...]}``; ``ValueError``."""
    faults = document.get("faults") if isinstance(document, dict) else None
    if not isinstance(faults, list) or not all(isinstance(each, dict) for each in faults):
        raise ValueError('a script is an object with a list of objects: {"faults": [{"effect": "lost"}]}')
    return [Fault.from_document(each) for each in faults]
