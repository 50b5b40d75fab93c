"""Sail, a Spark Connect server in a wheel, in a process of its own that is replaced when it has grown.

Sessions hold nothing between two statements but settings, so a session moves to another process when it is next
asked for something, and its client sees nothing of it. An engine that was killed, or ran out of memory, takes only
the statements with it that it was running.

What an interrupt does (0.7.2): the client is free at once and the session usable; the work ends where the plan
next hands over a batch, within a second for scans and aggregates. A nested-loop join keeps its thread busy until
the batch that it works on is done, which can be minutes; nothing of it is committed or returned.
"""

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
from pyspark import __version__ as pyspark_version
from pyspark.errors.exceptions.connect import SparkConnectGrpcException

from dqctl.localworkspace import errors
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.engine.processes import GROWTH_BYTES, EngineProcess, Processes
from dqctl.localworkspace.engine.spark_connect import EngineSession, SparkConnectSession

# The kernel closes a killed process's connections before it says that the process has ended.
_DYING_SECONDS = 30.0


class EmbeddedSail:
    """An engine of our own, whose process is replaced when it has grown by ``growth_bytes``.

    One that takes more than ``memory_bytes``, by default half of the machine's, is ended: what it ran has failed.
    """

    def __init__(self, growth_bytes: int = GROWTH_BYTES, memory_bytes: int | None = None) -> None:
        self.processes = Processes(pyspark_version, _first_use, growth_bytes, memory_bytes)

    def open_session(self) -> EngineSession:
        """A new session."""
        return SailSession(self.processes)

    def close(self) -> None:
        """Stop the engine."""
        self.processes.close()


class SailSession:
    """An ``EngineSession`` in whichever process is the current one.

    What is open (a relation, files, rows on their way) and what is asked meanwhile is in one process.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._settings: dict[str, str] = {}
        self._lock = threading.RLock()  # reentrant, as that of the processes
        self._open = 0
        self._closed = False
        self._process: EngineProcess | None = None
        self._session: SparkConnectSession | None = None

    def query(self, sql: str) -> pa.Table:
        """Run ``sql`` and bring all its rows."""
        with self._placed() as session:
            return session.query(sql)

    def schema(self, sql: str) -> pa.Schema:
        """The columns that ``sql`` would return."""
        with self._placed() as session:
            return session.schema(sql)

    def read(self, query: str, time_zone: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run a query; its columns at once, its rows batch by batch."""
        rows = self._reading(query, time_zone)
        schema = next(rows)
        assert isinstance(schema, pa.Schema)  # noqa: S101 - what _reading gives first
        return schema, rows

    def _reading(self, query: str, time_zone: str) -> Generator[pa.Schema | pa.RecordBatch, None, None]:
        with self._placed() as session:
            schema, batches = session.read(query, time_zone)
            yield schema
            yield from batches

    def stream(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        """Run ``sql`` and bring its rows batch by batch."""
        with self._placed() as session:
            yield from session.stream(sql)

    @contextmanager
    def relation(self, rows: pa.Table) -> Iterator[str]:
        """The name under which ``rows`` can be queried inside of the context."""
        with self._placed() as session, session.relation(rows) as name:
            yield name

    @contextmanager
    def files(
        self, file_format: str, paths: Sequence[str], options: Mapping[str, str], schema: str | None = None
    ) -> Iterator[str]:
        """The name under which files can be queried inside of the context."""
        with self._placed() as session, session.files(file_format, paths, options, schema) as name:
            yield name

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set engine settings, here and wherever the session moves."""
        with self._placed() as session:
            session.configure(settings)
        self._settings.update(settings)

    def interrupt(self) -> None:
        """Stop what runs in this session; called from another thread."""
        session, process = self._session, self._process
        if session is None or process is None or process.has_ended():
            return
        try:
            session.interrupt()
        except Exception:
            if not process.has_ended(_DYING_SECONDS):
                raise

    def close(self) -> None:
        """Free what the session holds."""
        with self._lock:
            self._closed = True
            session, process, self._session = self._session, self._process, None
        if session is not None and process is not None:
            session.close(release=not process.has_ended())

    @contextmanager
    def _placed(self) -> Iterator[SparkConnectSession]:
        session, process = self._enter()
        try:
            yield session
        except StatementError:
            raise
        except Exception as error:
            if _was_lost(process, error):
                raise errors.engine_lost() from error
            raise
        finally:
            with self._lock:
                self._open -= 1
                over = not self._open
            if over:
                self._processes.give_back(process)

    def _enter(self) -> tuple[SparkConnectSession, EngineProcess]:
        with self._lock:
            if self._closed:
                raise errors.cancelled()
            if self._open and self._session is not None and self._process is not None:
                self._open += 1
                return self._session, self._process
            process = self._processes.take()
            try:
                if process is not self._process or self._session is None:
                    self._move_to(process)
            except Exception as error:
                lost = _was_lost(process, error)
                self._processes.give_back(process)
                if lost:
                    raise errors.engine_lost() from error
                raise
            self._open = 1
            assert self._session is not None  # noqa: S101 - _move_to made it
            return self._session, process

    def _move_to(self, process: EngineProcess) -> None:
        if self._session is not None:
            # The old process is gone, or goes with what its other sessions are about: there is nothing to release.
            self._session.close(release=False)
            self._session = None
        session = SparkConnectSession(process.url)
        session.configure(self._settings)
        self._session, self._process = session, process


def _was_lost(process: EngineProcess, error: Exception) -> bool:
    """Whether ``error`` came because the process has ended; one that lives, but does not listen, is ended."""
    if not (isinstance(error, SparkConnectGrpcException) and error.getGrpcStatusCode().name == "UNAVAILABLE"):
        return process.has_ended()
    if not process.has_ended(_DYING_SECONDS):
        process.end()
    return True


def _first_use(url: str) -> None:
    session = SparkConnectSession(url)
    try:
        for _ in session.read("SELECT 1", "UTC")[1]:
            pass
    finally:
        session.close()
