"""Where a stack's logs come from: files, and containers."""

import contextlib
import heapq
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol

from dqctl.errors import UsageError
from dqctl.localworkspace.layout import Layout
from dqctl.services.logs.stamps import stamp
from dqctl.settings import Settings
from dqctl.stack.images import read_images
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record

_POLL = 0.25  # seconds between two looks at a file that is followed


@dataclass(frozen=True)
class LogLine:
    """One line. ``at`` is its time, or that of the last line before it that has one."""

    source: str
    at: datetime | None
    text: str


_BEGINNING = datetime.min.replace(tzinfo=UTC)

Hear = Callable[[LogLine], None]


def written(line: LogLine) -> datetime:
    """When, for sorting; what stands before the first time in a log is the oldest."""
    return line.at or _BEGINNING


class Source(Protocol):
    """One part of a stack that writes a log."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    def lines(self, since: datetime | None) -> Iterator[LogLine]:
        """What is there, the oldest first."""
        ...

    def follow(self, hear: Hear, over: threading.Event) -> None:
        """Pass on what is written after ``lines`` until it is ``over``."""
        ...


@dataclass
class FileSource:
    """Files of one part; ``files`` names those that are there now."""

    name: str
    files: Callable[[], Sequence[Path]]
    zone: tzinfo | None = None  # of times that name none; None is this machine's
    _read: dict[tuple[int, int], int] = field(default_factory=dict)  # bytes by device and inode

    def lines(self, since: datetime | None) -> Iterator[LogLine]:
        """See ``Source``."""
        return heapq.merge(*(self._lines(path, since) for path in self.files()), key=written)

    def follow(self, hear: Hear, over: threading.Event) -> None:
        """See ``Source``."""
        while not over.wait(_POLL):
            for path in self.files():
                for line in self._new_lines(path, whole=True):
                    hear(line)

    def _lines(self, path: Path, since: datetime | None) -> Iterator[LogLine]:
        for line in self._new_lines(path, whole=False):
            if since is None or written(line) >= since:
                yield line

    def _new_lines(self, path: Path, *, whole: bool) -> Iterator[LogLine]:
        """Lines that were not read yet, only ``whole`` ones if so; a file that shrank was begun anew."""
        with contextlib.suppress(OSError), path.open("rb") as file:  # rotated away a moment ago, or closed to us
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino)
            begin = self._read.get(key, 0)
            file.seek(begin if begin <= status.st_size else 0)
            self._read[key] = file.tell()
            at: datetime | None = None
            for raw in file:
                if whole and not raw.endswith(b"\n"):
                    break  # it is being written
                self._read[key] += len(raw)
                text = raw.decode("utf-8", "replace").rstrip("\r\n")
                at = stamp(text, self.zone) or at
                yield LogLine(self.name, at, text)


def find_sources(settings: Settings, services: Sequence[str] = ()) -> tuple[Source, ...]:
    """The sources of the stack, or those of them that ``services`` name.

    Raises ``UsageError`` when the stack does not exist, or has no such service.
    """
    paths = StackPaths(settings.home, settings.stack)
    record = read_record(paths)
    if record is None and not paths.logs.is_dir():
        raise UsageError(f"stack {settings.stack!r} is not installed in {settings.home}", "run: dqctl install")
    found = {source.name: source for source in _all(settings, paths, record)}
    for service in services:
        if service not in found:
            raise UsageError(f"there is no service {service!r}", f"the stack has: {', '.join(found)}")
    return tuple(source for name, source in found.items() if not services or name in services)


def _all(settings: Settings, paths: StackPaths, record: StackRecord | None) -> Iterator[Source]:
    zone = UTC if record and record.runtime == "docker" else None  # that of containers
    yield FileSource("testgen", lambda: _there(paths.logs, "testgen.log*"), zone)
    yield FileSource("install", lambda: _there(paths.logs, "install.log*"))
    own = record is None or record.lakebase is None  # that of Lakebase is Databricks'
    if record is None or record.runtime == "local":
        if own:
            yield FileSource("postgres", lambda: _there(paths.postgres / "log", "*.log"))
    else:
        from dqctl.services.logs.containers import ContainerSource  # the SDK takes a third of a second to import

        services = (
            ("postgres", own),
            ("engine", True),
            ("scheduler", record.scheduler),
            ("controller", record.controller),
        )
        pinned = read_images(paths)
        watching = pinned.monitoring if pinned else ()
        for service in (*(name for name, wanted in services if wanted), *watching):
            yield ContainerSource(service, paths)
    if settings.workspace:
        log = Layout(settings.workspace).log
        yield FileSource("workspace", lambda: _there(log.parent, f"{log.name}*"))


def _there(directory: Path, pattern: str) -> list[Path]:
    return sorted(directory.glob(pattern))
