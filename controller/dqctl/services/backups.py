"""Backups of a stack's metadata as commands: made, listed, verified, restored, deleted.

A restore prepares the database aside, out of a dump that is verified by it, and swaps the two by renaming them in
one transaction: whatever is killed, the stack has the old metadata or the restored one, and each is whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, UsageError
from dqctl.progress import Progress, silent
from dqctl.runtime import Runtime, aside, find_runtime, metadata, open_runtime
from dqctl.services import backup, state
from dqctl.services.backup import Verification
from dqctl.services.backup_copies import Copies, Copy
from dqctl.services.standstill import standstill
from dqctl.settings import Settings
from dqctl.stack import backups, lock
from dqctl.stack.backups import Backup, Manifest
from dqctl.stack.paths import StackPaths

_RESTORED, _REPLACED = "datakitchen_restored", "datakitchen_replaced"


@dataclass(frozen=True)
class Entry:
    """A backup as a list shows it. ``places`` is where it is: stack, volume."""

    id: str
    created: datetime
    reason: str
    testgen_version: str
    schema_revision: int | None
    postgres_version: str
    rows: int
    bytes: int
    verified: datetime | None
    held_for: str | None
    places: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """``damaged`` are directories whose manifest cannot be read, ``directory`` is where all lie."""

    directory: str
    backups: tuple[Entry, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Created:
    """A new backup; ``copy`` is its place in the volume, ``removed`` are ids that retention took away."""

    backup: Entry
    directory: str
    copy: str | None
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """What a restore did. ``before`` is the backup of what was there, None when that held nothing.

    ``unsaved`` is why the restored metadata is not the saved state in Databricks yet, where there is one.
    """

    id: str
    tables: int
    rows: int
    before: str | None
    unsaved: DqctlError | None = None


def create(
    settings: Settings,
    *,
    to_volume: bool = False,
    verified: bool = True,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> Created:
    """Back the metadata up, verify that, copy it to the volume if wanted, and let retention take old ones away.

    Raises what ``services.backup`` raises, and what Databricks says: the backup itself stays then.
    """
    copies = Copies(settings, progress, clock) if to_volume else None
    runtime = open_runtime(settings, progress)
    made = backup.create(runtime, "dqctl backup create", progress=progress, clock=clock)
    if verified:
        made = backup.verify(runtime, made, progress=progress, clock=clock).backup
    copy = copies.put(made) if copies else None
    removed = retain(settings, runtime.paths, clock=clock)
    return Created(
        _entry(made.manifest, local=True, copied=copy is not None), str(made.directory), _path(copy), removed
    )


def retain(settings: Settings, paths: StackPaths, *, clock: Clock = SYSTEM_CLOCK) -> tuple[str, ...]:
    """Remove the backups that the settings do not want kept; their ids. Copies in volumes stay."""
    with backups.held(paths, "retention of backups", backup.LOCK_TIMEOUT):
        found = backups.superfluous(
            backups.listed(paths), keep=settings.backup_keep, days=settings.backup_keep_days, now=clock.now()
        )
        for each in found:
            backups.delete(each)
    return tuple(each.id for each in found)


def listing(settings: Settings, *, volume: bool = False, progress: Progress = silent) -> Listing:
    """The backups in the stack's directory, and with ``volume`` the copies in the workspace, by id; newest first.

    Files only: nothing is started, no warehouse is woken.
    """
    paths = StackPaths(settings.home, settings.stack)
    local = {each.id: each.manifest for each in backups.listed(paths)}
    copies = {each.manifest.id: each.manifest for each in Copies(settings, progress).listed()} if volume else {}
    found = copies | local
    entries = [
        _entry(found[each], local=each in local, copied=each in copies) for each in sorted(found, reverse=True)
    ]
    return Listing(str(paths.backups), tuple(entries), backups.damaged(paths))


def verify(
    settings: Settings, wanted: str, *, from_volume: bool = False, progress: Progress = silent
) -> Verification:
    """Restore a backup into a database that is thrown away, and compare it with what was backed up."""
    paths = StackPaths(settings.home, settings.stack)
    with _found(settings, paths, wanted, from_volume, progress) as found:
        return backup.verify(open_runtime(settings, progress), found, progress=progress)


def restore(
    settings: Settings,
    wanted: str,
    *,
    from_volume: bool = False,
    other_keys: bool = False,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> Restored:
    """Make the stack's metadata what it was when the backup ``wanted`` was made.

    What is there is backed up first, unless it holds nothing. Raises ``Busy`` when a command or the scheduler
    works on the stack, ``UsageError`` when the backup is of another version of TestGen, or of other keys (but for
    ``other_keys``: what connections keep secret cannot be decrypted then); errors of ``services.backup``. After
    any error the metadata is as it was.
    """
    runtime = find_runtime(settings, progress)
    paths = runtime.paths
    doing = "dqctl backup restore"
    with (
        lock.hold(paths.lock, "backup restore", timeout=settings.lock_timeout, progress=progress),
        _found(settings, paths, wanted, from_volume, progress) as found,
    ):
        _require_fitting(runtime, found.manifest, other_keys=other_keys)
        runtime.start_postgres()
        names = (_RESTORED, backup.making_name(_RESTORED), _REPLACED)
        with (
            aside.throw_away(runtime, *names, doing=doing, timeout=settings.lock_timeout, progress=progress),
            _stillness(runtime, settings.lock_timeout, doing) as there,
        ):
            backup.restore_into(runtime, found, _RESTORED, progress=progress, clock=clock)
            before = None
            if there and metadata.has_data(runtime.postgres):
                before = backup.create(
                    runtime, f"before the restore of {found.id}", progress=progress, clock=clock
                )
            progress("the restored metadata takes its place")
            metadata.rename_databases(
                runtime.postgres, [(metadata.DATABASE, _REPLACED)] * there + [(_RESTORED, metadata.DATABASE)]
            )
        unsaved = _save_state(settings, runtime, progress, clock)
    manifest = found.manifest
    return Restored(found.id, len(manifest.tables), manifest.rows, before.id if before else None, unsaved)


def delete(
    settings: Settings, wanted: str, *, from_volume: bool = False, progress: Progress = silent
) -> tuple[str, str]:
    """Remove one backup: the one in the stack's directory, or its copy in the volume; its id and where it was.

    ``UsageError`` when an upgrade still needs it.
    """
    paths = StackPaths(settings.home, settings.stack)
    if from_volume:
        copies = Copies(settings, progress)
        copy = copies.find(wanted)
        copies.remove(copy)
        return copy.manifest.id, copy.path
    with backups.held(paths, "dqctl backup delete", settings.lock_timeout):
        found = backups.find(paths, wanted)
        if found.manifest.held_for:
            raise UsageError(f"backup {found.id} is needed for {found.manifest.held_for}", "finish that first")
        backups.delete(found)
    return found.id, str(found.directory)


@contextmanager
def _found(
    settings: Settings, paths: StackPaths, wanted: str, from_volume: bool, progress: Progress
) -> Iterator[Backup]:
    """The backup ``wanted``, from the stack's directory or fetched from the volume."""
    if not from_volume:
        yield backups.find(paths, wanted)
        return
    copies = Copies(settings, progress)
    with copies.fetched(copies.find(wanted), paths) as fetched:
        yield fetched


def _save_state(settings: Settings, runtime: Runtime, progress: Progress, clock: Clock) -> DqctlError | None:
    """Make the restored metadata the newest saved state: what was saved since the backup stays before it."""
    if state.why_off(settings, runtime.record):
        return None
    try:
        state.save_of(settings, runtime, "backup restore", take_over=True, progress=progress, clock=clock)
    except DqctlError as error:
        error.hint = (
            f"the metadata is restored; once this is mended run: dqctl state save --take-over. {error.hint}"
        )
        return error
    return None


@contextmanager
def _stillness(runtime: Runtime, timeout: float, doing: str) -> Iterator[bool]:
    """Nobody works with the metadata while the block runs; whether there is any."""
    if not metadata.database_exists(runtime.postgres):
        yield False
        return
    with standstill(runtime, timeout, doing):
        yield True


def _require_fitting(runtime: Runtime, manifest: Manifest, *, other_keys: bool) -> None:
    expected = runtime.health().expected_revision
    if manifest.schema_revision != expected:
        older = manifest.schema_revision is None or manifest.schema_revision < expected
        raise UsageError(
            f"backup {manifest.id} is of TestGen {manifest.testgen_version} (schema revision "
            f"{manifest.schema_revision}), the stack has {runtime.version} ({expected})",
            "nothing was changed; "
            + (
                f"to go back to that version: dqctl rollback --to-backup {manifest.id}"
                if older
                else f"bring the stack to that version first: dqctl upgrade --to {manifest.testgen_version}"
            ),
        )
    if manifest.keys != state.keys_of(runtime.paths).fingerprint and not other_keys:
        raise UsageError(
            f"backup {manifest.id} was made under other keys than the stack has now: what its connections keep "
            "secret could not be decrypted",
            "nothing was changed; bring the keys of then (dqctl credentials import), or restore with --other-keys "
            "and have connections' secrets written anew: dqctl apply -f FILE",
        )


def _entry(manifest: Manifest, *, local: bool, copied: bool) -> Entry:
    known: dict[str, Any] = {name: getattr(manifest, name) for name in _SHOWN}
    return Entry(**known, places=("stack",) * local + ("volume",) * copied)


_SHOWN = (
    "id", "created", "reason", "testgen_version", "schema_revision", "postgres_version", "rows", "bytes",
    "verified", "held_for",
)  # fmt: skip


def _path(copy: Copy | None) -> str | None:
    return copy.path if copy else None
