"""A stack's numbers for monitoring: read, never started, changed or woken."""

import logging
from dataclasses import replace
from pathlib import Path

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, EnvironmentFault, UsageError
from dqctl.files import write_atomically
from dqctl.progress import Progress, silent
from dqctl.report.metrics import SCHEDULES, SUBJECTS, Measures, Newest, Scheduled, exposition
from dqctl.runtime import Runtime, runtime_of
from dqctl.services import results
from dqctl.services.status import lakebase_state
from dqctl.services.target import name_of_target, why_off
from dqctl.services.waiting import known, waiting
from dqctl.settings import Settings
from dqctl.stack import backups, schedules, upgrading
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from dqctl.stack.upgrading import Phase
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.state import batch, book, capture

log = logging.getLogger(__name__)


def measure(settings: Settings, clock: Clock = SYSTEM_CLOCK, before: Measures | None = None) -> Measures:
    """The stack's numbers now. ``UsageError`` when it is not installed; one that does not answer is not ``up``.

    ``before`` are those of a while ago, if the caller has them: nothing changes in a Lakebase that sleeps, so what
    was known of it still holds, and no alert ends because it went to sleep.
    """
    paths = StackPaths(settings.home, settings.stack)
    record = read_record(paths)
    if record is None or not record.installed:
        raise UsageError(f"stack {settings.stack!r} is not installed in {settings.home}", "run: dqctl install")
    changing = upgrading.pending(paths)
    newest_backup = next(iter(backups.listed(paths)), None)
    found = Measures(
        stack=settings.stack,
        at=clock.now(),
        dqctl_version=dqctl.__version__,
        testgen_version=record.testgen_version,
        runtime=record.runtime,
        up=False,
        changing_version=changing is not None and changing.phase is not Phase.DONE,
        newest_backup=newest_backup.manifest.created if newest_backup else None,
        schedules=_scheduled(paths),
    )
    if found.changing_version:
        return found
    if (lakebase := lakebase_state(settings, record)) not in (None, "active"):
        return _at_rest(found, before) if lakebase == "asleep" else found
    runtime = runtime_of(paths, record, silent)
    if not runtime.health().is_good:
        return found
    try:
        return _with_metadata(settings, runtime, found)
    except DqctlError as error:
        log.info("the metadata could not be read: %s", error.message)
        return found


def _scheduled(paths: StackPaths) -> tuple[Scheduled, ...]:
    found = [
        Scheduled(name, last.ended_at, last.exit_code)
        for name in schedules.names(paths)
        if (last := schedules.read_last(paths, name))
    ]
    return tuple(sorted(found, key=lambda each: each.ended_at, reverse=True)[:SCHEDULES])


def _at_rest(found: Measures, before: Measures | None) -> Measures:
    if before is None or not (before.up or before.asleep):
        return replace(found, asleep=True)
    return replace(
        before,
        at=found.at,
        up=False,
        asleep=True,
        testgen_version=found.testgen_version,
        newest_backup=found.newest_backup,
        schedules=found.schedules,
        changing_version=False,
    )


def _with_metadata(settings: Settings, runtime: Runtime, found: Measures) -> Measures:
    with results.open_reader(runtime, settings.stack) as reader:
        newest = tuple(Newest(each.run, each.last_success) for each in reader.newest(SUBJECTS))
        underway, finished = reader.underway(), reader.finished_runs()
    more: dict[str, object] = {"up": True, "newest": newest, "underway": underway}
    with runtime.metadata() as connection:
        if (target := _target(settings)) is not None:
            left = waiting(finished, known(Ledger(connection), target), (), None)
            more["unpublished"] = len(left)
            more["unpublished_since"] = min((run.ended_at for run in left if run.ended_at), default=None)
        if why_off(settings, runtime.record) is None and capture.is_made(connection):
            head = book.read_head(connection)
            more |= {"state_saved": head.saved_at if head else None, "unsaved": batch.changes_waiting(connection)}
    return Measures(**vars(found) | more)


def _target(settings: Settings) -> str | None:
    try:
        return name_of_target(settings)
    except DqctlError:  # there is nowhere to publish to, so nothing waits for it
        return None


def write_after(settings: Settings, progress: Progress) -> None:
    """``write`` where the settings say, after a command; what goes wrong is told and fails nobody's work."""
    if settings.metrics_file is None:
        return
    try:
        write(settings, settings.metrics_file)
    except DqctlError as error:
        progress(f"{error.message}; {error.hint}")


def write(settings: Settings, path: Path, clock: Clock = SYSTEM_CLOCK) -> None:
    """Write the numbers to ``path``, whole or not at all, for node-exporter's textfile collector.

    It reads files that end in ``.prom`` alone: another name is a ``UsageError``.
    """
    if path.suffix != ".prom":
        raise UsageError(
            f"{path} would not be read: node-exporter's textfile collector takes files that end in .prom",
            f"write to {path.with_suffix('.prom')}",
        )
    text = exposition(measure(settings, clock))
    try:
        write_atomically(path, text)
    except OSError as error:
        raise EnvironmentFault(
            f"the metrics could not be written to {path}: {error.strerror}",
            "name a directory that exists and may be written to: --file, or DQCTL_METRICS_FILE",
        ) from error
