"""Giving a stack another version and another database, and ending what was interrupted in the middle of it.

The upgrade itself and whoever comes after one that was killed do the same (``settle``): the journal says what was
wanted and how far it was, the database which one counts. From the moment in which the databases have changed
names it goes on to the end; when the new version does not stand there, it goes back.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import Busy, DqctlError, TestGenFailed
from dqctl.progress import Progress
from dqctl.report.words import counted
from dqctl.runtime import beside, databases, fence, metadata, runtime_of
from dqctl.runtime.ports import Runtime
from dqctl.settings import Settings
from dqctl.stack import backups, lock, remembered, upgrading
from dqctl.stack import images as pinned
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record, write_record
from dqctl.stack.upgrading import Journal, Kept, Phase, Side
from dqctl.testgen import looking, scheduler, upgrades, waiting
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.exclusive import exclusive

_log = logging.getLogger(__name__)

_PATIENCE = 300.0  # seconds for a switch in another process to end; it takes less than ten
_CALLS = 60.0  # seconds for calls of TestGen that only read to end
_AT_ONCE = 30.0  # seconds to have a database that nobody else works with
_JOBS = "job_executions"


@dataclass(frozen=True)
class Settled:
    """How an upgrade ended: ``failure`` is why the stack is what it was ``before``, None when it is ``after``."""

    journal: Journal
    failure: DqctlError | None
    seconds: float = 0.0

    @property
    def side(self) -> Side:
        """What the stack is now."""
        return self.journal.before if self.failure else self.journal.after


def recover(
    settings: Settings, paths: StackPaths, progress: Progress, *, installing: bool = False
) -> Settled | None:
    """End the upgrade that another command left, if one did; of a stack that was uninstalled only ``installing``.

    One that is under way is waited for, unless it is at its trial, which touches nothing of the stack. Raises
    ``EnvironmentFault`` when the database does not answer.
    """
    found = upgrading.pending(paths)
    if found is None:
        return None
    timeout = 0.0 if found.phase is Phase.TRIAL else _PATIENCE
    try:
        with lock.hold(upgrading.lock_file(paths), "end of an upgrade", timeout=timeout, progress=progress):
            if upgrading.pending(paths) is None:  # whoever was waited for has ended it
                return None
            record = read_record(paths)
            if not installing and not (record and record.installed):  # nothing is started of a stack that is gone
                return None
            progress(f"{found.kind} to TestGen {_version(found.after)}: it was interrupted and is ended now")
            return settle(settings, paths, progress)
    except Busy:
        if found.phase is Phase.TRIAL:
            return None
        raise


def switch(
    settings: Settings,
    paths: StackPaths,
    release: Callable[[], None],
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Settled:
    """Let the stack have the candidate of the journal; for whoever holds the upgrade's lock and the stack's work.

    ``release`` lets go of the latter, whose lock is in the database that gets another name; nobody else can take
    it then.
    """
    journal = _found(paths)
    journal = journal.model_copy(update={"phase": Phase.SWITCH})
    upgrading.write(paths, journal)
    progress("switching: written down")
    started = clock.monotonic()
    try:
        fence.close(paths, Deadline(_CALLS, clock), clock)
        runtime = _runtime(paths, journal.before, progress)
        runtime.hold_still()
        with runtime.metadata() as now, runtime.postgres.connect(journal.candidate) as then:
            came, went = waiting.carry(now, then)
            journal = _with_jobs(paths, journal, came - went)
            upgrades.mark(then, journal.id, journal.kind, _version(journal.before), _version(journal.after))
        if came:
            progress(f"switching: {counted(came, 'queued job')} came along")
        progress("switching: the candidate is marked")
        for left_over in (databases.OLDER, databases.UNDONE):
            metadata.drop_database(runtime.postgres, left_over)
        release()
        metadata.rename_databases(runtime.postgres, _forth(journal, databases.existing(runtime.postgres)))
        progress("switching: the databases have changed names")
    except DqctlError as fault:
        _back(settings, paths, journal, progress)
        return Settled(journal, fault, clock.monotonic() - started)
    settled = settle(settings, paths, progress)
    return Settled(journal, settled.failure, clock.monotonic() - started)


def _with_jobs(paths: StackPaths, journal: Journal, more: int) -> Journal:
    """The journal of a candidate that has so many more: jobs were queued while it was made and tried."""
    if not more or _JOBS not in journal.rows:
        return journal
    rows = {**journal.rows, _JOBS: journal.rows[_JOBS] + more}
    journal = journal.model_copy(update={"rows": rows})
    upgrading.write(paths, journal)
    return journal


def settle(settings: Settings, paths: StackPaths, progress: Progress) -> Settled:
    """End what the journal says; for whoever holds the upgrade's lock. Afterwards there is no journal."""
    journal = _found(paths)
    if journal.phase is not Phase.DONE:
        runtime = _runtime(paths, journal.before, progress)
        runtime.start_server()
        if journal.phase is not Phase.SWITCH or not _has_switched(runtime, journal):
            _back(settings, paths, journal, progress)
            return Settled(journal, TestGenFailed("it was interrupted", "nothing was changed"))
        try:
            _follow_and_check(settings, paths, journal, progress)
        except DqctlError as fault:
            progress(f"the new version does not stand: {fault.message}")
            _back(settings, paths, journal, progress)
            return Settled(journal, fault)
    _clean_up(paths, journal, progress)
    return Settled(journal, None)


def _follow_and_check(settings: Settings, paths: StackPaths, journal: Journal, progress: Progress) -> None:
    """Files and containers follow the database; then everything is looked at, while nobody works.

    The scheduler stays down: should we be killed here, it would make runs that a way back would forget.
    """
    runtime = _runtime(paths, journal.after, progress)
    with (
        runtime.metadata() as held,
        exclusive(held, _AT_ONCE, f"dqctl {journal.kind}"),
        scheduler.at_rest(held, capabilities(_version(journal.after)), _AT_ONCE),
    ):
        _follow(settings, paths, journal.after, progress, scheduler=False)
        runtime = _runtime(paths, journal.after, progress)
        progress("switching: the stack has the version")
        looking.check(runtime, journal.rows)
        progress("switching: checked")
    upgrading.write(paths, journal.model_copy(update={"phase": Phase.DONE}))
    progress("switching: it stays so")


def _clean_up(paths: StackPaths, journal: Journal, progress: Progress) -> None:
    """What the stack has now stays, whatever goes wrong: the next command goes on here."""
    if journal.kind == "upgrade":
        upgrading.keep(paths, Kept(side=journal.before, upgrade=journal.id, backup=journal.backup))
        backups.hold_only(paths, journal.backup, f"going back from TestGen {_version(journal.after)}")
    elif journal.candidate == databases.BEFORE:
        upgrading.forget(paths)
        backups.hold_only(paths, None)
    runtime = _runtime(paths, journal.after, progress)
    try:
        runtime.start_postgres()
        for name in (databases.OLDER, databases.UNDONE):
            metadata.drop_database(runtime.postgres, name)
    except DqctlError as fault:
        _log.warning("left to the next command: %s", fault.message)
    else:
        upgrading.end(paths)
    progress(f"the stack has TestGen {_version(journal.after)}")


def _back(settings: Settings, paths: StackPaths, journal: Journal, progress: Progress) -> None:
    """The stack is what it was before, whatever was reached."""
    if journal.phase is not Phase.TRIAL:
        upgrading.write(paths, journal.model_copy(update={"phase": Phase.BACK}))
        runtime = _runtime(paths, journal.before, progress)
        runtime.hold_still()
        if _has_switched(runtime, journal):
            there = databases.existing(runtime.postgres)
            metadata.rename_databases(runtime.postgres, _back_again(journal, there))
            progress("going back: the databases have their names again")
        _follow(settings, paths, journal.before, progress)
    runtime = _runtime(paths, journal.before, progress)
    beside.clear(runtime)
    if journal.candidate == databases.NEXT:
        for name in (databases.NEXT, databases.NEXT_MAKING):
            metadata.drop_database(runtime.postgres, name)
    upgrading.end(paths)
    progress(f"the stack has TestGen {_version(journal.before)}, as before")


def _follow(
    settings: Settings, paths: StackPaths, side: Side, progress: Progress, *, scheduler: bool = True
) -> None:
    """Record, images, configuration and containers are those of ``side``."""
    now = read_record(paths) or side.record
    record = now.model_copy(update={"testgen_version": side.record.testgen_version, "updated": SYSTEM_CLOCK.now()})
    if side.images:
        from dqctl.runtime import compose  # a local stack has no use for the engine's SDK

        before = pinned.read_images(paths)
        if before and not remembered.changed(paths.settings, {"image": before.engine.reference}):
            remembered.remember(paths.settings, {"image": side.images.engine.reference})
        pinned.write_images(paths, side.images)
        write_record(paths, record)
        compose.render_files(paths, settings, side.images).write()
    else:
        write_record(paths, record)
    _runtime(paths, side, progress).start_postgres(scheduler=scheduler)


def _runtime(paths: StackPaths, side: Side, progress: Progress) -> Runtime:
    """The stack as it is on disk now, of the version of ``side``."""
    now = read_record(paths) or side.record
    record = now.model_copy(update={"testgen_version": side.record.testgen_version})
    return runtime_of(paths, record, progress, upgrading=True)


def _has_switched(runtime: Runtime, journal: Journal) -> bool:
    if not metadata.database_exists(runtime.postgres):  # the server has lost all that it had
        return False
    with runtime.postgres.connect(metadata.DATABASE) as connection:
        return upgrades.is_marked(connection, journal.id)


def _forth(journal: Journal, there: frozenset[str]) -> list[tuple[str, str]]:
    older = [(databases.BEFORE, databases.OLDER)] if _makes_room(journal, there) else []
    return [*older, (metadata.DATABASE, journal.aside), (journal.candidate, metadata.DATABASE)]


def _back_again(journal: Journal, there: frozenset[str]) -> list[tuple[str, str]]:
    older = [(databases.OLDER, databases.BEFORE)] if databases.OLDER in there else []
    return [(metadata.DATABASE, journal.candidate), (journal.aside, metadata.DATABASE), *older]


def _makes_room(journal: Journal, there: frozenset[str]) -> bool:
    return journal.aside == databases.BEFORE and databases.BEFORE in there


def _found(paths: StackPaths) -> Journal:
    found = upgrading.pending(paths)
    if found is None:
        raise ValueError("no upgrade is under way")
    return found


def _version(side: Side) -> str:
    return side.record.testgen_version
