"""The work: profile, generate, run tests. Each publishes, and saves the state, before it returns.

Whatever happens to one of several jobs, those that finished are published; what could not be published waits in
TestGen's database and goes with the next command that publishes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import DqctlError, ExitCode, UsageError, worst
from dqctl.progress import Progress
from dqctl.report.model import RunReport, build
from dqctl.report.verdict import FailOn, exit_code
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import results, state
from dqctl.services.access import find_access
from dqctl.services.explain import Explanation, explain
from dqctl.services.publish import ALL, Again, PublishReport, publish
from dqctl.services.systems import Suite, System, TableGroup, resolve_suites, resolve_system
from dqctl.settings import Settings
from dqctl.testgen import jobs
from dqctl.testgen.jobs import JobKind, JobOutcome, JobRequest
from dqctl.testgen.reader import MetadataReader


@dataclass(frozen=True)
class WorkReport:
    """What a command's jobs came to.

    ``errors`` is what stopped the work, the publishing, the saving of the state or the reading back, when
    something did; ``reports`` holds every run that ended all the same, in the order in which they ran. ``settled``
    are jobs of earlier commands that had been left behind and were ended now.
    """

    reports: tuple[RunReport, ...]
    published: PublishReport | None
    settled: tuple[UUID, ...] = ()
    errors: tuple[DqctlError, ...] = ()

    def exit_code(self, fail_on: FailOn = FailOn.FAIL) -> ExitCode:
        """The worst of what happened."""
        codes = [exit_code(report, fail_on) for report in self.reports]
        return worst([*codes, *(error.exit_code for error in self.errors)])


@dataclass
class _Session:
    """The stack, held for one command."""

    settings: Settings
    doing: str
    runtime: Runtime
    progress: Progress
    clock: Clock
    settled: tuple[UUID, ...] = ()
    ran: list[JobOutcome] = field(default_factory=list)

    def finish(self, requests: Sequence[JobRequest], deadline: Deadline) -> WorkReport:
        """Run the jobs one after the other, publish, and say what they came to."""
        errors: list[DqctlError] = []
        access = find_access(self.settings)
        if requests:
            access.wake(deadline, self.progress, self.clock)
        try:
            for outcome in jobs.run_all(
                self.runtime,
                requests,
                deadline=deadline,
                environment=access.environment,
                profile_ansi=self.settings.profile_ansi,
                progress=self.progress,
            ):
                self.ran.append(outcome)
        except DqctlError as error:
            errors.append(error)
        published = None
        try:
            published = publish(self.settings, self.runtime, progress=self.progress, clock=self.clock)
        except DqctlError as error:
            errors.append(error)
        unsaved = state.save_after(
            self.settings, self.runtime, self.doing, progress=self.progress, clock=self.clock
        )
        if unsaved:
            errors.append(unsaved)
        reports: tuple[RunReport, ...] = ()
        try:
            reports = self._reports()
        except DqctlError as error:
            errors.append(error)
        return WorkReport(reports, published, self.settled, tuple(errors))

    def _reports(self) -> tuple[RunReport, ...]:
        if not self.ran:
            return ()
        with results.open_reader(self.runtime, self.settings.stack) as reader:
            return tuple(report_of(reader, str(outcome.job_id), self.clock) for outcome in self.ran)


def profile(
    settings: Settings, system: str, group: str | None = None, *, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> WorkReport:
    """Profile a system's table groups, or one of them."""

    def requests(runtime: Runtime) -> list[JobRequest]:
        found = _groups(resolve_system(runtime, system), group)
        return [JobRequest(JobKind.PROFILE, each.id) for each in found]

    return _work(settings, f"profile {system}", requests, progress, clock)


def generate(
    settings: Settings, system: str, suite: str | None = None, *, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> WorkReport:
    """Generate the tests of a system's suites, or of one, from the newest profile of their tables."""

    def requests(runtime: Runtime) -> list[JobRequest]:
        found = _suites(resolve_system(runtime, system), suite)
        return [JobRequest(JobKind.GENERATE, each.id) for each in found]

    return _work(settings, f"generate {system}", requests, progress, clock)


def run_tests(
    settings: Settings,
    suites: Sequence[str],
    *,
    everything: bool = False,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> WorkReport:
    """Run the tests of suites, named ``suite`` or ``system/suite``, or of all there are."""

    def requests(runtime: Runtime) -> list[JobRequest]:
        found = resolve_suites(runtime, suites, everything=everything)
        return [JobRequest(JobKind.TEST, each.id) for each in found]

    return _work(settings, "run-tests", requests, progress, clock)


def assess(settings: Settings, system: str, *, progress: Progress, clock: Clock = SYSTEM_CLOCK) -> WorkReport:
    """Profile a system, generate the tests of its suites and run them: all that a first look takes, in one go."""

    def requests(runtime: Runtime) -> list[JobRequest]:
        found = resolve_system(runtime, system)
        profiles = [JobRequest(JobKind.PROFILE, group.id) for group in _groups(found, None)]
        suites = _suites(found, None)
        return profiles + [
            JobRequest(kind, suite.id) for kind in (JobKind.GENERATE, JobKind.TEST) for suite in suites
        ]

    return _work(settings, f"assess {system}", requests, progress, clock)


def publish_waiting(
    settings: Settings,
    again: Sequence[str] = (),
    *,
    since: datetime | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> PublishReport:
    """Publish what waits in the stack, and the runs ``again``, named by id or its beginning or ``all``, again.

    It is work like any other: two commands that publish the same run would get into each other's way. Raises what
    ``publish`` raises, and ``UsageError`` for a run that there is not.
    """
    with (
        _session(settings, "publish", progress, clock) as session,
        state.saved_after(settings, session.runtime, "publish", progress=progress, clock=clock),
    ):
        named = _named(session.runtime, settings, again)
        return publish(settings, session.runtime, again=named, since=since, progress=progress, clock=clock)


def explain_publish(
    settings: Settings,
    again: Sequence[str] = (),
    *,
    since: datetime | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Explanation:
    """What ``publish_waiting`` would cost; nothing is published, and no warehouse asked."""
    with _session(settings, "publish --explain", progress, clock) as session:
        named = _named(session.runtime, settings, again)
        return explain(settings, session.runtime, again=named, since=since, progress=progress, clock=clock)


def _named(runtime: Runtime, settings: Settings, again: Sequence[str]) -> Again:
    if ALL in again:
        return ALL
    with results.open_reader(runtime, settings.stack) as reader:
        return [results.run_id(reader, each) for each in again]


def report_of(reader: MetadataReader, run_id: str, clock: Clock = SYSTEM_CLOCK) -> RunReport:
    """The report of a finished run, with the history of its suite."""
    content = results.run(reader, run_id)
    history = tuple(reversed(results.history(reader, content)))
    return build(content, history, generated_at=clock.now())


def _work(
    settings: Settings,
    doing: str,
    requests: Callable[[Runtime], list[JobRequest]],
    progress: Progress,
    clock: Clock,
) -> WorkReport:
    deadline = Deadline(settings.job_timeout, clock)
    with _session(settings, doing, progress, clock) as session:
        return session.finish(requests(session.runtime), deadline)


@contextmanager
def _session(settings: Settings, doing: str, progress: Progress, clock: Clock) -> Iterator[_Session]:
    runtime = open_runtime(settings, progress)
    with (
        runtime.metadata() as held,
        jobs.exclusive(held, settings.lock_timeout, f"dqctl {doing}", clock),
    ):
        settled = tuple(job.job_id for job in jobs.settle_orphans(runtime, keep_queued=runtime.record.scheduler))
        for job_id in settled:
            progress(f"job {job_id} had been left behind by a command that was killed; it is settled as canceled")
        yield _Session(settings, doing, runtime, progress, clock, settled)


def _groups(system: System, group: str | None) -> tuple[TableGroup, ...]:
    found = tuple(each for each in system.table_groups if group in (None, each.name))
    if not found:
        raise UsageError(
            f"system {system.name} has no table group {group!r}"
            if group
            else f"{system.name} has no table groups",
            f"it has: {', '.join(each.name for each in system.table_groups) or 'none; declare one and apply it'}",
        )
    return found


def _suites(system: System, suite: str | None) -> tuple[Suite, ...]:
    found = tuple(each for each in system.suites if suite in (None, each.name))
    if not found:
        raise UsageError(
            f"system {system.name} has no suite {suite!r}" if suite else f"system {system.name} has no suites",
            f"it has: {', '.join(each.name for each in system.suites) or 'none; declare one and apply it'}",
        )
    return found
