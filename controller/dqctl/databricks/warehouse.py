"""A session on a SQL warehouse through ``databricks-sql-connector``, a real one or the local workspace's."""

import io
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import pyarrow as pa
import tenacity
from databricks import sql
from databricks.sql.client import Connection, Cursor

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.failures import Conflict, NoToken, Unreachable, understand
from dqctl.databricks.target import PersonalToken, ServicePrincipal, Target
from dqctl.redaction import reveal

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any]

_ATTEMPTS = 5
# Seconds that the server gets to end a statement by itself before this side cancels it.
_GRACE = 15.0
_SOCKET_TIMEOUT = 120.0


class Warehouse:
    """Connects when first used. Only idempotent statements belong here: they are sent again after a lost answer
    (by the connector) and after a conflict with another writer (here, after a random pause that grows).
    """

    def __init__(self, target: Target, clock: Clock = SYSTEM_CLOCK) -> None:
        self.target = target
        self._clock = clock
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

    def put(self, content: bytes, volume_path: str) -> None:
        """Write a file in a volume, over the one that is there; it never touches a local disk."""
        statement = f"PUT '__input_stream__' INTO {_quoted_path(volume_path)} OVERWRITE"
        self._again(lambda cursor: cursor.execute(statement, input_stream=io.BytesIO(content)))

    def remove(self, volume_path: str) -> None:
        """Remove a file of a volume."""
        self._again(lambda cursor: cursor.execute(f"REMOVE {_quoted_path(volume_path)}"))

    def close(self) -> None:
        """End the session; a server that is gone is no error."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (sql.Error, OSError) as error:
                log.debug("the session did not end cleanly: %s", error)

    def _again(self, run: Callable[[Cursor], Any]) -> Any:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Conflict),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(self._once, run)

    def _once(self, run: Callable[[Cursor], Any]) -> Any:
        try:
            if self._connection is None:
                self._connection = self._connect()
            with self._connection.cursor() as cursor, self._deadline(cursor):
                return run(cursor)
        # The connector lets errors of urllib3, ssl and Thrift through; what is unknown comes out as it is.
        except Exception as error:
            understood = understand(error, self.target)
            if isinstance(understood, Unreachable):
                self.close()
            raise understood from error

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
        target = self.target
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
            _retry_delay_min=1.0,
            _retry_delay_max=5.0,
            _retry_stop_after_attempts_count=max(2, int(target.patience / 4)),
            _retry_stop_after_attempts_duration=target.patience,
            _socket_timeout=_SOCKET_TIMEOUT,
            **_credentials(target),
        )


def _credentials(target: Target) -> dict[str, Any]:
    auth = target.auth
    if isinstance(auth, PersonalToken):
        return {"access_token": reveal(auth.token)}
    return {"credentials_provider": _machine_to_machine(target, auth)}


def _machine_to_machine(target: Target, principal: ServicePrincipal) -> Callable[[], Any]:
    def provider() -> Any:
        # Imported late: the SDK costs most of a second, and its Config asks the host when it is made.
        from databricks.sdk.core import Config, oauth_service_principal

        with signing_in():
            headers = oauth_service_principal(
                Config(
                    host=f"https://{target.host}",
                    client_id=principal.client_id,
                    client_secret=reveal(principal.secret),
                    # Pinned: with DATABRICKS_TOKEN in the environment two families would be an error.
                    auth_type="oauth-m2m",
                    http_timeout_seconds=10,
                    retry_timeout_seconds=int(target.patience),
                )
            )

        def signed_in() -> Any:
            with signing_in():
                return headers()

        return signed_in

    @contextmanager
    def signing_in() -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # all that the SDK says (0.156), whatever it was
            raise NoToken(error) from error

    return provider


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
