"""Connections to the PostgreSQL with TestGen's metadata, wherever it runs."""

import re
import time
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait
from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.redaction import redact, reveal

ROLE = "testgen"  # owns the cluster

_RECOVERY = 90.0  # seconds
_CONNECTING = 10.0  # seconds
# Seconds without a byte. A server that is paused or stopped (SIGSTOP) keeps its connections and says nothing for
# ever: the kernel goes on acknowledging what is sent.
_SILENCE = 30.0
# What is left of it for a server that this process has given up before and that has said nothing since: what is
# still to be done then (settling, publishing, letting go of a lock) would wait as long again, each for itself.
_ONCE_MORE = 5.0
_given_up: set[tuple[bytes, int]] = set()

_Answer = TypeVar("_Answer")
_NO_SPACE = re.compile("No space left on device|DiskFull|wrote only|File too large|Disk quota exceeded")


def connect(
    host: str, port: int, password: SecretStr, database: str, *, autocommit: bool, log: str
) -> "psycopg.Connection[tuple[Any, ...]]":
    """A connection: search path ``testgen``, time zone UTC. ``EnvironmentFault`` when there is none.

    The password is never sent: SCRAM proves it both ways, so that whatever else listens there is not taken for
    ours. ``log`` says where the server's log is.
    """
    deadline = Deadline(_RECOVERY)
    server = (host.encode(), port)
    while True:
        try:
            return Connection.connect(
                host=host,
                hostaddr=host,  # given, so that PGHOSTADDR of the environment does not lead elsewhere
                port=port,
                user=ROLE,
                password=reveal(password),
                dbname=database,
                autocommit=autocommit,
                connect_timeout=int(_ONCE_MORE if server in _given_up else _CONNECTING),
                application_name="dqctl",
                options="-c search_path=testgen -c TimeZone=UTC",
                sslmode="disable",
                gssencmode="disable",
                require_auth="scram-sha-256",
            )
        except psycopg.OperationalError as error:
            # "the database system is starting up" and the like: a backend was killed, and it recovers.
            if "the database system is" in str(error) and not deadline.passed:
                time.sleep(0.1)
                continue
            if isinstance(error, errors.ConnectionTimeout):
                _given_up.add(server)
            raise EnvironmentFault(
                f"the metadata database does not answer: {redact(str(error)).strip()}",
                f"dqctl starts it with the next command; its log is {log}",
            ) from None


def be_patient(connection: "psycopg.Connection[tuple[Any, ...]]", seconds: float) -> None:
    """Let statements of ``connection`` take up to ``seconds`` before they say anything."""
    if isinstance(connection, Connection):
        connection.silence = seconds


def says_no_space(said: str) -> bool:
    """Whether a message of PostgreSQL or its programs is about a full disk."""
    return _NO_SPACE.search(said) is not None


# What is the server's doing; XX000 is what it says of checkpoints and files that a full disk has spoilt.
_ITS_OWN = (psycopg.OperationalError, psycopg.errors.InternalError_)


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose ``with`` block ends by ``EnvironmentFault`` when the server goes away inside of it.

    Only what happened to the server is ours to explain: a statement that is wrong stays a ``psycopg.Error``.
    """

    silence = _SILENCE
    """Seconds in which it may say nothing; more for statements that work on all rows of a large table."""

    def wait(self, gen: PQGen[_Answer], interval: float = 0.1, timeout: float | None = None) -> _Answer:
        """Wait for what the server says, as psycopg does, but not for ever."""
        try:
            wanted = next(gen)
        except StopIteration as end:  # it is here already: most rows of a COPY are, and there are many
            answer: _Answer = end.value
            return answer
        return super().wait(self._while_it_speaks(gen, wanted), interval, timeout)

    def _while_it_speaks(self, gen: PQGen[_Answer], wanted: Wait) -> PQGen[_Answer]:
        heard = time.monotonic()
        server = (self.pgconn.host, int(self.pgconn.port))
        try:
            while True:
                ready = yield wanted
                if ready & Ready.R:
                    _given_up.discard(server)
                silence = min(self.silence, _ONCE_MORE) if server in _given_up else self.silence
                if ready:  # psycopg also comes by every 0.1 s when there is nothing (READY_NONE)
                    heard = time.monotonic()
                elif time.monotonic() - heard > silence:
                    _given_up.add(server)
                    self.pgconn.finish()  # what follows, a ROLLBACK say, would have to wait for the same
                    raise psycopg.OperationalError(f"it did not say anything for {silence:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: _Answer = end.value
            return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit or roll back, and close."""
        try:
            super().__exit__(kind, error, traceback)
        except _ITS_OWN as late:  # it went away before the commit
            raise _went_away(late) from late
        if isinstance(error, _ITS_OWN):
            raise _went_away(error) from error


def _went_away(error: psycopg.Error) -> EnvironmentFault:
    said = redact(str(error)).strip()
    if isinstance(error, psycopg.errors.DiskFull) or says_no_space(said):
        return EnvironmentFault(
            f"the metadata database has no space: {said}", "free some, then run the same command again"
        )
    what = "went away" if isinstance(error, psycopg.OperationalError) else "failed"
    return EnvironmentFault(
        f"the metadata database {what}: {said}",
        "what was stored is safe; dqctl starts it with the next command: run the same one again. "
        "If the disk is full, free some space first",
    )
