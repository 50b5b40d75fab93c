"""Publishing: every finished run into Databricks, exactly once, the oldest first."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.target import Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, DqctlError, EnvironmentFault, MissingSetting, NotPublished
from dqctl.progress import Progress, silent
from dqctl.services import grants, tables
from dqctl.services.delivery import Delivery, PublishedRun, StoredRuns
from dqctl.services.target import find_target, name_of_target
from dqctl.services.waiting import Again, known, waiting
from dqctl.settings import Settings
from dqctl.tables.loader import Loader
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place
from dqctl.testgen import exclusive
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.ports import Runtime
from dqctl.testgen.reader import FinishedRun, MetadataReader

log = logging.getLogger(__name__)

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

    With ``since`` only runs that ended then or later. Nobody else publishes out of this stack meanwhile: two would
    get into each other's way. Another one is waited for as long as it may take with a statement.

    Raises ``Busy`` when it takes longer, ``NotPublished`` saying how many runs wait, and ``DatabricksRefused``.
    """
    wait = max(settings.lock_timeout, settings.warehouse_timeout)
    with (
        # A connection of its own: the other one's transactions come and go.
        runtime.metadata() as turn,
        exclusive.alone(turn, exclusive.PUBLISH, wait, clock),
        runtime.metadata() as connection,
    ):
        reader = MetadataReader(connection, capabilities(runtime.version), settings.stack)
        ledger = Ledger(connection)
        ledger.ensure()
        try:
            target = find_target(settings)
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


def _not_published(fault: DqctlError, left: int) -> NotPublished:
    wait = "waits" if left == 1 else "wait"
    return NotPublished(
        f"{_runs(left)} {wait} to be published: {fault.message}", f"{fault.hint}; {_SAFE}".removeprefix("; ")
    )


def _runs(count: int) -> str:
    return "1 finished run" if count == 1 else f"{count} finished runs"
