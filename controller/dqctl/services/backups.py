"""Backups of a stack's metadata as commands: made, listed, verified, deleted (``backup_restore`` has the rest)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import UsageError
from dqctl.progress import Progress, silent
from dqctl.runtime import open_runtime
from dqctl.services import backup
from dqctl.services.backup import Verification
from dqctl.services.backup_copies import Copies, Copy
from dqctl.settings import Settings
from dqctl.stack import backups, upgrading
from dqctl.stack.backups import Backup, Manifest
from dqctl.stack.paths import StackPaths


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
        wanted = _of_upgrade(paths)
        found = tuple(
            each
            for each in backups.superfluous(
                backups.listed(paths), keep=settings.backup_keep, days=settings.backup_keep_days, now=clock.now()
            )
            if each.id != wanted
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
    with found(settings, paths, wanted, from_volume, progress) as taken:
        return backup.verify(open_runtime(settings, progress), taken, progress=progress)


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
            raise UsageError(
                f"backup {found.id} is needed for {found.manifest.held_for}",
                "dqctl upgrade --forget gives that way back up",
            )
        if found.id == _of_upgrade(paths):
            raise UsageError(
                f"backup {found.id} is needed for an upgrade that is under way",
                "wait for its end; if it was interrupted, dqctl systems list ends it",
            )
        backups.delete(found)
    return found.id, str(found.directory)


def _of_upgrade(paths: StackPaths) -> str | None:
    """The backup of an upgrade or a rollback that is under way."""
    journal = upgrading.pending(paths)
    return journal.backup if journal else None


@contextmanager
def found(
    settings: Settings, paths: StackPaths, wanted: str, from_volume: bool, progress: Progress
) -> Iterator[Backup]:
    """The backup ``wanted``, from the stack's directory or fetched from the volume."""
    if not from_volume:
        yield backups.find(paths, wanted)
        return
    copies = Copies(settings, progress)
    with copies.fetched(copies.find(wanted), paths) as fetched:
        yield fetched


def _entry(manifest: Manifest, *, local: bool, copied: bool) -> Entry:
    known: dict[str, Any] = {name: getattr(manifest, name) for name in _SHOWN}
    return Entry(**known, places=("stack",) * local + ("volume",) * copied)


_SHOWN = (
    "id", "created", "reason", "testgen_version", "schema_revision", "postgres_version", "rows", "bytes",
    "verified", "held_for",
)  # fmt: skip


def _path(copy: Copy | None) -> str | None:
    return copy.path if copy else None
