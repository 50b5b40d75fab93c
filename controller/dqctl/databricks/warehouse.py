"""A session on a SQL warehouse through ``databricks-sql-connector``, a real one or the local workspace's."""

import contextlib
import io
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Self

import pyarrow as pa

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.connector import Connection, Cursor, keep_rows_out_of_text, sql
from dqctl.databricks.failures import (
    NO_SUCH_FILE,
    OutcomeUnknown,
    StatementFailed,
    Unreachable,
    nobody_there,
    understand,
)
from dqctl.databricks.patience import Patience, only_reads
from dqctl.databricks.probe import is_out_of_reach
from dqctl.databricks.sign_in import connector_credentials
from dqctl.databricks.target import Target
from dqctl.databricks.warehouses import awake
from dqctl.errors import DqctlError
from dqctl.progress import Progress, silent

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any]

# Seconds that the server gets to end a statement by itself before this side cancels it.
_GRACE = 15.0
# Seconds without a single byte: a warehouse answers within a few of them, if only that it is still at work.
_SILENCE = 120.0
# Seconds, the shortest and the longest, before the connector sends a request again.
_RETRY_PAUSES = (0.1, 5.0)
# Bytes of rows that are fetched at once where they come in portions.
_STREAMED_BYTES = 16_000_000


class Warehouse:
    """Connects when first used; a warehouse that sleeps is started then. Only idempotent statements belong here:
    whatever is lost on the way, or met another writer, is sent again (``patience``); but for ``run_given``.

    May be used by several threads: each of the statements that are under way at once has a session of its own,
    which stays for the next ones.
    """

    def __init__(
        self,
        target: Target,
        clock: Clock = SYSTEM_CLOCK,
        progress: Progress = silent,
        *,
        silence: float = _SILENCE,
        catalog: str | None = None,
        schema: str | None = None,
    ) -> None:
        """``silence``: seconds without an answer after which a request counts as lost.

        ``catalog`` and ``schema`` are where names without them are looked for; by default the workspace's own.
        """
        self.target = target
        self._clock = clock
        self._progress = progress
        self._silence = silence
        self._names = {"catalog": catalog, "schema": schema}
        self._has_answered = False
        self._idle: list[Connection] = []

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the sessions."""
        self.close()

    def query(self, statement: str, parameters: Parameters | None = None) -> pa.Table:
        """Run a statement and return all its rows; errors are those of ``databricks.failures``."""
        return self._again(lambda cursor: cursor.execute(statement, parameters).fetchall_arrow())

    def stream(self, statement: str, parameters: Parameters | None = None, *, rows: int) -> Iterator[pa.Table]:
        """Run a statement and give its rows in portions of ``rows``, so that memory does not grow with them.

        It has a session of its own. What is lost on the way is an error: some rows are used already.
        """
        with (
            self._understood(),
            contextlib.closing(self._connect()) as session,
            # It fetches so many at once; by default 100,000 rows or 100 MB, several of which are held at a time.
            session.cursor(arraysize=rows, buffer_size_bytes=_STREAMED_BYTES) as cursor,
        ):
            with self._deadline(cursor):
                cursor.execute(statement, parameters)
            self._has_answered = True
            while True:
                with self._deadline(cursor):
                    portion = cursor.fetchmany_arrow(rows)
                if not portion.num_rows:
                    return
                yield portion

    def execute(self, statement: str, parameters: Parameters | None = None) -> int | None:
        """Run a statement for its effect; the affected rows where the server and the connector tell them."""
        count = self._again(lambda cursor: cursor.execute(statement, parameters).rowcount)
        return count if isinstance(count, int) and count >= 0 else None

    def run_given(self, statement: str) -> pa.Table:
        """Run a statement of somebody else's and return all its rows. Unless it only reads, it is sent again only
        after it surely changed nothing: ``OutcomeUnknown`` when its answer is lost.
        """
        if only_reads(statement):
            return self.query(statement)

        def send(cursor: Cursor) -> pa.Table:
            # urllib3 below the connector repeats a request whose answer is lost, whatever it does (4.9.0).
            policy: Any = cursor.backend.retry_policy  # type: ignore[attr-defined]  # of its Thrift backend
            policy.read = policy.other = False
            try:
                return cursor.execute(statement).fetchall_arrow()
            except Exception as error:
                understood = understand(error, self.target)
                if not isinstance(understood, Unreachable):
                    raise understood from error
                raise OutcomeUnknown(
                    f"it is not known whether the statement was carried out: {understood.message}",
                    "see what is there before you run it again; dqctl has not repeated it",
                ) from error
            finally:
                policy.read = policy.other = None

        found: pa.Table = self._again(send)
        return found

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        """Write a file in a volume, over the one that is there; a stream from its beginning to its end."""
        statement = f"PUT '__input_stream__' INTO {_quoted_path(volume_path)} OVERWRITE"
        stream = io.BytesIO(content) if isinstance(content, bytes) else content

        def send(cursor: Cursor) -> None:
            stream.seek(0)
            cursor.execute(statement, input_stream=stream)

        self._again(send)

    def remove(self, volume_path: str) -> None:
        """Remove a file of a volume, unless it is not there."""
        try:
            self._again(lambda cursor: cursor.execute(f"REMOVE {_quoted_path(volume_path)}"))
        except StatementFailed as failure:
            if failure.error_class != NO_SUCH_FILE:
                raise

    def close(self) -> None:
        """End the sessions; a server that is gone is no error."""
        while self._idle:
            try:
                self._idle.pop().close()
            except (sql.Error, OSError) as error:
                log.debug("the session did not end cleanly: %s", error)

    def _again(self, run: Callable[[Cursor], Any]) -> Any:
        patience = Patience(self.target, self._clock)
        session = _Held(self._idle)
        with session:
            while True:
                try:
                    return self._once(session, run)
                except DqctlError as error:
                    pause = patience.pause_after(error)
                    if patience.needs_new_session(error):
                        session.drop()
                    if pause is None:
                        raise
                    log.info("once more in %.1f s, after: %s", pause, error.message)
                self._clock.sleep(pause)

    def _once(self, session: "_Held", run: Callable[[Cursor], Any]) -> Any:
        try:
            if session.connection is None:
                session.connection = self._connect()
                self._has_answered = True
            with session.connection.cursor() as cursor, self._deadline(cursor):
                return run(cursor)
        except DqctlError:
            raise
        # The connector lets errors of urllib3, ssl and Thrift through; what is unknown comes out as it is.
        except Exception as error:
            raise understand(error, self.target) from error

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (DqctlError, GeneratorExit):
            raise
        except Exception as error:
            raise understand(error, self.target) from error

    @contextmanager
    def _deadline(self, cursor: Cursor) -> Iterator[None]:
        timer = threading.Timer(self.target.statement_timeout + _GRACE, cursor.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _connect(self) -> Connection:
        if not self._has_answered and (wrong := is_out_of_reach(self.target, self._clock)):
            raise nobody_there(wrong, self.target)
        target = awake(self.target, self._progress, self._clock)
        pause = max(_RETRY_PAUSES[0], min(_RETRY_PAUSES[1], target.patience / 4))
        # It logs whole requests and answers, data included, as soon as anybody wants debug messages (4.9.0).
        logging.getLogger("databricks.sql.unsafe").setLevel(logging.WARNING)
        keep_rows_out_of_text()
        if target.direct:
            _bypass_proxies(target.host)
        return sql.connect(
            server_hostname=target.host,
            http_path=target.http_path,
            _port=target.port,
            _tls_trusted_ca_file=str(target.ca_file) if target.ca_file else None,
            session_configuration={
                "STATEMENT_TIMEOUT": str(max(1, int(target.statement_timeout))),
                "TIMEZONE": "UTC",
            },
            **self._names,
            user_agent_entry=f"dqctl/{dqctl.__version__}",
            # Its gate asks host:443 whatever the port is: 34 s lost where nobody listens there (4.5 to 4.9).
            enable_telemetry=False,
            # A PUT is answered by a row, which is not worth an import of pandas; all else is read as Arrow.
            _disable_pandas=True,
            # The connector sleeps max(wait, _retry_delay_max), 60 s by default, before every retry
            # (databricks-sql-python 860, still so in 4.9.0).
            _retry_delay_min=_RETRY_PAUSES[0],
            _retry_delay_max=pause,
            _retry_stop_after_attempts_count=max(2, int(target.patience / pause)),
            _retry_stop_after_attempts_duration=target.patience,
            _socket_timeout=self._silence,
            **connector_credentials(target),
        )


class _Held:
    """A session for one statement and its repetitions: one of ``idle``, to which it goes back, or a new one."""

    def __init__(self, idle: list[Connection]) -> None:
        self._idle = idle
        self.connection: Connection | None = None

    def __enter__(self) -> None:
        try:
            self.connection = self._idle.pop()
        except IndexError:  # all are at work; asking first would be a race with another thread
            self.connection = None

    def __exit__(self, *_: object) -> None:
        if self.connection is not None:
            self._idle.append(self.connection)

    def drop(self) -> None:
        """Forget it. To end it, the connector would ask whoever does not answer for a minute (4.9.0)."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.session.is_open = False
            connection.close()


def _bypass_proxies(host: str) -> None:
    """The connector has no parameter for it: it asks the environment about every request."""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [one for one in os.environ.get(name, "").split(",") if one]
        if host not in hosts:
            os.environ[name] = ",".join([*hosts, host])


def _quoted_path(path: str) -> str:
    if not path.startswith("/Volumes/") or "'" in path or ".." in path:
        raise ValueError(f"not a path of a volume: {path!r}")
    return f"'{path}'"
