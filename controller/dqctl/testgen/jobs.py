"""Running one job of TestGen in the foreground: profile, generate or test.

No scheduler is involved: TestGen's own Python queues the job, claims it, executes it and drains what it leaves
behind. TestGen's exit codes tell nothing; the job's row does. A command works under ``exclusive`` and calls
``settle_orphans`` first.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import psycopg
from psycopg import sql

from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import Progress, silent
from dqctl.testgen.capabilities import Capabilities, capabilities
from dqctl.testgen.driver import Ended, Failed, ask
from dqctl.testgen.exclusive import JOB, SPACE, exclusive
from dqctl.testgen.ports import Runtime
from dqctl.testgen.settling import INTERRUPTED, Settled, settle, settle_orphans, statements
from dqctl.testgen.watching import Watch

_log = logging.getLogger(__name__)

__all__ = ["INTERRUPTED", "JobKind", "JobOutcome", "JobRequest", "Settled", "exclusive", "run", "settle_orphans"]


class JobKind(StrEnum):
    """What a job does. Profiling is of a table group, the others are of a suite."""

    PROFILE = "profile"
    GENERATE = "generate"
    TEST = "test"


@dataclass(frozen=True)
class JobRequest:
    """A job to run. ``target_id`` is a table group's id for a profile, else a suite's."""

    kind: JobKind
    target_id: UUID


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended, as its row tells: ``status`` is completed, error or canceled.

    ``run_id`` is None for a generation and for a job that failed before its run began. Completed does not mean
    that every column or test could be evaluated. ``seconds`` is from start to end of the job, without queueing.
    """

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


_SUITE = "SELECT project_code, test_suite FROM test_suites WHERE id = %s"
_TASKS = {
    JobKind.PROFILE: _Task(
        "run-profile",
        "table_group_id",
        "SELECT project_code, table_groups_name FROM table_groups WHERE id = %s",
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
    progress: Progress = silent,
) -> JobOutcome:
    """Run one job to its end and say how it ended.

    A job that fails is an outcome, not an error. Raises ``UsageError`` when there is no such target, ``Busy``
    when another job of the stack runs, ``EnvironmentFault`` when the deadline passes or the metadata database
    goes away. However this ends, interruption included, no statement goes on on the target and the job's row is
    settled, here or (when the database is gone) by the next command's ``settle_orphans``.
    """
    version = capabilities(runtime.version)
    task = _TASKS[request.kind]
    project_code, name = _target(runtime, request)
    doing = f"{task.verb} {name}"
    progress(doing)
    watch = Watch(runtime, task.runs, version.job_of_run, doing, progress)
    asked = {
        "verb": "run",
        "job_key": task.job_key,
        "target": task.target,
        "target_id": str(request.target_id),
        "project_code": project_code,
        "several_generation_sets": version.several_generation_sets,
        "follow_up_jobs": list(version.follow_up_jobs),
        "lock": {"space": SPACE, "key": JOB},
        "doing": f"dqctl: {doing}"[:63],
        "settle": list(statements(version)),
        "reason": INTERRUPTED,
    }
    try:
        with watch:
            (answer,) = ask(runtime, [asked], deadline=deadline, environment=environment, on_event=watch.hear)
    except BaseException as error:
        settled = watch.job_id is not None and _settle(runtime, version, watch.job_id, _why(error, deadline))
        if isinstance(error, EnvironmentFault) and deadline.passed:
            job = watch.job_id or "not begun"
            raise EnvironmentFault(
                f"{doing} was not done after {deadline.seconds:g} s and was stopped (job {job})",
                "the job is settled as canceled, and nothing of it goes on; give it more time with --timeout "
                "or DQCTL_JOB_TIMEOUT",
            ) from error
        if not isinstance(error, Failed | Ended) or watch.job_id is None:
            raise
        if settled:
            return _outcome(runtime, version, watch.job_id, request.kind)
        raise EnvironmentFault(
            f"the metadata database went away while {doing} (job {watch.job_id})",
            "start it with dqctl install; what is stored is safe, and the next command settles the job",
        ) from error
    if answer.get("busy"):
        raise Busy("the stack is busy: TestGen runs another job", "try again when it is done")
    return _outcome(runtime, version, UUID(answer["job_id"]), request.kind)


def _target(runtime: Runtime, request: JobRequest) -> tuple[str, str]:
    with runtime.metadata() as connection:
        row = connection.execute(_TASKS[request.kind].find_target, [request.target_id]).fetchone()
    if row is None:
        raise UsageError(
            f"TestGen has nothing to {request.kind} with the id {request.target_id}",
            "dqctl systems list shows what there is",
        )
    return row[0], row[1]


def _why(error: BaseException, deadline: Deadline) -> str:
    match error:
        case Failed() | Ended():
            return f"interrupted: {error.reason}"
        case EnvironmentFault() if deadline.passed:
            return f"interrupted: it was not done after {deadline.seconds:g} s"
        case KeyboardInterrupt():
            return "interrupted: stopped by the user"
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


def _outcome(runtime: Runtime, version: Capabilities, job_id: UUID, kind: JobKind) -> JobOutcome:
    with runtime.metadata() as connection:
        row = connection.execute(
            "SELECT status, error_message, started_at, completed_at FROM job_executions WHERE id = %s", [job_id]
        ).fetchone()
        run = None
        if runs := _TASKS[kind].runs:
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
        job_id=job_id,
        run_id=run[0] if run else None,
        kind=kind,
        status=status,
        error_message=error_message,
        started_at=started_at,
        ended_at=ended_at,
        seconds=(ended_at - started_at).total_seconds() if started_at and ended_at else 0.0,
    )
