# mypy: disable-error-code="import-not-found"
"""One job of TestGen in the foreground: queue, claim, execute, then the jobs that it left behind.

A scheduler may work on the same queue (dqctl.testgen.scheduler): whatever runs here is claimed before it can see
it. Several requests to one process run one after the other. Several processes may work for one command or for
several that share the stack: test runs hold the job lock together, each beside that of its suite, and one at a
time runs what runs leave behind.

On SIGTERM or SIGINT, when dqctl dies, and when a job has had its time (SIGALRM), a thread of its own takes
over: it asks for the job's cancellation, stops the statements that run on the target, settles the rows and ends
the process. A thread, because the main one may sit in a C call (libpq) where Python's signal handlers have to
wait until the statement is done.
"""

import contextlib
import ctypes
import os
import signal
import threading
import time
from typing import Any

from sqlalchemy import Engine, event, text
from testgen.commands.exec_job import exec_job
from testgen.common import models
from testgen.common.database import database_service
from testgen.common.models import database_session
from testgen.common.models.job_execution import JobExecution

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGALRM}
# Within the 10 s after which the caller sends SIGKILL.
SECONDS_TO_CANCEL = 5.0
SECONDS_TO_LIVE = 8.0
# A scheduler that starts keeps the job lock for a moment.
SECONDS_TO_BEGIN = 5.0
# For follow-ups that a scheduler has taken: the scores that a run leads to are part of what it found.
SECONDS_FOR_FOLLOW_UPS = 60.0
POLL = 0.1


class Busy(Exception):  # noqa: N818 - dqctl knows it by this name
    """Another job of the stack runs."""


def serve(request: dict[str, Any], say: Any) -> dict[str, Any]:
    """Run the job; ``{"job_id", "follow_ups": [job ids]}``. ``Busy`` when what works on the stack forbids it.

    A job that another process of the same command has taken is said to be ``passed``, and has no id.
    """
    stop = stop_of_this_process(request, say)
    stop.job_ids = []
    try:
        if not take_turn(request):
            say("passed")
            return {"job_id": None, "follow_ups": []}
        with models.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(
                text("SELECT set_config('application_name', :name, false)"), {"name": request["doing"]}
            )
            with contextlib.ExitStack() as held:
                # Test runs may meet each other, each of a suite of its own; nothing else may meet anything.
                how = "_shared" if request["runner"] else ""
                held.enter_context(locked(connection, request["lock"], SECONDS_TO_BEGIN, how))
                if request["runner"]:
                    held.enter_context(locked(connection, request["runner"], SECONDS_TO_BEGIN))
                if request["alone_in"]:
                    held.enter_context(locked(connection, request["alone_in"], None))
                return work(request, say, stop, connection)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        stop.hold()


def take_turn(request: dict[str, Any]) -> bool:
    """Whether the job is this process's to run."""
    if not request["turn"]:
        return True
    with database_session() as session:
        return bool(session.execute(text(request["take_turn"]), request["turn"]).rowcount)


@contextlib.contextmanager
def locked(connection: Any, lock: dict[str, int], seconds: float | None, how: str = "") -> Any:
    """Hold a lock while the block runs; ``Busy`` when somebody else keeps it for ``seconds`` (None: wait)."""
    end = None if seconds is None else time.monotonic() + seconds
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock{how}(:space, :key)"), lock):
        if end is not None and time.monotonic() > end:
            raise Busy("TestGen runs another job")
        time.sleep(POLL)
    try:
        yield
    finally:
        # The pool keeps the connection, and the lock with it.
        connection.execute(text(f"SELECT pg_advisory_unlock{how}(:space, :key)"), lock)


def work(request: dict[str, Any], say: Any, stop: "Stop", connection: Any) -> dict[str, Any]:
    """Queue the job and see it, and what it leaves behind, through."""
    with database_session() as session:
        job_id = JobExecution.submit(
            job_key=request["job_key"],
            kwargs=arguments(request),
            source="cli",
            project_code=request["project_code"],
        ).id
        # Before anybody else can see it in the queue.
        session.execute(text(CLAIM), {"id": job_id})
        session.execute(text(request["claim"]), {"id": job_id})
        stop.job_ids.append(str(job_id))
    say("submitted", job_id=job_id)
    if request["seconds"]:
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    exec_job(job_id)
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop.hold()
    follow_ups: list[Any] = []
    # Whoever has it for so long runs them: those that wait in the queue by now, too.
    with contextlib.suppress(Busy), locked(connection, request["follow_ups"], SECONDS_FOR_FOLLOW_UPS):
        settle_follow_ups(request, stop)
        follow_ups = drain(request, stop)
    say("ended", job_id=job_id)
    return {"job_id": job_id, "follow_ups": follow_ups}


_stops: list["Stop"] = []


def stop_of_this_process(request: dict[str, Any], say: Any) -> "Stop":
    """The one that waits for signals; made for the first job. What it asks of a request is the same in all."""
    if not _stops:
        _stops.append(Stop(request, say, Target()))
        threading.Thread(target=_stops[0].wait, args=(signals(),), daemon=True).start()
        die_with_parent()
    return _stops[0]


def arguments(request: dict[str, Any]) -> dict[str, Any]:
    """The job's arguments, as TestGen's own command line gives them."""
    found: dict[str, Any] = {request["target"]: request["target_id"]}
    if request["job_key"] == "run-test-generation":
        if request["several_generation_sets"]:
            from testgen.common.generation_set_service import resolve_generation_sets
            from testgen.common.models.test_suite import TestSuite

            found["generation_sets"] = resolve_generation_sets(TestSuite.get(request["target_id"]), None)
        else:
            found["generation_set"] = "Standard"
    return found


CLAIM = "UPDATE job_executions j SET status = 'claimed', claimed_at = now() WHERE id = :id AND status = 'pending'"
# As testgen.common.models.job_execution has it: of a follow-up one a project at a time.
ALONE = """ AND NOT EXISTS (SELECT FROM job_executions o WHERE o.id <> j.id AND o.job_key = j.job_key
    AND o.project_code = j.project_code AND o.status = ANY(:working))"""
NEXT = """SELECT id FROM job_executions WHERE status = 'pending' AND job_key = ANY(:keys)
    AND NOT id = ANY(CAST(:done AS uuid[])) ORDER BY created_at LIMIT 1"""
LEFT = """SELECT j.id FROM job_executions j JOIN dqctl.foreground f ON f.job_id = j.id
    WHERE j.status = ANY(:working) AND j.job_key = ANY(:keys)"""
ELSEWHERE = """SELECT id FROM job_executions WHERE status = ANY(:working) AND job_key = ANY(:keys)
    AND project_code = :project_code LIMIT 1"""


def settle_follow_ups(request: dict[str, Any], stop: "Stop") -> None:
    """End follow-ups that a process of dqctl had claimed: who holds their lock knows that it is gone."""
    known = {"keys": request["follow_up_jobs"], "working": request["working"]}
    with database_session() as session:
        left = [str(job_id) for job_id in session.scalars(text(LEFT), known)]
    if left:
        stop.write(request["settle"], left)


def drain(request: dict[str, Any], stop: "Stop") -> list[Any]:
    """Run the jobs that runs leave behind, those of an interrupted run before this one included.

    A scheduler may take some of them first: those of this project are waited for.
    """
    done: list[Any] = []
    known = {"keys": request["follow_up_jobs"], "working": request["working"]}
    end = time.monotonic() + SECONDS_FOR_FOLLOW_UPS
    while True:
        with database_session() as session:
            job_id = session.scalar(text(NEXT), {"keys": known["keys"], "done": [str(i) for i in done]})
            mine = job_id is not None and claim_follow_up(session, request, job_id)
            other = request["shared"] and session.scalar(
                text(ELSEWHERE), {**known, "project_code": request["project_code"]}
            )
        if mine:
            done.append(job_id)
            stop.job_ids.append(str(job_id))
            exec_job(job_id)
            stop.hold()
        elif (job_id is None and not other) or time.monotonic() > end:
            return done
        else:
            time.sleep(POLL)


def claim_follow_up(session: Any, request: dict[str, Any], job_id: Any) -> bool:
    """Whether the follow-up is this process's to run; a scheduler may have been quicker."""
    alone = {"working": request["working"]} if request["shared"] else {}
    claimed = session.execute(text(CLAIM + (ALONE if alone else "")), {"id": job_id, **alone})
    if claimed.rowcount:
        session.execute(text(request["claim"]), {"id": job_id})
    return bool(claimed.rowcount)


def signals() -> int:
    """A file descriptor that gets a byte for each of ``SIGNALS``, at once, whatever the main thread does.

    Blocking them for ``sigwait`` is no way: libraries have started threads by now, which take them unblocked.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    return readable


def die_with_parent() -> None:
    """Be asked to stop when the process that started this one ends, even by SIGKILL (Linux only)."""
    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Target:
    """The statements that run on the target right now."""

    def __init__(self) -> None:
        self.stopping = False
        self._running: dict[int, Any] = {}
        event.listen(Engine, "before_cursor_execute", self._begin)
        event.listen(Engine, "after_cursor_execute", self._end)
        event.listen(Engine, "handle_error", self._fail)

    def _begin(self, connection: Any, cursor: Any, *_rest: Any) -> None:
        # Everything that is not TestGen's own database is the target, whatever builds its engine.
        if connection.engine in (models.engine, database_service.engine_cache.app_db):
            return
        if self.stopping:
            raise RuntimeError("the job is being cancelled")
        self._running[id(cursor)] = cursor

    def _end(self, _connection: Any, cursor: Any, *_rest: Any) -> None:
        self._running.pop(id(cursor), None)

    def _fail(self, context: Any) -> None:
        if context.execution_context is not None:
            self._running.pop(id(context.execution_context.cursor), None)

    def cancel(self, seconds: float) -> None:
        """Stop what runs, and let nothing new begin; gives up after ``seconds``."""
        self.stopping = True
        end = time.monotonic() + seconds
        while self._running and time.monotonic() < end:
            for cursor in list(self._running.values()):
                # In a thread: a cancellation may have to wait for its connection.
                threading.Thread(target=cancel, args=(cursor,), daemon=True).start()
            time.sleep(0.3)


def cancel(cursor: Any) -> None:
    """Stop one statement: databricks-sql cursors can do it, with psycopg2 it is the connection that can."""
    stoppable: Any = cursor if hasattr(cursor, "cancel") else cursor.connection
    with contextlib.suppress(Exception):  # it may just have ended
        stoppable.cancel()


class Stop:
    """What happens when the job has to stop before its end."""

    def __init__(self, request: dict[str, Any], say: Any, target: Target) -> None:
        self.job_ids: list[str] = []
        self._asked = False
        self._request = request
        self._say = say
        self._target = target

    def wait(self, descriptor: int) -> None:
        """Wait for a signal, then end this process in order, within ``SECONDS_TO_LIVE``."""
        number = os.read(descriptor, 1)[0]
        self._asked = True
        threading.Timer(SECONDS_TO_LIVE, os._exit, (128 + number,)).start()
        with contextlib.suppress(Exception):  # the metadata database may be gone; the target is not
            # First: from here on TestGen itself can end the job as cancelled only.
            self.write(self._request["settle"][:1], self.job_ids)
        self._target.cancel(SECONDS_TO_CANCEL)
        with contextlib.suppress(Exception):  # what is not settled now is settled by dqctl's next command
            self.write(self._request["settle"], self.job_ids)
            self._say("settled", job_ids=self.job_ids)
        os._exit(128 + number)

    def hold(self) -> None:
        """Come back only if nothing is being stopped; otherwise this process is about to end."""
        if self._asked:
            time.sleep(SECONDS_TO_LIVE)

    def write(self, statements: list[str], job_ids: list[str]) -> None:
        """Run statements that settle jobs."""
        connection = models.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            for statement in statements:
                cursor.execute(statement, {"ids": job_ids, "reason": self._request["reason"]})
            connection.commit()
        finally:
            connection.close()
