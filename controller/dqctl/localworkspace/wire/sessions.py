"""Sessions and operations of all clients: started, looked up by handle, cancelled, expired."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from dqctl.localworkspace.contract import Lakehouse, Result, Session, StatementError

logger = logging.getLogger(__name__)

Work = Callable[[Session], Result]

# A warehouse keeps a statement that nobody asks about for 15 minutes; a session lives as long as its client
# shows up now and then. Both only matter for clients that vanished.
OPERATION_IDLE = 15 * 60.0
SESSION_IDLE = 2 * 60 * 60.0
# A client that waits for its statement asks all the time (after a lost answer, the connector pauses for up to a
# minute). One that was killed must not keep this machine busy for the quarter of an hour.
ATTENDED_IDLE = 2 * 60.0
# One that hung up while it was being answered comes back within a second or two, if it lives.
LEFT_IDLE = 10.0

_LOGGED = 300  # characters of an error


class State(Enum):
    """Where an operation stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class UnknownHandle(Exception):  # noqa: N818 - named for what it is
    """A session or operation that never was, was closed, or has expired."""


class ClientSession:
    """A session of the lakehouse with what the wire has to know about it. ``warehouse`` is whose it is, by id."""

    def __init__(self, session: Session, now: float, warehouse: str = "") -> None:
        self.id = uuid.uuid4().hex
        self.session = session
        self.warehouse = warehouse
        self.last_used = now
        self.turn = threading.Lock()  # a session runs one statement at a time


class Operation:
    """One statement, or one request for metadata, from its start until it is closed.

    ``attended`` means that the client waits for it, and asks again and again until it is over.
    """

    def __init__(self, owner: ClientSession, work: Work, now: float, *, attended: bool = False) -> None:
        self.id = uuid.uuid4().hex
        self.owner = owner
        self.attended = attended
        self.left = False  # by a client that hung up when it last asked
        self.state = State.PENDING
        self.result: Result | None = None
        self.error: StatementError | None = None
        self.offset = 0  # rows that were fetched
        self.wire_format: dict[str, Any] = {}  # what the client asked for, and the result in that form:
        self.delivery: Any = None  # both belong to the protocol that the client speaks
        self.last_used = now
        self.started_at = time.time()
        self.finished_at: float | None = None
        self._work = work
        self._lock = threading.Lock()
        self._settled = threading.Event()
        self._engaged = False  # the session is working on it

    @property
    def is_settled(self) -> bool:
        """Whether the outcome is known."""
        return self._settled.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the outcome; whether it is known."""
        return self._settled.wait(seconds)

    def run(self) -> None:
        """Carry it out; every failure becomes its outcome."""
        with self.owner.turn:
            with self._lock:
                if self._settled.is_set():
                    return
                self.state, self._engaged = State.RUNNING, True
            result, error = self._outcome()
            # The session stays ours until the lock is had: a cancellation in flight cannot hit the next one.
            with self._lock:
                self._engaged = False
                if self._settled.is_set():
                    return
                self.result, self.error = result, error
                self._settle(State.SUCCEEDED if error is None else State.FAILED)

    def _outcome(self) -> tuple[Result | None, StatementError | None]:
        try:
            return self._work(self.owner.session), None
        except StatementError as error:
            logger.info("statement failed: %s", str(error)[:_LOGGED])
            return None, error
        except Exception as error:  # whatever breaks inside is the statement's failure, not the server's
            logger.exception("statement failed inside the server")
            return None, StatementError("INTERNAL_ERROR", f"{type(error).__name__}: {error}", "XX000")

    def cancel(self) -> None:
        """Stop it, in the engine too; nothing happens when it is over."""
        with self._lock:
            if not self._settled.is_set():
                self.error = StatementError("OPERATION_CANCELED", "Operation has been canceled.", "HY008")
                self._settle(State.CANCELED)
            if self._engaged:
                # Again on every call: the first may have come before the engine had anything to stop.
                self.owner.session.cancel()

    def _settle(self, state: State) -> None:
        self.state = state
        self.finished_at = time.time()
        self._settled.set()

    @property
    def is_stuck(self) -> bool:
        """Cancelled, and the engine still works on it."""
        return self.state is State.CANCELED and self._engaged


class Sessions:
    """All sessions and operations; safe to use from many threads. ``defaults`` are the warehouse's settings."""

    def __init__(
        self,
        lakehouse: Lakehouse,
        *,
        session_idle: float = SESSION_IDLE,
        operation_idle: float = OPERATION_IDLE,
        defaults: Callable[[], Mapping[str, str]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lakehouse = lakehouse
        self._session_idle = session_idle
        self._operation_idle = operation_idle
        self._defaults = defaults
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._sessions: dict[str, ClientSession] = {}
        self._operations: dict[str, Operation] = {}

    def open(
        self, catalog: str | None, schema: str | None, configuration: Mapping[str, str], warehouse: str = ""
    ) -> ClientSession:
        """Open a session; ``StatementError`` when catalog, schema or configuration do not fit."""
        # The warehouse's settings first: what the client asks for wins.
        settings = {**self._defaults(), **configuration}
        opened = self.lakehouse.open_session(catalog, schema, settings)
        client = ClientSession(opened, self._monotonic(), warehouse)
        with self._lock:
            self._sessions[client.id] = client
        return client

    def get(self, session_id: str) -> ClientSession:
        """The session; ``UnknownHandle`` when there is none."""
        with self._lock:
            client = self._sessions.get(session_id)
        if client is None:
            raise UnknownHandle(f"Invalid SessionHandle: {session_id}")
        client.last_used = self._monotonic()
        return client

    def close(self, session_id: str) -> None:
        """Close the session and stop what it runs; nothing happens when there is none."""
        with self._lock:
            client = self._sessions.pop(session_id, None)
            owned = [operation for operation in self._operations.values() if operation.owner is client]
            for operation in owned:
                del self._operations[operation.id]
        for operation in owned:
            operation.cancel()
        if client is not None:
            client.session.close()

    def end(self, session_id: str) -> None:
        """Close the session from within its own operation, which stays until it is closed or expires."""
        with self._lock:
            client = self._sessions.pop(session_id, None)
        if client is not None:
            client.session.close()

    def start(self, session_id: str, work: Work, *, attended: bool = False) -> Operation:
        """Start an operation in a thread of its own; ``UnknownHandle`` when there is no such session."""
        operation = Operation(self.get(session_id), work, self._monotonic(), attended=attended)
        with self._lock:
            self._operations[operation.id] = operation
        threading.Thread(target=operation.run, name=f"operation {operation.id}", daemon=True).start()
        return operation

    def operation(self, operation_id: str) -> Operation:
        """The operation; ``UnknownHandle`` when there is none."""
        with self._lock:
            operation = self._operations.get(operation_id)
        if operation is None:
            raise UnknownHandle(f"Invalid OperationHandle: {operation_id}")
        operation.last_used = operation.owner.last_used = self._monotonic()
        operation.left = False
        return operation

    def left(self, operation_id: str) -> None:
        """Who asked about an operation has hung up before there was an answer."""
        with self._lock:
            operation = self._operations.get(operation_id)
        if operation is not None:
            operation.left = True

    def close_operation(self, operation_id: str) -> None:
        """Forget an operation, and stop it when it still runs; nothing happens when there is none."""
        with self._lock:
            operation = self._operations.pop(operation_id, None)
        if operation is not None:
            operation.cancel()

    def expire(self) -> None:
        """Close what no client has asked about for long, and insist on what was cancelled."""
        now = self._monotonic()
        with self._lock:
            operations = list(self._operations.values())
            busy = {operation.owner.id for operation in operations if not operation.is_settled}
            idle = [
                client.id
                for client in self._sessions.values()
                if client.id not in busy and now - client.last_used > self._session_idle
            ]
        for operation in operations:
            if operation.is_stuck:
                operation.cancel()
            elif now - operation.last_used > self._patience(operation):
                logger.info("operation %s expired", operation.id)
                self.close_operation(operation.id)
        for session_id in idle:
            logger.info("session %s expired", session_id)
            self.close(session_id)

    def _patience(self, operation: Operation) -> float:
        if operation.attended and not operation.is_settled:
            return min(LEFT_IDLE if operation.left else ATTENDED_IDLE, self._operation_idle)
        return self._operation_idle

    def count(self) -> tuple[int, int]:
        """How many sessions and operations are open."""
        with self._lock:
            return len(self._sessions), len(self._operations)

    def is_busy(self, warehouse: str) -> bool:
        """Whether a statement runs on a warehouse."""
        with self._lock:
            running = [each.owner.warehouse for each in self._operations.values() if not each.is_settled]
        return warehouse in running

    def close_all(self, warehouse: str | None = None) -> None:
        """Close every session, or those of one warehouse."""
        with self._lock:
            session_ids = [each.id for each in self._sessions.values() if warehouse in (None, each.warehouse)]
        for session_id in session_ids:
            self.close(session_id)
