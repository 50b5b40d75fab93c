"""Which finished runs are to be published, by what the ledger knows."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import FinishedRun

# Runs that are published once more: ids, or all.
ALL = "all"
Again = Collection[str]


def known(ledger: Ledger, target: str) -> frozenset[str]:
    """Ids of the runs that are where ``target`` led to last."""
    last_home = ledger.last_home(target)
    return ledger.published(last_home) if last_home else frozenset()


def waiting(
    finished: Sequence[FinishedRun], known: frozenset[str], again: Again, since: datetime | None
) -> tuple[FinishedRun, ...]:
    """The runs that are to be published, in their order: those that are not ``known``, and ``again``."""
    return tuple(
        run
        for run in finished
        if (run.run_id not in known or again == ALL or run.run_id in again)
        and (since is None or (run.ended_at is not None and _in_utc(run.ended_at) >= since))
    )


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
