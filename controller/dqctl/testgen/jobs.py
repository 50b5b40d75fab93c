"""Running jobs of TestGen in the foreground: profile, generate or test.

No scheduler is involved: TestGen's own Python queues the job, claims it in the same transaction, executes it and
drains what it leaves behind; a scheduler that works on the same queue never sees it. TestGen's exit codes tell
nothing; the job's row does. A command works under ``exclusive`` (or ``shared``, which only test runs may) and
calls ``settle_orphans`` first.

Long because it is one course of events, from the request to the outcome, with all the ways in which it may end.
"""

import logging
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import Progress, silent
from dqctl.testgen import foreground, scheduler, sessions
from dqctl.testgen.capabilities import Capabilities, capabilities
from dqctl.testgen.driver import Ended, Failed, ask
from dqctl.testgen.exclusive import (
    FOLLOW_UPS,
    JOB,
    RUNNERS,
    SPACE,
    TABLE_GROUPS,
    exclusive,
    shared,
    suite_key,
    suites,
)
from dqctl.testgen.ports import Runtime
from dqctl.testgen.sessions import ProfileAnsi
from dqctl.testgen.settling import INTERRUPTED, Settled, settle, settle_orphans, statements
from dqctl.testgen.side_by_side import Stoppable, side_by_side
from dqctl.testgen.watching import Watch

_log = logging.getLogger(__name__)

__all__ = [
    "INTERRUPTED",
    "STOPPED",
    "JobKind",
    "JobOutcome",
    "JobRequest",
    "Settled",
    "exclusive",
    "run",
    "run_all",
    "settle_orphans",
    "shared",
    "suites",
]

STOPPED = "interrupted: stopped by the user"
# How the driver ends when a job has had its time (run.py): as its own exit code, and as a shell passes it on.
_OUT_OF_TIME = (128 + signal.SIGALRM, -signal.SIGALRM)


class JobKind(StrEnum):
    """What a job does. Profiling is of a table group, the others are of a suite."""

    PROFILE = "profile"
    GENERATE = "generate"
    TEST = "test"


@dataclass(frozen=True)
class JobRequest:
    """A job to run. ``target_id`` is a table group's id for a profile, else a suite's.

    A job that works for ``seconds`` is stopped and settled as canceled; those after it run all the same.
    """

    kind: JobKind
    target_id: UUID
    seconds: float | None = None


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended, as its row tells: ``status`` is completed, error or canceled.

    ``run_id`` is None for a generation and for a job that failed before its run began. Completed does not mean
    that every column or test could be evaluated. ``seconds`` is from start to end of the job, without queueing.
    """

    request: JobRequest
    job_id: UUID
    run_id: UUID | None
    kind: JobKind
    status: str
    error_message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float


@dataclass(frozen=True)
class _Task:
    """How TestGen calls a kind of job, and where it keeps its runs."""

    job_key: str
    target: str
    find_target: str
    verb: str
    runs: str | None


_SUITE = "SELECT project_code, test_suite, table_groups_id FROM test_suites WHERE id = %s"
_TASKS = {
    JobKind.PROFILE: _Task(
        "run-profile",
        "table_group_id",
        "SELECT project_code, table_groups_name, id FROM table_groups WHERE id = %s",
        "profiling",
        "profiling_runs",
    ),
    JobKind.GENERATE: _Task("run-test-generation", "test_suite_id", _SUITE, "generating tests of", None),
    JobKind.TEST: _Task("run-tests", "test_suite_id", _SUITE, "testing", "test_runs"),
}


def run(
    runtime: Runtime,
    request: JobRequest,
    *,
    deadline: Deadline,
    environment: Mapping[str, str] | None = None,
    profile_ansi: ProfileAnsi = "off",
    progress: Progress = silent,
) -> JobOutcome:
    """Run one job to its end and say how it ended; see ``run_all``."""
    (outcome,) = run_all(
        runtime,
        [request],
        deadline=deadline,
        environment=environment,
        profile_ansi=profile_ansi,
        progress=progress,
    )
    return outcome


def run_all(
    runtime: Runtime,
    requests: Sequence[JobRequest],
    *,
    deadline: Deadline,
    at_once: int = 1,
    environment: Mapping[str, str] | None = None,
    profile_ansi: ProfileAnsi = "off",
    progress: Progress = silent,
) -> Generator[JobOutcome]:
    """Run jobs one after the other, in one start of TestGen's Python, and say how each ended.

    With ``at_once`` that many processes share the jobs (test runs only): each takes the next one that is left, and
    outcomes come as jobs end.

    ``profile_ansi`` is the mode of a profile's sessions on Databricks (dqctl.testgen.sessions).
    A job that fails is an outcome, not an error; those after it run all the same. Raises ``UsageError`` before
    the first job when one has no target, ``Busy`` when another job of the stack runs, ``EnvironmentFault`` when
    the deadline passes or the metadata database goes away; the outcomes of the jobs before come first. However
    this ends, interruption included, no statement goes on on the target and the rows of the jobs at work are
    settled, here or (when the database is gone) by the next command's ``settle_orphans``.
    """
    version = capabilities(runtime.version)
    with runtime.metadata() as connection:
        found = [_Job(turn, request, *_target(connection, request)) for turn, request in enumerate(requests)]
        foreground.ensure(connection, version)
        beside = scheduler.is_living(connection)
        connection.commit()

        def serve(whole: Deadline, command: UUID | None = None) -> Iterator[JobOutcome]:
            asked = {
                job.turn: [_prepared(job, profile_ansi), _asked(version, job, beside, command)] for job in found
            }
            return _serve(runtime, version, found, asked, whole, environment, progress)

        at_once = min(at_once, len(found))
        if at_once <= 1:
            connection.close()  # a long night needs none beside those of the jobs
            yield from serve(deadline)
            return
        with foreground.turns(connection) as command:
            yield from side_by_side(at_once, lambda leash: serve(leash, command), deadline)


def _serve(
    runtime: Runtime,
    version: Capabilities,
    waiting: "Sequence[_Job]",
    asked: Mapping[int, Sequence[Mapping[str, Any]]],
    deadline: Deadline,
    environment: Mapping[str, str] | None,
    progress: Progress,
) -> Iterator[JobOutcome]:
    """What one process of TestGen, and those that take its place when it ends early, make of the jobs."""
    while waiting:
        course = _Course(runtime, version, waiting, progress)
        fault: BaseException | None = None
        try:
            requests = [each for job in waiting for each in asked[job.turn]]
            ask(runtime, requests, deadline=deadline, environment=environment, on_event=course.hear)
        except BaseException as error:  # noqa: BLE001 - raised below, after the outcomes of those before it
            fault = error
        finally:
            course.close()
        lost = fault is not None and _settle_lost(runtime, version, course, fault, deadline)
        ended = course.ended + ([course.at_work] if course.at_work and lost else [])
        yield from _outcomes(
            runtime,
            version,
            [(job.request, done) for job, done in zip(waiting, ended, strict=False) if done is not None],
        )
        if fault is not None and not lost:
            explained = _explained(fault, waiting[len(ended)], course.at_work, deadline)
            raise explained from (fault if explained is not fault else fault.__cause__)
        waiting = waiting[len(ended) :]


@dataclass(frozen=True)
class _Job:
    """A request, its place among those of the command, and what TestGen calls it."""

    turn: int
    request: JobRequest
    project_code: str
    name: str
    table_group_id: UUID

    @property
    def task(self) -> _Task:
        return _TASKS[self.request.kind]

    @property
    def doing(self) -> str:
        return f"{self.task.verb} {self.name}"


class _Course:
    """How far the driver is with ``jobs``: which have ended, and which is at work (None before it is queued).

    Those that another process has taken are None among the ended ones.
    """

    def __init__(self, runtime: Runtime, version: Capabilities, jobs: Sequence[_Job], progress: Progress) -> None:
        self.ended: list[UUID | None] = []
        self.at_work: UUID | None = None
        self._runtime = runtime
        self._version = version
        self._jobs = jobs
        self._progress = progress
        self._watch: Watch | None = None
        progress(jobs[0].doing)

    @property
    def job(self) -> "_Job":
        """The one that is at work, or about to begin."""
        return self._jobs[len(self.ended)]

    def hear(self, said: str, content: Mapping[str, Any]) -> None:
        """Take note of what the driver says."""
        if said == "submitted":
            self.at_work = UUID(content["job_id"])
            job = self.job
            if job.task.runs:
                self._watch = Watch(
                    self._runtime,
                    job.task.runs,
                    self._version.job_of_run,
                    self.at_work,
                    job.doing,
                    self._progress,
                )
        elif said == "passed":
            self.ended.append(None)
        elif said == "ended":
            self.close()
            self.ended.append(UUID(content["job_id"]))
            self.at_work = None
            if len(self.ended) < len(self._jobs):
                self._progress(self._jobs[len(self.ended)].doing)

    def close(self) -> None:
        """Watch no more."""
        if self._watch:
            self._watch.close()
            self._watch = None


def _prepared(job: _Job, profile_ansi: ProfileAnsi) -> dict[str, Any]:
    """What the driver is asked before the job."""
    return {"verb": "prepare", "parameters": dict(sessions.parameters(job.task.job_key, profile_ansi))}


def _asked(version: Capabilities, job: _Job, beside: bool, command: UUID | None) -> dict[str, Any]:
    """What the driver is asked.

    ``beside`` is whether a scheduler works on the same queue, ``command`` what several processes work for.
    """
    tests = job.request.kind is JobKind.TEST
    group = None if version.tests_suites_of_a_group_together else suite_key(job.table_group_id)
    return {
        "verb": "run",
        "job_key": job.task.job_key,
        "target": job.task.target,
        "target_id": str(job.request.target_id),
        "project_code": job.project_code,
        "several_generation_sets": version.several_generation_sets,
        "follow_up_jobs": list(version.follow_up_jobs),
        "working": list(version.working_statuses),
        "shared": beside,
        "claim": foreground.CLAIM,
        "turn": {"command": str(command), "turn": job.turn} if command else None,
        "take_turn": foreground.TAKE_TURN,
        "lock": {"space": SPACE, "key": JOB},
        "runner": {"space": RUNNERS, "key": suite_key(job.request.target_id)} if tests else None,
        "alone_in": {"space": TABLE_GROUPS, "key": group} if tests and group is not None else None,
        "follow_ups": {"space": SPACE, "key": FOLLOW_UPS},
        "seconds": job.request.seconds,
        "doing": f"dqctl: {job.doing}"[:63],
        "settle": list(statements(version)),
        "reason": INTERRUPTED,
    }


def _settle_lost(
    runtime: Runtime, version: Capabilities, course: _Course, fault: BaseException, deadline: Deadline
) -> bool:
    """Settle the job that was at work; whether that is its outcome, and the jobs after it can go on."""
    if course.at_work is None:
        return False
    settled = _settle(runtime, version, course.at_work, _why(fault, deadline, course.job))
    return settled and isinstance(fault, Failed | Ended)


def _explained(fault: BaseException, job: _Job, job_id: UUID | None, deadline: Deadline) -> BaseException:
    """What the user is told of what ended the driver."""
    if isinstance(fault, EnvironmentFault) and deadline.passed:
        return EnvironmentFault(
            f"{job.doing} was not done after {deadline.seconds:g} s and was stopped (job {job_id or 'not begun'})",
            "the job is settled as canceled, and nothing of it goes on; give it more time with --timeout "
            "or DQCTL_JOB_TIMEOUT",
        )
    if isinstance(fault, Failed) and fault.kind == "Busy":
        return Busy("the stack is busy: TestGen runs another job", "try again when it is done")
    if isinstance(fault, Failed | Ended) and job_id is not None:
        return EnvironmentFault(
            f"the metadata database went away while {job.doing} (job {job_id})",
            "start it with dqctl install; what is stored is safe, and the next command settles the job",
        )
    return fault


def _target(connection: "psycopg.Connection[tuple[Any, ...]]", request: JobRequest) -> tuple[str, str, UUID]:
    row = connection.execute(_TASKS[request.kind].find_target, [request.target_id]).fetchone()
    if row is None:
        raise UsageError(
            f"TestGen has nothing to {request.kind} with the id {request.target_id}",
            "dqctl systems list shows what there is",
        )
    return row[0], row[1], row[2]


def _why(error: BaseException, deadline: Deadline, job: _Job) -> str:
    match error:
        case Ended() if error.code in _OUT_OF_TIME:
            return f"interrupted: it was not done after {job.request.seconds:g} s, its own limit"
        case Failed() | Ended():
            return f"interrupted: {error.reason}"
        case EnvironmentFault() if isinstance(deadline, Stoppable) and deadline.stopped:
            return STOPPED
        case EnvironmentFault() if deadline.passed:
            return f"interrupted: it was not done after {deadline.seconds:g} s"
        case KeyboardInterrupt():
            return STOPPED
    return INTERRUPTED


def _settle(runtime: Runtime, version: Capabilities, job_id: UUID, reason: str) -> bool:
    """Whether the row could be settled; when the database is gone, the next command does it."""
    try:
        with runtime.metadata() as connection:
            settle(connection, version, [job_id], reason)
    except (psycopg.Error, EnvironmentFault):
        _log.warning("job %s cannot be settled now; the next command does it", job_id)
        _log.debug("why it cannot", exc_info=True)
        return False
    return True


def _outcomes(
    runtime: Runtime, version: Capabilities, ended: Sequence[tuple[JobRequest, UUID]]
) -> Iterator[JobOutcome]:
    if not ended:
        return
    with runtime.metadata() as connection:
        found = [_outcome(connection, version, job_id, request) for request, job_id in ended]
    yield from found


def _outcome(
    connection: "psycopg.Connection[tuple[Any, ...]]", version: Capabilities, job_id: UUID, request: JobRequest
) -> JobOutcome:
    row = connection.execute(
        "SELECT status, error_message, started_at, completed_at FROM job_executions WHERE id = %s", [job_id]
    ).fetchone()
    run = None
    if runs := _TASKS[request.kind].runs:
        found = sql.SQL("SELECT id FROM {} WHERE {} = %s").format(
            sql.Identifier(runs), sql.Identifier(version.job_of_run)
        )
        run = connection.execute(found, [job_id]).fetchone()
    if row is None:
        raise EnvironmentFault(
            f"job {job_id} has disappeared from TestGen's metadata",
            "something else writes to this database; dqctl doctor looks at it",
        )
    status, error_message, started_at, ended_at = row
    return JobOutcome(
        request=request,
        job_id=job_id,
        run_id=run[0] if run else None,
        kind=request.kind,
        status=status,
        error_message=error_message,
        started_at=started_at,
        ended_at=ended_at,
        seconds=(ended_at - started_at).total_seconds() if started_at and ended_at else 0.0,
    )
