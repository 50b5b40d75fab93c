"""Everything behind the wire of one data directory: catalog, volumes, engine, and the sessions over them."""

import errno
import fcntl
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from dqctl.localworkspace import retention
from dqctl.localworkspace.catalog import DEFAULT_SCHEMA, Catalog, Table, Volume
from dqctl.localworkspace.context import Context, WriterLocks, at_once
from dqctl.localworkspace.contract import Session
from dqctl.localworkspace.engine import Engine, open_engine
from dqctl.localworkspace.migration import move_to_log
from dqctl.localworkspace.session import LocalSession
from dqctl.localworkspace.settings import known
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.retrying import RetryingSession
from dqctl.localworkspace.volumes import Volumes

LOCK_NAME = "catalog.lock"
_LOCK_SECONDS = 2.0

_log = logging.getLogger(__name__)


class LocalLakehouse:
    """Implements ``contract.Lakehouse``."""

    def __init__(self, data_dir: Path, engine: Engine, catalogs: Sequence[str], lock: int) -> None:
        self._doorway = _Doorway(data_dir)
        self._catalog = Catalog(self._doorway.path, catalogs)
        self._default_catalog = catalogs[0].lower()
        self._volumes = Volumes(self._catalog)
        self._engine = engine
        self._locks = WriterLocks()
        self._lock = lock
        self.catalog = self._catalog  # for REST, which looks things up without a session
        # Where a server has its faults: see ``Context``.
        self.before_commit: Callable[[str, threading.Event], None] = at_once
        retention.expire(self._catalog)
        move_to_log(self._catalog)
        _sweep(self._doorway.path, self._catalog)

    def open_session(self, catalog: str | None, schema: str | None, configuration: Mapping[str, str]) -> Session:
        """A new session; ``StatementError`` when the catalog is not there. Unknown settings are ignored.

        The schema may come later: dbt stands in the one that it is about to make.
        """
        namespace = Namespace((catalog or self._default_catalog).lower(), (schema or DEFAULT_SCHEMA).lower())
        self._catalog.schemas(namespace.catalog)
        context = Context(
            self._catalog,
            self._volumes,
            RetryingSession(self._engine.open_session()),
            self._locks,
            namespace,
            before_commit=self.before_commit,
        )
        for key, value in configuration.items():
            if known(key):
                context.settings.set(key, value)
        context.engine.configure(context.settings.for_engine())
        return LocalSession(context)

    def volume_file(self, path: str) -> Path:
        """The file on disk of ``/Volumes/...``."""
        return self._volumes.file(path)

    def close(self) -> None:
        """Stop the engine; another lakehouse may open the data directory."""
        self._engine.close()
        self._doorway.close()
        os.close(self._lock)


def open_lakehouse(
    data_dir: Path, *, engine: str | Engine = "sail", catalogs: Sequence[str] = ("main",)
) -> LocalLakehouse:
    """The lakehouse in ``data_dir``, made when it is not there yet.

    ``engine`` is ``sail`` (embedded), ``sc://host:port``, or one that runs; ``catalogs`` are made when missing,
    the first is where sessions begin. ``BlockingIOError`` when another process has the data directory open, and
    keeps it; ``OSError`` when the engine does not start.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with ExitStack() as on_failure:
        on_failure.callback(os.close, lock)
        _take(lock)
        opened = open_engine(engine) if isinstance(engine, str) else engine
        on_failure.callback(opened.close)
        lakehouse = LocalLakehouse(data_dir, opened, catalogs, lock)
        on_failure.pop_all()
        return lakehouse


def _take(lock: int) -> None:
    # A process that was killed lets go of its files one after the other, and of this one late.
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class _Doorway:
    """A path to the data directory that engine and storage can read.

    Below a path that a URL has to escape (a space, an umlaut) neither Sail 0.7.2 nor delta-rs 1.6 finds a table
    again; there, a link of a plain name leads to it for as long as the lakehouse is open.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.path = data_dir
        if "%" in str(data_dir):
            # delta-rs follows the link and takes the sign for an escape.
            raise OSError(
                errno.EINVAL, "the path of a data directory cannot contain a percent sign", str(data_dir)
            )
        if not re.fullmatch(r"[A-Za-z0-9_./-]+", str(data_dir)):
            self._folder = tempfile.TemporaryDirectory(prefix="dqctl-workspace-")
            self.path = Path(self._folder.name) / "data"
            self.path.symlink_to(data_dir, target_is_directory=True)

    def close(self) -> None:
        """Remove the link, if there is one."""
        if self._folder is not None:
            self.path.unlink(missing_ok=True)
            self._folder.cleanup()


def _sweep(data_dir: Path, catalog: Catalog) -> None:
    """Remove the folders of tables and volumes that no entry names: the remains of a crash."""
    entries: list[Table | Volume] = [*catalog.tables(), *catalog.volumes()]
    entries += [entry for one in catalog.dropped() for entry in one.entries]
    known_places = {catalog.path(entry) for entry in entries if entry.location}
    for kind in ("tables", "volumes"):
        for folder in (data_dir / kind).glob("*/*/*"):
            if folder not in known_places:
                _log.warning("removing %s, which no table or volume owns", folder)
                shutil.rmtree(folder, ignore_errors=True)
