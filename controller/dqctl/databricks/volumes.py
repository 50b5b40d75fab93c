"""Files in volumes, looked at and read over REST: that wakes no warehouse. They are written by statements
(``Warehouse.put``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from dqctl.databricks.rest import Answer, RestApi
from dqctl.errors import DatabricksRefused, EnvironmentFault

_FILES, _DIRECTORIES = "/api/2.0/fs/files", "/api/2.0/fs/directories"
_NOT_THERE = 404


@dataclass(frozen=True)
class Entry:
    """A file or directory in a volume. ``size`` is None for a directory."""

    name: str
    size: int | None


class VolumeFiles:
    """The files below one directory of a volume (``/Volumes/main/data_quality/dq_backups/default``)."""

    def __init__(self, rest: RestApi, directory: str) -> None:
        self._rest = rest
        self.directory = directory.rstrip("/")

    def path(self, name: str) -> str:
        """The path of a file below the directory."""
        return f"{self.directory}/{name}"

    def entries(self, name: str = "") -> tuple[Entry, ...]:
        """What is in the directory, or one below it; nothing when there is none. Errors as ``read``."""
        found: list[Entry] = []
        page = ""
        while True:
            path = f"{_DIRECTORIES}{quote(self.path(name).rstrip('/'))}"
            answer = self._rest.get(path, **({"page_token": page} if page else {}))
            if answer.status == _NOT_THERE:
                return ()
            self._require(answer, name or self.directory)
            for entry in answer.document.get("contents") or []:
                size = None if entry.get("is_directory") else int(entry.get("file_size") or 0)
                found.append(Entry(str(entry["name"]), size))
            page = str(answer.document.get("next_page_token") or "")
            if not page:
                return tuple(found)

    def download(self, name: str, write: Callable[[bytes], object]) -> bool:
        """``write`` a file as it comes; False when there is no such file.

        Raises ``DatabricksRefused`` and ``EnvironmentFault``, as all here.
        """
        answer = self._rest.download(f"{_FILES}{quote(self.path(name))}", write)
        if answer.status == _NOT_THERE:
            return False
        self._require(answer, name)
        return True

    def remove(self, name: str) -> None:
        """Remove a file, or an empty directory (its name ends with a slash); it need not be there."""
        root = _DIRECTORIES if name.endswith("/") else _FILES
        answer = self._rest.call("DELETE", f"{root}{quote(self.path(name).rstrip('/'))}", {}, None)
        if answer.status != _NOT_THERE:
            self._require(answer, name)

    def _require(self, answer: Answer, what: str) -> None:
        if answer.is_good:
            return
        if answer.status in (401, 403):
            raise DatabricksRefused(
                f"{what} in {self.directory}: {answer.reason}",
                "have the volume's owner grant READ VOLUME and WRITE VOLUME on it",
            )
        raise EnvironmentFault(
            f"{what} in {self.directory}: {answer.reason}", "try again; the files are as they were"
        )
