"""One round of the sidecar, ``dqctl controller once``: whatever is left to do in a stack, done now.

It is a process of its own: what publishing takes of memory ends with it, and it may be ended at any moment, since
a run is visible when all of it is there. It does not get into anybody's way: it holds no lock that a command needs
but that of who publishes, which commands wait for.
"""

import logging
from dataclasses import dataclass
from uuid import UUID

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks import warehouses
from dqctl.errors import Busy, DqctlError, MissingSetting
from dqctl.progress import Progress, silent
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import metrics, state
from dqctl.services.export_runs import hand_over_after
from dqctl.services.publish import PublishReport, publish
from dqctl.services.target import find_target, name_of_target, why_off
from dqctl.settings import Settings
from dqctl.testgen import exclusive, jobs
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.noticing import Notice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """What a round did. ``published`` is None where nothing says where results go, or publishing failed.

    ``settled`` are jobs that commands had left behind. ``errors`` are those of publishing and of saving.
    """

    published: PublishReport | None
    settled: tuple[UUID, ...] = ()
    errors: tuple[DqctlError, ...] = ()
    has_target: bool = True


def go(settings: Settings, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK) -> Round:
    """Settle what was left behind, publish and export what waits, save what changed, write the metrics' file.

    A warehouse that sleeps is started only when there is something to publish. Raises what ``open_runtime``
    raises.
    """
    runtime = open_runtime(settings, progress)
    settled = _settle(runtime, clock)
    errors: list[DqctlError] = []
    published = None
    has_target = _has_target(settings)
    if has_target:
        try:
            published = publish(settings, runtime, progress=progress, clock=clock)
        except DqctlError as error:
            errors.append(error)
    if exported := hand_over_after(settings, runtime, progress=progress, clock=clock):
        errors += exported.errors
    if published and (unsaved := _save(settings, runtime, bool(published.runs), progress, clock)):
        errors.append(unsaved)
    metrics.write_after(settings, progress)
    return Round(published, settled, tuple(errors), has_target)


def _settle(runtime: Runtime, clock: Clock) -> tuple[UUID, ...]:
    """End jobs of dqctl's that nobody runs, if nobody works on the stack; those of others are theirs."""
    found: list[UUID] = []

    def settle() -> None:
        found.extend(job.job_id for job in jobs.settle_orphans(runtime, keep_queued=True, ours_only=True))

    with runtime.metadata() as connection:
        if not Notice(connection, capabilities(runtime.version)).look().left_behind:
            return ()
        try:
            with jobs.shared(connection, 0.0, "dqctl controller", when_alone=settle, clock=clock):
                pass
        except Busy:  # somebody works, who settles it
            return ()
    return tuple(found)


def _save(
    settings: Settings, runtime: Runtime, is_awake: bool, progress: Progress, clock: Clock
) -> DqctlError | None:
    """Save the state, unless a command works, which saves what it did, or a warehouse would have to be woken."""
    if why_off(settings, runtime.record):  # then changes are not to be written down either
        return state.save_after(settings, runtime, "controller", progress=progress, clock=clock)
    with runtime.metadata() as connection:
        if exclusive.has_company(connection):
            return None
    try:
        if not is_awake and (sleeper := warehouses.asleep(find_target(settings), clock)):
            log.info("the state is saved with the next runs: warehouse %s sleeps", sleeper.name)
            return None
    except DqctlError as error:
        return error
    return state.save_after(settings, runtime, "controller", progress=progress, clock=clock)


def _has_target(settings: Settings) -> bool:
    try:
        name_of_target(settings)
    except MissingSetting:
        return False
    return True
