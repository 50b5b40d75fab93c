"""The stack, held for one command of work: running jobs, publishing, saving the state, saying what came of it."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import Busy, DqctlError, ExitCode, worst
from dqctl.progress import Progress
from dqctl.report.model import RunReport, build
from dqctl.report.verdict import FailOn, exit_code
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import alerts, metrics, results, state, work_retry
from dqctl.services.access import Access, find_access
from dqctl.services.alerts import AlertReport
from dqctl.services.export_runs import ExportReport, hand_over_after
from dqctl.services.publish import PublishReport, publish
from dqctl.services.work_retry import Retry
from dqctl.settings import Settings
from dqctl.testgen import exclusive, jobs
from dqctl.testgen.jobs import JobOutcome, JobRequest
from dqctl.testgen.reader import MetadataReader
from dqctl.testgen.systems import verdicts

log = logging.getLogger(__name__)

# Before what broke is tried again: what passes by itself takes a moment.
_PAUSE = 5.0


@dataclass(frozen=True)
class WorkReport:
    """What a command's jobs came to.

    ``errors`` is what stopped the work, the publishing, the saving of the state or the reading back, when
    something did; ``reports`` holds every run that ended all the same, in the order in which they ran. ``settled``
    are jobs of earlier commands that had been left behind and were ended now. ``retries`` are runs that another
    one among the reports stands in for; ``not_run`` names what was asked for and has no report. ``fail_on`` is
    what the systems file says of a run's suite, by the run's id. ``alerts`` is what was said about all that; a
    receiver that could not be reached makes no command fail, since it says nothing about the data. ``exported`` is
    what was handed over, where that is wanted.
    """

    reports: tuple[RunReport, ...]
    published: PublishReport | None
    settled: tuple[UUID, ...] = ()
    errors: tuple[DqctlError, ...] = ()
    retries: tuple[Retry, ...] = ()
    not_run: tuple[str, ...] = ()
    fail_on: Mapping[str, FailOn] = field(default_factory=dict)
    alerts: AlertReport = field(default_factory=AlertReport)
    exported: ExportReport | None = None

    @property
    def standing(self) -> tuple[RunReport, ...]:
        """The reports that count: no other run stands in for them."""
        replaced = {each.run_id for each in self.retries}
        return tuple(report for report in self.reports if report.run.run_id not in replaced)

    def fails_on(self, report: RunReport, given: FailOn | None = None) -> FailOn:
        """What makes this run fail: what was ``given`` for all, else what its suite's declaration says."""
        return given or self.fail_on.get(report.run.run_id, FailOn.FAIL)

    def exit_code(self, fail_on: FailOn | None = None) -> ExitCode:
        """The worst of what happened."""
        codes = [exit_code(report, self.fails_on(report, fail_on)) for report in self.standing]
        return worst([*codes, *(error.exit_code for error in self.errors)])


@dataclass(frozen=True)
class Course:
    """How jobs are run: so many at once; with ``retry`` twice what breaks for a reason that passes."""

    at_once: int = 1
    retry: bool = False


@dataclass
class Session:
    """The stack, held for one command; ``shared`` with others by ``connection``, where it is one."""

    settings: Settings
    doing: str
    runtime: Runtime
    connection: "psycopg.Connection[tuple[Any, ...]]"
    progress: Progress
    clock: Clock
    is_shared: bool = False
    settled: list[UUID] = field(default_factory=list)
    ran: list[JobOutcome] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)

    def settle(self, suites: Sequence[UUID] | None = None) -> None:
        """End jobs that were left behind; of ``suites`` only, which are held, where others work on the stack."""
        keep_queued = self.runtime.record.scheduler
        for job in jobs.settle_orphans(self.runtime, keep_queued=keep_queued, suites=suites):
            self.settled.append(job.job_id)
            self.progress(
                f"job {job.job_id} had been left behind by a command that was killed; it is settled as canceled"
            )

    def finish(
        self,
        requests: Mapping[str, JobRequest],
        deadline: Deadline,
        course: Course = Course(),
        errors: Sequence[DqctlError] = (),
    ) -> WorkReport:
        """Run the jobs, by the names that people know them by, publish, and say what they came to.

        ``errors`` are those that happened already.
        """
        found = list(errors)
        access = find_access(self.settings)
        if requests:
            access.wake(deadline, self.progress, self.clock)
        try:
            self._run(list(requests.values()), deadline, course, access)
            if course.retry:
                self._retry(deadline, course, access)
        except DqctlError as error:
            found.append(error)
        published = None
        try:
            published = self._publish()
        except DqctlError as error:
            found.append(error)
        raised = alerts.raise_alerts(self.settings, self.runtime, progress=self.progress, clock=self.clock)
        exported = hand_over_after(self.settings, self.runtime, progress=self.progress, clock=self.clock)
        if exported:
            found.extend(exported.errors)
        if unsaved := self._save():
            found.append(unsaved)
        metrics.write_after(self.settings, self.progress)
        reports: tuple[RunReport, ...] = ()
        try:
            reports = self._reports()
        except DqctlError as error:
            found.append(error)
        done = {outcome.request for outcome in self.ran}
        return WorkReport(
            reports,
            published,
            tuple(self.settled),
            tuple(found),
            tuple(self.retries),
            tuple(name for name, request in requests.items() if request not in done),
            self._fail_on(),
            raised,
            exported,
        )

    def _run(
        self, requests: Sequence[JobRequest], deadline: Deadline, course: Course, access: Access
    ) -> list[JobOutcome]:
        before = len(self.ran)
        outcomes = jobs.run_all(
            self.runtime,
            requests,
            deadline=deadline,
            at_once=course.at_once,
            environment=access.environment,
            profile_ansi=self.settings.profile_ansi,
            progress=self.progress,
        )
        with closing(outcomes):  # Ctrl-C may come between two of them
            for outcome in outcomes:
                self.ran.append(outcome)
        return self.ran[before:]

    def _retry(self, deadline: Deadline, course: Course, access: Access) -> None:
        broken = work_retry.reasons(self.runtime, self.ran)
        if not broken or deadline.left <= _PAUSE:
            return
        self.progress(f"{len(broken)} of {len(self.ran)} runs broke for a reason that may have passed: once more")
        self.clock.sleep(_PAUSE)
        access.wake(deadline, self.progress, self.clock)
        for second in self._run(list(broken), deadline, course, access):
            first, why = broken[second.request]
            self.retries.append(work_retry.mark(self.runtime, first, second, why))

    def _publish(self) -> PublishReport:
        # Another command may have published a run before it was known that it would be run again.
        again = [each.run_id for each in self.retries]
        return publish(self.settings, self.runtime, again=again, progress=self.progress, clock=self.clock)

    def _save(self) -> DqctlError | None:
        unsaved = state.save_after(
            self.settings, self.runtime, self.doing, progress=self.progress, clock=self.clock
        )
        if isinstance(unsaved, Busy) and self.is_shared:
            with contextlib.suppress(psycopg.Error):
                if exclusive.has_company(self.connection):
                    log.warning("not saved by this command: %s; one that still works will", unsaved.message)
                    return None
        return unsaved

    def _reports(self) -> tuple[RunReport, ...]:
        if not self.ran:
            return ()
        with results.open_reader(self.runtime, self.settings.stack) as reader:
            return tuple(report_of(reader, str(outcome.job_id), self.clock) for outcome in self.ran)

    def _fail_on(self) -> dict[str, FailOn]:
        try:
            with self.runtime.metadata() as connection:
                known = verdicts.read(connection)
        except DqctlError:  # the database is gone, which is said already
            return {}
        return {
            str(outcome.job_id): FailOn(known[outcome.request.target_id])
            for outcome in self.ran
            if outcome.request.target_id in known
        }


@contextmanager
def session(settings: Settings, doing: str, progress: Progress, clock: Clock = SYSTEM_CLOCK) -> Iterator[Session]:
    """The stack, which nobody else works on meanwhile; what was left behind is settled."""
    runtime = open_runtime(settings, progress)
    with (
        runtime.metadata() as held,
        jobs.exclusive(held, settings.lock_timeout, f"dqctl {doing}", clock),
    ):
        opened = Session(settings, doing, runtime, held, progress, clock)
        opened.settle()
        yield opened


@contextmanager
def shared_session(
    settings: Settings, doing: str, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> Iterator[Session]:
    """The stack, which others may share; what was left behind is settled if nobody does."""
    runtime = open_runtime(settings, progress)
    with runtime.metadata() as held:
        opened = Session(settings, doing, runtime, held, progress, clock, is_shared=True)
        with jobs.shared(held, settings.lock_timeout, f"dqctl {doing}", when_alone=opened.settle, clock=clock):
            yield opened


def report_of(
    reader: MetadataReader, run_id: str, clock: Clock = SYSTEM_CLOCK, *, samples: bool = False
) -> RunReport:
    """The report of a finished run, with the history of its suite and tests; see ``build`` for ``samples``."""
    content = results.run(reader, run_id)
    history = tuple(reversed(results.history(reader, content)))
    past = results.past(reader, content, history)
    return build(content, history, past, generated_at=clock.now(), samples=samples)
