"""What a check finds, and what a check is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from dqctl.services.doctor.subject import Subject


class Verdict(StrEnum):
    """How bad it is. ``SKIPPED`` is what could not be told: nothing to look at, or nobody who may look."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What one check found: the numbers that it saw, and the command that mends it.

    ``refused`` means that Databricks said no, which has an exit code of its own. ``seconds`` is what it took.
    """

    id: str
    verdict: Verdict
    evidence: str
    fix: str = ""
    refused: bool = False
    seconds: float = 0.0


def ok(evidence: str) -> Finding:
    """All is well. Who runs the check adds its id, here and below."""
    return Finding("", Verdict.OK, evidence)


def warning(evidence: str, fix: str) -> Finding:
    """It works, but somebody should know."""
    return Finding("", Verdict.WARNING, evidence, fix)


def failed(evidence: str, fix: str, *, refused: bool = False) -> Finding:
    """It does not work."""
    return Finding("", Verdict.FAILED, evidence, fix, refused)


def skipped(evidence: str, fix: str = "") -> Finding:
    """It could not be told; ``fix`` says how a person can."""
    return Finding("", Verdict.SKIPPED, evidence, fix)


Look = Callable[[Subject], Finding]


@dataclass(frozen=True)
class Check:
    """One look at the stack or its surroundings; it changes nothing.

    ``seconds`` is all the time it has. ``needs`` are ids of checks without whose success it makes no sense; those
    that are not run at all do not count. ``late`` is the fix when it does not come back in time.
    """

    id: str
    look: Look
    seconds: float
    needs: tuple[str, ...] = field(default=())
    late: str = ""


def check(
    name: str, *, seconds: float = 1.5, needs: tuple[str, ...] = (), late: str = ""
) -> Callable[[Look], Check]:
    """Make a ``Check`` of a function; ``name`` is its stable id, words with dots."""
    return lambda look: Check(name, look, seconds, needs, late)
