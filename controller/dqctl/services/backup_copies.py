"""Copies of backups in a volume beside the published tables: ``dq_backups/<stack>/<id>``.

A copy has the dump and the manifest, which goes last: what has one is whole, its dump was read back and compared.
Looking at copies, and bringing them back, wakes no warehouse.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.failures import StatementFailed
from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import Target
from dqctl.databricks.volumes import VolumeFiles
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.processes import private_file
from dqctl.progress import Progress
from dqctl.runtime import homes
from dqctl.services import grants
from dqctl.services.space import require_space
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.stack import backups
from dqctl.stack.backups import DUMP, MANIFEST, Backup, Manifest
from dqctl.stack.paths import StackPaths
from dqctl.tables.sql import Place, identifier

VOLUME = "dq_backups"
# What one request to the Files API, or one PUT, takes.
LARGEST = 5_000_000_000
_SILENCE = 60.0  # seconds for an answer, and between two pieces of a file


@dataclass(frozen=True)
class Copy:
    """A backup's copy in the volume; ``path`` is its directory."""

    path: str
    manifest: Manifest


class Copies:
    """The copies of one stack's backups at ``target``."""

    def __init__(self, settings: Settings, progress: Progress, clock: Clock = SYSTEM_CLOCK) -> None:
        """``MissingSetting`` when no workspace is set."""
        self._target: Target = find_target(settings)
        self._progress = progress
        self._clock = clock
        directory = f"/Volumes/{self._target.catalog}/{self._target.schema}/{VOLUME}/{settings.stack}"
        self._files = VolumeFiles(RestApi(self._target, _SILENCE, clock), directory)

    def put(self, backup: Backup) -> Copy:
        """Copy a backup into the volume, which is made if it is not there, and compare what arrived."""
        manifest = backup.manifest
        if manifest.bytes > LARGEST:
            raise UsageError(
                f"backup {backup.id} has {manifest.bytes / 1e9:,.1f} GB, a volume takes files of 5 GB at a time",
                f"copy {backup.directory} to where you keep large files; it is whole",
            )
        self._progress(f"copying backup {backup.id} to {self._files.directory}")
        with (
            Warehouse(self._target, self._clock, self._progress) as warehouse,
            grants.named(warehouse, self._target),
        ):
            self._ensure_volume(warehouse)
            with backup.dump.open("rb") as file:
                warehouse.put(file, self._files.path(f"{backup.id}/{DUMP}"))
            self._compare(backup)
            text = manifest.model_dump_json(indent=2)
            warehouse.put(text.encode(), self._files.path(f"{backup.id}/{MANIFEST}"))
        return Copy(self._files.path(backup.id), manifest)

    def listed(self) -> tuple[Copy, ...]:
        """All whole copies, the newest first.

        One whose manifest this dqctl cannot read, or is another's, is left out.
        """
        found = [self._copy(entry.name) for entry in self._files.entries() if entry.size is None]
        return tuple(sorted((each for each in found if each), key=lambda each: each.manifest.id, reverse=True))

    def find(self, wanted: str) -> Copy:
        """The copy of backup ``wanted``, or the newest for ``latest``; ``UsageError`` when there is none."""
        known = self.listed()
        for copy in known:
            if wanted in (copy.manifest.id, "latest"):
                return copy
        names = ", ".join(each.manifest.id for each in known[:5]) or "none"
        raise UsageError(f"there is no backup {wanted!r} in {self._files.directory}", f"known are: {names}")

    @contextmanager
    def fetched(self, copy: Copy, paths: StackPaths) -> Iterator[Backup]:
        """The copy as a backup in the stack's directory, for as long as the block runs."""
        manifest = copy.manifest
        paths.root.mkdir(parents=True, exist_ok=True)
        require_space(paths.root, manifest.bytes, f"backup {manifest.id}")
        self._progress(f"fetching backup {manifest.id} from {copy.path}")
        homes.remove_left_overs(paths.work)
        with homes.call_home(paths.work) as directory:
            with _written(directory / DUMP) as sink:
                there = self._files.download(f"{manifest.id}/{DUMP}", sink.write)
            if not there:
                raise EnvironmentFault(f"{copy.path} has no {DUMP}", "use another backup (dqctl backup list)")
            yield backups.kept(directory, manifest)

    def remove(self, copy: Copy) -> None:
        """Remove a copy: the manifest first, so that half of a copy is none."""
        for name in (MANIFEST, DUMP, ""):
            self._files.remove(f"{copy.manifest.id}/{name}")

    def _copy(self, backup_id: str) -> Copy | None:
        text = io.BytesIO()
        if not self._files.download(f"{backup_id}/{MANIFEST}", text.write):
            return None
        try:
            manifest = backups.read_manifest(text.getvalue())
        except ValueError:
            return None
        # One that was copied to another name is none: what is asked for and what comes would be two backups.
        return Copy(self._files.path(backup_id), manifest) if manifest.id == backup_id else None

    def _ensure_volume(self, warehouse: Warehouse) -> None:
        place = Place(self._target.catalog, self._target.schema)
        volume = f"CREATE VOLUME IF NOT EXISTS {place.quoted}.{identifier(VOLUME)}"
        try:
            warehouse.execute(volume)
        except StatementFailed as failure:
            if failure.error_class != "SCHEMA_NOT_FOUND":
                raise
            warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {place.quoted}")
            warehouse.execute(volume)

    def _compare(self, backup: Backup) -> None:
        summed = hashlib.sha256()
        self._files.download(f"{backup.id}/{DUMP}", summed.update)
        if summed.hexdigest() != backup.manifest.sha256:
            raise EnvironmentFault(
                f"what arrived of backup {backup.id} in {self._files.directory} is not what was sent",
                f"the backup itself is whole, in {backup.directory}; run the same command again",
            )


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    try:
        with private_file(path) as file:
            yield file
    except OSError as error:
        raise EnvironmentFault(
            f"{path} cannot be written: {error.strerror or error}", "free some space there, nothing is left of it"
        ) from error
