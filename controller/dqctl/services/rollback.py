"""The way back: to what a stack was before its last upgrade, or to a backup."""

from collections.abc import Mapping
from contextlib import ExitStack
from uuid import uuid4

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.report.words import counted
from dqctl.runtime import Runtime, beside, databases, metadata
from dqctl.services import backup as backing_up
from dqctl.services import upgrade_versions
from dqctl.services.upgrade import Story, given_up, opened, save, still, switch
from dqctl.settings import Settings
from dqctl.stack import backups, upgrading
from dqctl.stack.backups import Backup
from dqctl.stack.paths import StackPaths
from dqctl.stack.upgrading import Journal, Phase, Side
from dqctl.testgen import encrypted, looking, upgrades, waiting
from dqctl.testgen.state import handover


def rollback(
    settings: Settings,
    *,
    to_backup: str | None = None,
    discard_runs: bool = False,
    other_keys: bool = False,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Story:
    """Let the stack be what it was before its last upgrade, or when the backup ``to_backup`` was made.

    What is there is backed up first. What goes wrong once the stack stands still is in the story, and the stack
    stays what it is. Raises ``UsageError`` when there is nothing to go back to, or runs would be forgotten and
    ``discard_runs`` does not say that they may be; ``Busy`` when a command works on the stack. What connections
    keep secret under keys that were rotated since is taken from the metadata of now; what is not there is lost
    only with ``other_keys``.
    """
    with opened(settings, "rollback", progress) as runtime:
        story = Story(settings.stack, "rollback", runtime.version, runtime.version, runtime.version)
        backup = backups.find(runtime.paths, to_backup) if to_backup else None
        with story.step("programs", clock):
            after = _target(settings, runtime, backup, progress)
        story.version_after = after.record.testgen_version
        with ExitStack() as held:
            held.enter_context(still(settings, runtime, "dqctl rollback"))
            try:
                _rollback(settings, runtime, after, backup, story, discard_runs, other_keys, held, progress, clock)
            except UsageError:
                raise
            except (DqctlError, OSError) as error:
                story.fail(runtime, error)
        save(settings, story, progress, clock)
    return story


def forget(settings: Settings, *, progress: Progress) -> str | None:
    """Give up the way back from the last upgrade; what was freed, None when there was none."""
    with opened(settings, "upgrade --forget", progress) as runtime:
        found = upgrading.kept(runtime.paths)
        there = databases.existing(runtime.postgres, [databases.BEFORE])
        backups.hold_only(runtime.paths, None)
        if found is None and not there:
            return None
        metadata.drop_database(runtime.postgres, databases.BEFORE)
        upgrading.forget(runtime.paths)
        version = f" of TestGen {found.side.record.testgen_version}" if found else ""
        return f"the metadata{version}"


def _target(settings: Settings, runtime: Runtime, backup: Backup | None, progress: Progress) -> Side:
    if backup:
        return upgrade_versions.of_version(settings, runtime, backup.manifest.testgen_version, progress)
    kept = upgrading.kept(runtime.paths)
    if kept is None:
        raise UsageError(
            f"stack {runtime.paths.name!r} was not upgraded, or the way back was given up",
            "to a backup: dqctl rollback --to-backup ID, see dqctl backup list",
        )
    if not databases.existing(runtime.postgres, [databases.BEFORE]):
        raise EnvironmentFault(
            f"the metadata of TestGen {kept.side.record.testgen_version} is not there any more",
            f"go back to the backup of then: dqctl rollback --to-backup {kept.backup or 'ID'}",
        )
    return upgrade_versions.with_programs(settings, runtime, kept.side, progress)


def _rollback(
    settings: Settings,
    runtime: Runtime,
    after: Side,
    backup: Backup | None,
    story: Story,
    discard_runs: bool,
    other_keys: bool,
    held: ExitStack,
    progress: Progress,
    clock: Clock,
) -> None:
    paths = runtime.paths
    candidate = databases.NEXT if backup else databases.BEFORE
    progress(f"going back from TestGen {story.version_before} to {story.version_after}")
    if not backup:  # before the time that a backup takes
        _require_willing(runtime, candidate, discard_runs)
    with story.step("backup", clock):
        story.backup = backing_up.create(runtime, "rollback", progress=progress, clock=clock).id
    journal = Journal(
        id=uuid4(),
        kind="rollback",
        phase=Phase.TRIAL,
        begun=clock.now(),
        before=upgrade_versions.current(runtime),
        after=after,
        candidate=candidate,
        aside=databases.UNDONE,
        backup=story.backup,
    )
    upgrading.write(paths, journal)
    with given_up(settings, paths, progress):
        if backup:
            with story.step("restore", clock):
                backing_up.restore_into(runtime, backup, candidate, progress=progress, clock=clock)
            _require_willing(runtime, candidate, discard_runs)
        with story.step("trial", clock):
            rows = _look(runtime, paths, after, candidate, other_keys, progress)
        upgrading.write(paths, journal.model_copy(update={"rows": rows}))
        switch(settings, paths, story, held, progress, clock)


def _look(
    runtime: Runtime, paths: StackPaths, after: Side, candidate: str, other_keys: bool, progress: Progress
) -> dict[str, int]:
    """Whether TestGen can work with what it gets back; the rows that are there, by table."""
    with runtime.metadata() as now, runtime.postgres.connect(candidate) as then:
        found = upgrades.picture(then)
        handover.hand_over(now, then)
    with beside.of_version(paths, after, progress) as old:
        expected = old.health().expected_revision
        if found.revision != expected:  # a look would migrate it
            raise EnvironmentFault(
                f"the metadata to go back to has schema revision {found.revision}, TestGen {old.version} works "
                f"with {expected}",
                "nothing was changed; go back to another backup: dqctl backup list",
            )
        lost = looking.look(old, candidate).lost
        if lost:
            with runtime.metadata() as now, runtime.postgres.connect(candidate) as then:
                taken = encrypted.adopt(now, then, lost)
            progress(f"the keys are others since: {counted(taken, 'stored secret')} taken as they are now")
            lost = looking.look(old, candidate).lost
    if lost and not other_keys:
        _require_keys(runtime, lost)
    progress("trial: passed")
    return dict(found.rows)


def _require_keys(runtime: Runtime, then: Mapping[str, int]) -> None:
    """What is decrypted now must not be lost by going back."""
    now = looking.look(runtime).lost
    if lost := [name for name, count in then.items() if count > now.get(name, 0)]:
        raise EnvironmentFault(
            f"the stack's keys do not decrypt all that it would get back: {', '.join(sorted(lost))}",
            "nothing was changed. The keys were rotated since, and these secrets are not in the metadata of now, "
            "from which they could be taken. The same command with --other-keys goes back without them; then have "
            "them written anew: dqctl apply -f FILE",
        )


def _require_willing(runtime: Runtime, candidate: str, discard_runs: bool) -> None:
    if discard_runs:
        return
    with runtime.metadata() as now, runtime.postgres.connect(candidate) as then:
        count = waiting.runs_since(now, then)
    if count:
        raise UsageError(
            f"{counted(count, 'run')} would be forgotten by the stack",
            "nothing was changed. What was published stays in Databricks: dqctl publish --pending sends the rest; "
            "then the same command with --discard-runs",
        )
