"""The backups of a stack: a directory each, with the dump and ``manifest.json``, which says what is in it.

A backup is made in a directory of another name and renamed when it is whole: one that is listed is whole. Its
manifest changes only when it is verified, and when an upgrade begins or ceases to need it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import PRIVATE_DIR, PRIVATE_FILE, ensure_private_dir, write_atomically
from dqctl.stack import lock
from dqctl.stack.paths import StackPaths

DUMP = "metadata.dump"
MANIFEST = "manifest.json"
ID = r"^\d{8}t\d{6}-[0-9a-f]{4}$"
_MAKING = ".making-"
_PIECE = 1 << 20


class Manifest(BaseModel):
    """What a backup holds. Times are UTC, sizes bytes; ``tables`` has rows and checksum of each.

    ``keys`` tells the keys that TestGen encrypts under from others; they are not in a backup. ``verified`` is when
    it was last restored and found equal. ``held_for`` is what still needs it: retention leaves it alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    id: str = Field(pattern=ID)
    stack: str
    created: datetime
    reason: str
    dqctl_version: str
    testgen_version: str
    schema_revision: int | None
    postgres_version: str
    keys: str
    bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    database_bytes: int
    tables: dict[str, tuple[int, int]]
    sequences: dict[str, tuple[int, bool]]
    objects: dict[str, int]
    roles: tuple[str, ...] = ()
    verified: datetime | None = None
    held_for: str | None = None

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(rows for rows, _ in self.tables.values())


@dataclass(frozen=True)
class Backup:
    """One backup in the stack's directory."""

    directory: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """Its id: when it was made, and four digits."""
        return self.manifest.id

    @property
    def dump(self) -> Path:
        """What ``pg_dump`` wrote, in its custom format."""
        return self.directory / DUMP


def listed(paths: StackPaths) -> tuple[Backup, ...]:
    """All backups, the newest first. What cannot be read is left out (``damaged`` names it)."""
    return tuple(backup for _, backup in reversed(_all(paths)) if backup)


def damaged(paths: StackPaths) -> tuple[str, ...]:
    """The directories of backups whose manifest cannot be read."""
    return tuple(name for name, backup in _all(paths) if backup is None)


def find(paths: StackPaths, wanted: str) -> Backup:
    """The backup ``wanted``, or the newest for ``latest``; ``UsageError`` when there is none."""
    found = listed(paths)
    for backup in found:
        if wanted in (backup.id, "latest"):
            return backup
    if wanted in damaged(paths):
        raise EnvironmentFault(
            f"the manifest of backup {wanted} cannot be read",
            f"put {paths.backups / wanted / MANIFEST} back from a copy; without it the dump cannot be checked",
        )
    if not found:
        raise UsageError(f"stack {paths.name!r} has no backup", "make one: dqctl backup create")
    known = ", ".join(each.id for each in found[:5])
    raise UsageError(f"stack {paths.name!r} has no backup {wanted!r}", f"known are: {known}; dqctl backup list")


@contextmanager
def making(paths: StackPaths, backup_id: str) -> Iterator[Path]:
    """A private directory to make a backup in. It becomes one when ``complete`` is called, else it goes."""
    directory = ensure_private_dir(paths.backups) / f"{_MAKING}{backup_id}"
    directory.mkdir(mode=PRIVATE_DIR)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def complete(paths: StackPaths, directory: Path, manifest: Manifest) -> Backup:
    """Make a backup of what is in ``directory``, in one step that a power cut cannot undo."""
    _write(directory, manifest)
    _flush(directory / DUMP, os.O_RDONLY)
    place = paths.backups / manifest.id
    directory.rename(place)
    _flush(paths.backups, os.O_RDONLY | os.O_DIRECTORY)
    return Backup(place, manifest)


def kept(directory: Path, manifest: Manifest) -> Backup:
    """A backup out of a dump that was brought to ``directory`` from elsewhere."""
    _write(directory, manifest)
    return Backup(directory, manifest)


def change(backup: Backup, **what: object) -> Backup:
    """The backup with something else in its manifest (``verified``, ``held_for``), whatever it had meanwhile.

    Raises ``EnvironmentFault`` when it is not there any more, or cannot be written to.
    """
    current = _read(backup.directory) or backup
    manifest = current.manifest.model_copy(update=what)
    try:
        _write(backup.directory, manifest)
    except FileNotFoundError:
        raise EnvironmentFault(
            f"backup {backup.id} is gone: another command removed it meanwhile",
            "nothing was changed; see what there is: dqctl backup list",
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{backup.directory / MANIFEST} cannot be written: {error.strerror or error}",
            "the backup itself is whole; free some space there, then run the same command again",
        ) from error
    return Backup(backup.directory, manifest)


def hold_only(paths: StackPaths, wanted: str | None, purpose: str = "") -> None:
    """Retention leaves the backup ``wanted`` alone, which ``purpose`` needs, and may have all others."""
    for each in listed(paths):
        held_for = purpose if each.id == wanted else None
        if each.manifest.held_for != held_for:
            change(each, held_for=held_for)


def delete(backup: Backup) -> None:
    """Remove a backup; killed half way it is none any more."""
    going = backup.directory.with_name(f"{_MAKING}{backup.id}")
    shutil.rmtree(going, ignore_errors=True)
    with suppress(FileNotFoundError):
        backup.directory.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def remove_left_overs(paths: StackPaths) -> None:
    """Remove what killed commands left; whoever calls it holds the lock."""
    for directory in paths.backups.glob(f"{_MAKING}*"):
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def held(paths: StackPaths, doing: str, timeout: float) -> Iterator[None]:
    """One command at a time makes, removes or restores backups of a stack; else ``Busy``."""
    with lock.hold(paths.root / "backups.lock", doing, timeout=timeout):
        remove_left_overs(paths)
        yield


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    summed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            summed.update(piece)
    return summed.hexdigest()


def superfluous(found: Sequence[Backup], *, keep: int, days: float | None, now: datetime) -> tuple[Backup, ...]:
    """The backups that retention removes: beyond the newest ``keep``, or older than ``days``.

    Never the newest, the newest that was verified, or one that something needs.
    """
    newest_first = sorted(found, key=lambda backup: backup.manifest.created, reverse=True)
    spared = {backup.id for backup in newest_first[:1]}
    spared |= {backup.id for backup in [each for each in newest_first if each.manifest.verified][:1]}
    spared |= {backup.id for backup in newest_first if backup.manifest.held_for}
    oldest = None if days is None else now - timedelta(days=days)
    return tuple(
        backup
        for place, backup in enumerate(newest_first)
        if backup.id not in spared and (place >= keep or (oldest is not None and backup.manifest.created < oldest))
    )


def read_manifest(text: str | bytes) -> Manifest:
    """A manifest; ``ValueError`` when it is none, or of a format that this dqctl does not know."""
    return Manifest.model_validate_json(text)


def _all(paths: StackPaths) -> list[tuple[str, Backup | None]]:
    if not paths.backups.is_dir():
        return []
    return [
        (directory.name, found if (found := _read(directory)) and found.id == directory.name else None)
        for directory in sorted(paths.backups.iterdir())
        if directory.is_dir() and not directory.name.startswith(".")
    ]


def _read(directory: Path) -> Backup | None:
    try:
        return Backup(directory, read_manifest((directory / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def _write(directory: Path, manifest: Manifest) -> None:
    write_atomically(directory / MANIFEST, manifest.model_dump_json(indent=2) + "\n", PRIVATE_FILE)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
