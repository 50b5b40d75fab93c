"""A session on a SQL warehouse through ``databricks-sql-connector``, a real one or the local workspace's."""

import io
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Self

import pyarrow as pa
from databricks import sql
from databricks.sql.client import Connection, Cursor

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.failures import (
    NO_SUCH_FILE,
    StatementFailed,
    nobody_there,
    understand,
)
from dqctl.databricks.patience import Patience
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


class Warehouse:
    """Connects when first used; a warehouse that sleeps is started then. Only idempotent statements belong here:
    whatever is lost on the way, or met another writer, is sent again (``patience``).
    """

    def __init__(
        self,
        target: Target,
        clock: Clock = SYSTEM_CLOCK,
        progress: Progress = silent,
        *,
        silence: float = _SILENCE,
    ) -> None:
        """``silence``: seconds without an answer after which a request counts as lost."""
        self.target = target
        self._clock = clock
        self._progress = progress
        self._silence = silence
        self._has_answered = False
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the session."""
        self.close()

    def query(self, statement: str, parameters: Parameters | None = None) -> pa.Table:
        """Run a statement and return all its rows; errors are those of ``databricks.failures``."""
        return self._again(lambda cursor: cursor.execute(statement, parameters).fetchall_arrow())

    def execute(self, statement: str, parameters: Parameters | None = None) -> int | None:
        """Run a statement for its effect; the affected rows where the server and the connector tell them."""
        count = self._again(lambda cursor: cursor.execute(statement, parameters).rowcount)
        return count if isinstance(count, int) and count >= 0 else None

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
        """End the session; a server that is gone is no error."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (sql.Error, OSError) as error:
                log.debug("the session did not end cleanly: %s", error)

    def _again(self, run: Callable[[Cursor], Any]) -> Any:
        patience = Patience(self.target, self._clock)
        while True:
            try:
                return self._once(run)
            except DqctlError as error:
                pause = patience.pause_after(error)
                if patience.needs_new_session(error):
                    self._drop()
                if pause is None:
                    raise
                log.info("once more in %.1f s, after: %s", pause, error.message)
            self._clock.sleep(pause)

    def _once(self, run: Callable[[Cursor], Any]) -> Any:
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._has_answered = True
            with self._connection.cursor() as cursor, self._deadline(cursor):
                return run(cursor)
        except DqctlError:
            raise
        # The connector lets errors of urllib3, ssl and Thrift through; what is unknown comes out as it is.
        except Exception as error:
            raise understand(error, self.target) from error

    def _drop(self) -> None:
        """Forget the session. To end it, the connector would ask whoever does not answer for a minute (4.9.0)."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.session.is_open = False
            connection.close()

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
        # It logs whole requests and answers, data included, as soon as anybody wants debug messages (4.9.0).
        logging.getLogger("databricks.sql.unsafe").setLevel(logging.WARNING)
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
            user_agent_entry=f"dqctl/{dqctl.__version__}",
            # Its gate asks host:443 whatever the port is: 34 s lost where nobody listens there (4.5 to 4.9).
            enable_telemetry=False,
            # The connector sleeps max(wait, _retry_delay_max), 60 s by default, before every retry
            # (databricks-sql-python 860, still so in 4.9.0).
            _retry_delay_min=0.1,
            _retry_delay_max=5.0,
            _retry_stop_after_attempts_count=max(2, int(target.patience / 4)),
            _retry_stop_after_attempts_duration=target.patience,
            _socket_timeout=self._silence,
            **connector_credentials(target),
        )


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
