"""Publishing: every finished run into Databricks, exactly once, the oldest first."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.target import Target, target_name
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, DqctlError, EnvironmentFault, MissingSetting, NotPublished
from dqctl.progress import Progress, silent
from dqctl.services import tables
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
    again: Collection[str] = (),
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish whatever is waiting in the stack; runs named in ``again`` too if they are published already.

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
            place = str(settings.workspace and settings.workspace.resolve())
            name = target_name(place, settings.catalog, settings.schema_name)
            if not (waiting := len(_waiting(reader.finished_runs(), _known(ledger, name), again))):
                return PublishReport(name)
            raise _not_published(fault, waiting) from fault
        except MissingSetting as missing:
            # Nothing says where to: a stack may check PostgreSQL alone until somebody decides.
            if waiting := len(reader.finished_runs()):
                raise _not_published(missing, waiting) from missing
            raise
        return publish_pending(
            lambda: Warehouse(target, clock, progress),
            target,
            reader,
            ledger,
            again=again,
            progress=progress,
            clock=clock,
        )


def publish_pending(
    open_warehouse: Callable[[], AbstractContextManager[Statements]],
    target: Target,
    reader: Results,
    ledger: Ledger,
    *,
    again: Collection[str] = (),
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish what the ledger does not have. Nothing waiting, the warehouse is not woken."""
    finished = reader.finished_runs()
    known = _known(ledger, target.name)
    if not _waiting(finished, known, again):
        return PublishReport(target.name)
    try:
        with open_warehouse() as warehouse:
            place = Place(target.catalog, target.schema)
            ready = tables.ensure(warehouse, place, progress)
            delivery = Delivery(reader, ledger, target.name, ready.home, progress, clock)
            loader = Loader(warehouse, place, ready.columns, volume_exists=ready.volume_exists)
            known = ledger.published(ready.home)
            delivery.deliver(loader, [run.run_id for run in _waiting(finished, known, again)])
    except DatabricksRefused as refusal:
        raise DatabricksRefused(refusal.message, f"{refusal.hint}; {_SAFE}") from refusal
    except EnvironmentFault as fault:
        known |= ledger.published(ledger.last_home(target.name) or "")
        raise _not_published(fault, sum(run.run_id not in known for run in finished)) from fault
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


def _known(ledger: Ledger, target: str) -> frozenset[str]:
    """Ids of the runs that are where ``target`` led to last."""
    last_home = ledger.last_home(target)
    return ledger.published(last_home) if last_home else frozenset()


def _waiting(
    finished: tuple[FinishedRun, ...], known: frozenset[str], again: Collection[str]
) -> tuple[FinishedRun, ...]:
    return tuple(run for run in finished if run.run_id not in known or run.run_id in again)


def _not_published(fault: DqctlError, waiting: int) -> NotPublished:
    wait = "waits" if waiting == 1 else "wait"
    return NotPublished(
        f"{_runs(waiting)} {wait} to be published: {fault.message}", f"{fault.hint}; {_SAFE}".removeprefix("; ")
    )


def _runs(count: int) -> str:
    return "1 finished run" if count == 1 else f"{count} finished runs"
