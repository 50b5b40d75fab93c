"""Another version of TestGen for a stack: tried on a copy first, then the stack's own in a moment, or never.

The copy is a backup that was restored beside the stack's database, which verifies the backup. It is migrated by
the new version, looked at, and becomes the stack's own by a change of names (``runtime.upgrade``). TestGen of the
new version never meets the old database.
"""

import contextlib
import errno
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import uuid4

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, EnvironmentFault, TestGenFailed
from dqctl.progress import Progress
from dqctl.runtime import Runtime, beside, controller, databases, find_runtime, metadata, open_runtime
from dqctl.runtime import upgrade as switching
from dqctl.services import backup as backing_up
from dqctl.services import state, upgrade_trial, upgrade_versions
from dqctl.services.space import require_space
from dqctl.services.standstill import standstill
from dqctl.settings import Settings
from dqctl.stack import backups, lock, upgrading
from dqctl.stack.backups import Backup
from dqctl.stack.paths import StackPaths
from dqctl.stack.upgrading import Journal, Phase, Side
from dqctl.testgen import jobs, looking
from dqctl.testgen.state import handover
from dqctl.testgen.upgrades import Changes


@dataclass(frozen=True)
class Step:
    """What was done, and in how many seconds. ``failed`` is why it did not work, None when it did."""

    name: str
    seconds: float
    failed: str | None = None


@dataclass
class Story:
    """What an upgrade or a rollback came to; ``result`` in a word, and the ``error`` that ended it, if one did.

    One that is ``interrupted`` is ended by the next command, one way or the other. The stack has ``version`` now.
    ``kept`` is the database that a rollback goes back to, ``downtime`` the seconds from the change of databases'
    names to the end of the checks.
    """

    stack: str
    kind: str
    version_before: str
    version_after: str
    version: str
    result: str = "unchanged"
    steps: list[Step] = field(default_factory=list)
    backup: str | None = None
    changes: Changes | None = None
    kept: str | None = None
    downtime: float | None = None
    error: DqctlError | None = None

    @contextlib.contextmanager
    def step(self, name: str, clock: Clock) -> Iterator[None]:
        """Something that is done in the block, with the time that it takes."""
        started = clock.monotonic()
        try:
            yield
        except (DqctlError, OSError) as error:
            self.steps.append(Step(name, clock.monotonic() - started, _explained(error).message))
            raise
        self.steps.append(Step(name, clock.monotonic() - started))

    def fail(self, runtime: Runtime, error: DqctlError | OSError) -> None:
        """Take the error down, and what it means for the stack."""
        found = upgrading.pending(runtime.paths)
        self.result = "undone" if found is None or found.phase is Phase.TRIAL else "interrupted"
        self.error = _explained(error)
        # TestGen says that it lost its connection, PostgreSQL why.
        if isinstance(error, TestGenFailed) and runtime.postgres.ran_out_of_space(error.message):
            self.error = EnvironmentFault(f"the disk is full: {error.message}", _FREE)


_FREE = "free some space, then run the same command again: what is left over goes with it"


def _explained(error: DqctlError | OSError) -> DqctlError:
    """A file that cannot be written is mostly a disk that is full; there are many, all of dqctl's own."""
    if isinstance(error, DqctlError):
        return error
    about = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "a file cannot be written"
    where = f" ({error.filename})" if error.filename else ""
    return EnvironmentFault(
        f"{about}: {error.strerror or error}{where}",
        _FREE,
    )


def upgrade(
    settings: Settings,
    *,
    to: str | None = None,
    image: str | None = None,
    dry_run: bool = False,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Story:
    """Bring the stack to version ``to`` of TestGen (default: the newest that is known); with ``dry_run`` only try.

    What goes wrong once the stack stands still is in the story, and the stack is what it was before. Raises
    ``UsageError`` for a version that cannot be, ``Busy`` when a command works on the stack, ``EnvironmentFault``
    when the version's programs cannot be had, or there is no space: then nothing was done.
    """
    with opened(settings, "upgrade", progress) as runtime:
        story = Story(settings.stack, "upgrade", runtime.version, runtime.version, runtime.version)
        with story.step("programs", clock):
            after = upgrade_versions.newer(settings, runtime, to, image, progress)
        story.version_after = after.record.testgen_version
        if story.version_after == runtime.version:
            return story
        size = metadata.database_size(runtime.postgres, metadata.DATABASE)
        require_space(runtime.paths.root, 2 * size, "a backup and a copy of the metadata")
        with ExitStack() as held:
            held.enter_context(still(settings, runtime, "dqctl upgrade"))
            try:
                _upgrade(settings, runtime, after, story, dry_run, held, progress, clock)
            except (DqctlError, OSError) as error:
                story.fail(runtime, error)
        save(settings, story, progress, clock)
    return story


def _upgrade(
    settings: Settings,
    runtime: Runtime,
    after: Side,
    story: Story,
    dry_run: bool,
    held: ExitStack,
    progress: Progress,
    clock: Clock,
) -> None:
    paths = runtime.paths
    progress(f"upgrade from TestGen {story.version_before} to {story.version_after}")
    with story.step("backup", clock):
        backup = backing_up.create(runtime, f"upgrade to {story.version_after}", progress=progress, clock=clock)
    story.backup = backup.id
    journal = Journal(
        id=uuid4(),
        kind="upgrade",
        phase=Phase.TRIAL,
        begun=clock.now(),
        before=upgrade_versions.current(runtime),
        after=after,
        candidate=databases.NEXT,
        aside=databases.BEFORE,
        backup=backup.id,
    )
    upgrading.write(paths, journal)
    with given_up(settings, paths, progress):
        rows = _try(runtime, after, backup, story, progress, clock)
        if dry_run:
            story.backup, story.result = None, "tried"
        else:
            # The state may have been saved since the backup: the next save follows that one.
            with runtime.metadata() as now, runtime.postgres.connect(databases.NEXT) as then:
                handover.hand_over(now, then)
            upgrading.write(paths, journal.model_copy(update={"rows": rows}))
            switch(settings, paths, story, held, progress, clock)
    if dry_run:
        backups.delete(backup)


def _try(
    runtime: Runtime, after: Side, backup: Backup, story: Story, progress: Progress, clock: Clock
) -> dict[str, int]:
    """The new version on a copy of the metadata; the rows that it has then, by table."""
    key = secrets.token_hex(32)
    with story.step("restore", clock):
        backing_up.restore_into(runtime, backup, databases.NEXT, progress=progress, clock=clock)
    with story.step("trial", clock):
        before = looking.look(runtime, databases.NEXT, key=key)
        with beside.of_version(runtime.paths, after, progress) as new:
            progress(f"trial: TestGen {story.version_after} migrates the copy")
            found = upgrade_trial.migrate(new, runtime.postgres, databases.NEXT)
            story.changes = found.changes
            progress("trial: the copy is migrated")
            upgrade_trial.judge(found, before, looking.look(new, databases.NEXT, key=key))
            progress("trial: passed")
    return found.rows


def switch(
    settings: Settings, paths: StackPaths, story: Story, held: ExitStack, progress: Progress, clock: Clock
) -> None:
    """The candidate of the journal becomes the stack's own; raises why it did not, and then all is as before."""
    with story.step("switch and checks", clock):
        settled = switching.switch(settings, paths, held.close, progress, clock)
        if settled.failure:
            raise settled.failure
    story.downtime = settled.seconds
    story.version = story.version_after
    story.result = "upgraded" if story.kind == "upgrade" else "rolled back"
    story.kept = databases.BEFORE if story.kind == "upgrade" else None


def save(settings: Settings, story: Story, progress: Progress, clock: Clock) -> None:
    """Save the state of a stack that has another version now. What is in the way of that undoes nothing."""
    if story.downtime is not None:
        runtime = find_runtime(settings, progress)
        story.error = state.save_after(settings, runtime, story.kind, progress=progress, clock=clock)


@contextlib.contextmanager
def opened(settings: Settings, command: str, progress: Progress) -> Iterator[Runtime]:
    """The stack, up, whatever was interrupted ended, and no other command that changes it at work."""
    controller.require_host(f"dqctl {command}")
    paths = StackPaths(settings.home, settings.stack)
    with lock.hold(paths.lock, command, timeout=settings.lock_timeout, progress=progress):
        runtime = open_runtime(settings, progress)
        with lock.hold(upgrading.lock_file(paths), command, timeout=settings.lock_timeout, progress=progress):
            yield runtime


@contextlib.contextmanager
def still(settings: Settings, runtime: Runtime, doing: str) -> Iterator[None]:
    """The stack, and nobody works with it; jobs that somebody left behind are ended."""
    with standstill(runtime, settings.lock_timeout, doing):
        jobs.settle_orphans(runtime, keep_queued=runtime.record.scheduler)
        yield


@contextlib.contextmanager
def given_up(settings: Settings, paths: StackPaths, progress: Progress) -> Iterator[None]:
    """Whatever ends the block, no trial is left. A switch that was begun is ended by the next command, or here."""
    try:
        yield
    finally:
        found = upgrading.pending(paths)
        if found and found.phase is Phase.TRIAL:
            # The server is gone, or the disk is full: the next command does it.
            with contextlib.suppress(DqctlError, OSError):
                switching.settle(settings, paths, progress)
