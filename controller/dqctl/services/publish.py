"""Publishing: every finished run into Databricks, exactly once, the oldest first."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.target import Target, target_name
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, DqctlError, EnvironmentFault, MissingSetting, NotPublished
from dqctl.progress import Progress, silent
from dqctl.services import grants, tables
from dqctl.services.delivery import Delivery, PublishedRun, StoredRuns
from dqctl.settings import Settings
from dqctl.tables.loader import Loader
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.ports import Runtime
from dqctl.testgen.reader import FinishedRun, MetadataReader

log = logging.getLogger(__name__)

# Runs that are published once more: ids, or all.
ALL = "all"
Again = Collection[str]
# Statements under way at the same time. A publish has four tables to load beside the runs' own.
_AT_ONCE = 3
_SAFE = "the results are safe in TestGen's database; once this is mended run: dqctl publish --pending"


@dataclass(frozen=True)
class PublishReport:
    """What a publish did; no runs when nothing was waiting."""

    target: str
    runs: tuple[PublishedRun, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all runs."""
        return tuple(warning for run in self.runs for warning in run.warnings)


class Results(StoredRuns, Protocol):
    """Where finished runs are found and read."""

    def finished_runs(self) -> tuple[FinishedRun, ...]:
        """All runs that are over, the oldest first."""
        ...


def publish(
    settings: Settings,
    runtime: Runtime,
    *,
    again: Again = (),
    since: datetime | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish whatever is waiting in the stack; runs named in ``again`` too if they are published already.

    With ``since`` only runs that ended then or later.

    Raises ``NotPublished`` saying how many runs wait, and ``DatabricksRefused``.
    """
    with runtime.metadata() as connection:
        reader = MetadataReader(connection, capabilities(runtime.version), settings.stack)
        ledger = Ledger(connection)
        ledger.ensure()
        try:
            target = tables.find_target(settings)
        except EnvironmentFault as fault:
            # A local workspace that is stopped: the ledger knows all the same what is there.
            name = name_of_target(settings)
            if not (left := len(waiting(reader.finished_runs(), known(ledger, name), again, since))):
                return PublishReport(name)
            raise _not_published(fault, left) from fault
        except MissingSetting as missing:
            # Nothing says where to: a stack may check PostgreSQL alone until somebody decides.
            if left := len(waiting(reader.finished_runs(), frozenset(), (), since)):
                raise _not_published(missing, left) from missing
            raise
        return publish_pending(
            lambda: Warehouse(target, clock, progress),
            target,
            reader,
            ledger,
            again=again,
            since=since,
            progress=progress,
            clock=clock,
        )


def publish_pending(
    open_warehouse: Callable[[], AbstractContextManager[Statements]],
    target: Target,
    reader: Results,
    ledger: Ledger,
    *,
    again: Again = (),
    since: datetime | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish what the ledger does not have. Nothing waiting, the warehouse is not woken."""
    finished = reader.finished_runs()
    already = known(ledger, target.name)
    if not waiting(finished, already, again, since):
        return PublishReport(target.name)
    try:
        with open_warehouse() as warehouse, grants.named(warehouse, target):
            place = Place(target.catalog, target.schema)
            ready = tables.ensure(warehouse, place, progress)
            delivery = Delivery(reader, ledger, target.name, ready.home, progress, clock)
            loader = Loader(warehouse, place, ready.columns, volume_exists=ready.volume_exists, at_once=_AT_ONCE)
            already = ledger.published(ready.home)
            delivery.deliver(loader, [run.run_id for run in waiting(finished, already, again, since)])
    except DatabricksRefused as refusal:
        raise DatabricksRefused(refusal.message, f"{refusal.hint}; {_SAFE}") from refusal
    except EnvironmentFault as fault:
        already |= known(ledger, target.name)
        raise _not_published(fault, len(waiting(finished, already, (), since))) from fault
    if delivery.failed:
        raise NotPublished(
            f"{len(delivery.failed)} of {len(finished)} finished runs could not be published: "
            + "; ".join(f"{run_id}: {reason}" for run_id, reason in delivery.failed.items()),
            _SAFE,
        )
    rows: Counter[str] = Counter()
    for run in delivery.done:
        rows.update(run.rows)
    return PublishReport(target.name, tuple(delivery.done), dict(rows))


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
        and (since is None or (run.ended_at is not None and in_utc(run.ended_at) >= since))
    )


def in_utc(time: datetime) -> datetime:
    """A time of TestGen's, which says no zone and means UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def name_of_target(settings: Settings) -> str:
    """The name that the ledger knows the target by, also of a local workspace that does not run."""
    if settings.workspace is None:
        return tables.find_target(settings).name
    return target_name(str(settings.workspace.resolve()), settings.catalog, settings.schema_name)


def _not_published(fault: DqctlError, left: int) -> NotPublished:
    wait = "waits" if left == 1 else "wait"
    return NotPublished(
        f"{_runs(left)} {wait} to be published: {fault.message}", f"{fault.hint}; {_SAFE}".removeprefix("; ")
    )


def _runs(count: int) -> str:
    return "1 finished run" if count == 1 else f"{count} finished runs"
