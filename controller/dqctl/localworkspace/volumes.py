"""Volumes: ``/Volumes/catalog/schema/volume/...`` and the files on disk behind it."""

from pathlib import Path, PurePosixPath

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Catalog, Name

ROOT = "/Volumes/"


class Volumes:
    """Maps paths of volume files to files on disk, and lets none out of its volume."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def file(self, path: str) -> Path:
        """The place on disk of ``path`` (which need not exist); ``StatementError`` when it is in no volume."""
        plain = path.removeprefix("dbfs:")
        if not plain.startswith(ROOT) or "\0" in plain:
            raise errors.invalid_parameter(
                f"{path} is not a volume path: /Volumes/<catalog>/<schema>/<volume>/..."
            )
        parts = [part for part in PurePosixPath(plain).parts[2:] if part != "."]
        if len(parts) < 3 or ".." in parts:
            raise errors.invalid_parameter(f"{path} is not a path below a volume.")
        volume = self._catalog.volume(Name(*(part.lower() for part in parts[:3])))
        root = self._catalog.path(volume).resolve()
        found = root.joinpath(*parts[3:])
        if not found.resolve().is_relative_to(root):
            # A symbolic link that somebody put into the volume's folder.
            raise errors.invalid_parameter(f"{path} leads out of its volume.")
        return found
