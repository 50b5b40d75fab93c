"""The work: profile, generate, run tests. Each publishes, and saves the state, before it returns.

Whatever happens to one of several jobs, those that finished are published; what could not be published waits in
TestGen's database and goes with the next command that publishes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import Busy, UsageError
from dqctl.progress import Progress
from dqctl.runtime import Runtime
from dqctl.services import results, state
from dqctl.services.alerts import raise_alerts
from dqctl.services.explain import Explanation, explain
from dqctl.services.export_runs import ExportReport, hand_over_after
from dqctl.services.publish import PublishReport, publish
from dqctl.services.systems import (
    Suite,
    System,
    TableGroup,
    list_systems,
    resolve_suites,
    resolve_system,
)
from dqctl.services.waiting import ALL, Again
from dqctl.services.work_session import Course, WorkReport, report_of, session, shared_session
from dqctl.settings import Settings
from dqctl.testgen import jobs
from dqctl.testgen.jobs import JobKind, JobRequest

__all__ = [
    "Limits",
    "WorkReport",
    "assess",
    "check_all",
    "explain_publish",
    "generate",
    "profile",
    "publish_waiting",
    "report_of",
    "run_tests",
]


@dataclass(frozen=True)
class Limits:
    """What ``run_tests`` keeps to: suites side by side, seconds for one of them, whether one is tried twice."""

    at_once: int = 1
    suite_timeout: float | None = None
    retry: bool = True


def profile(
    settings: Settings, system: str, group: str | None = None, *, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> WorkReport:
    """Profile a system's table groups, or one of them."""

    def requests(runtime: Runtime) -> dict[str, JobRequest]:
        found = _groups(resolve_system(runtime, system), group)
        return {each.name: JobRequest(JobKind.PROFILE, each.id) for each in found}

    return _work(settings, f"profile {system}", requests, progress, clock)


def generate(
    settings: Settings, system: str, suite: str | None = None, *, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> WorkReport:
    """Generate the tests of a system's suites, or of one, from the newest profile of their tables."""

    def requests(runtime: Runtime) -> dict[str, JobRequest]:
        found = _suites(resolve_system(runtime, system), suite)
        return {each.path: JobRequest(JobKind.GENERATE, each.id) for each in found}

    return _work(settings, f"generate {system}", requests, progress, clock)


def run_tests(
    settings: Settings,
    suites: Sequence[str] = (),
    *,
    systems: Sequence[str] = (),
    everything: bool = False,
    limits: Limits = Limits(),
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> WorkReport:
    """Run the tests of suites, by name or pattern, of systems, or of all there are (``resolve_suites``).

    Other commands may test other suites of the stack meanwhile. A suite that one of them tests is waited for
    (``lock_timeout``), then left out and an error of the report; ``Busy`` is raised when that leaves none.
    """
    deadline = Deadline(settings.job_timeout, clock)
    with shared_session(settings, "run-tests", progress, clock) as opened:
        found = resolve_suites(opened.runtime, suites, systems=systems, everything=everything)
        ids = [suite.id for suite in found]
        with jobs.suites(opened.connection, ids, settings.lock_timeout, clock) as others:
            busy = [_busy(suite, others[suite.id]) for suite in found if suite.id in others]
            if len(busy) == len(found):
                raise busy[0]
            mine = [suite for suite in found if suite.id not in others]
            opened.settle([suite.id for suite in mine])
            requests = {suite.path: JobRequest(JobKind.TEST, suite.id, limits.suite_timeout) for suite in mine}
            return opened.finish(requests, deadline, Course(limits.at_once, limits.retry), busy)


def _busy(suite: Suite, holder: str) -> Busy:
    return Busy(
        f"suite {suite.path} is busy: {holder}",
        "try again when it is done, or wait for it with --wait or DQCTL_LOCK_TIMEOUT=<seconds>",
    )


def assess(settings: Settings, system: str, *, progress: Progress, clock: Clock = SYSTEM_CLOCK) -> WorkReport:
    """Profile a system, generate the tests of its suites and run them: all that a first look takes, in one go."""

    def requests(runtime: Runtime) -> dict[str, JobRequest]:
        found = resolve_system(runtime, system)
        wanted = {f"profile of {each.name}": JobRequest(JobKind.PROFILE, each.id) for each in _groups(found, None)}
        for kind in (JobKind.GENERATE, JobKind.TEST):
            wanted |= {f"{kind} of {suite.path}": JobRequest(kind, suite.id) for suite in _suites(found, None)}
        return wanted

    return _work(settings, f"assess {system}", requests, progress, clock)


def check_all(
    settings: Settings, *, limits: Limits = Limits(), progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> WorkReport:
    """Run the tests of all suites; those of a suite that has none are made before, from a profile of its tables.

    ``UsageError`` when nothing is declared.
    """

    def requests(runtime: Runtime) -> dict[str, JobRequest]:
        groups = [group for system in list_systems(runtime) for group in system.table_groups]
        suites = [suite for group in groups for suite in group.suites]
        if not suites:
            raise UsageError("no suite is declared", "declare one in a systems file, and name it with -f")
        bare = [suite for suite in suites if not suite.tests]
        without = {suite.table_group_id for suite in bare}
        return {
            **{
                f"profile of {each.name}": JobRequest(JobKind.PROFILE, each.id)
                for each in groups
                if each.id in without
            },
            **{f"generation of {each.path}": JobRequest(JobKind.GENERATE, each.id) for each in bare},
            **{each.path: JobRequest(JobKind.TEST, each.id, limits.suite_timeout) for each in suites},
        }

    return _work(settings, "check of all suites", requests, progress, clock)


def publish_waiting(
    settings: Settings,
    again: Sequence[str] = (),
    *,
    since: datetime | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[PublishReport, ExportReport | None]:
    """Publish what waits in the stack, and the runs ``again``, named by id or its beginning or ``all``, again.

    It is work like any other: two commands that publish the same run would get into each other's way. What was
    published, and what was exported after it, where that is wanted. Raises what ``publish`` raises, and
    ``UsageError`` for a run that there is not.
    """
    with (
        session(settings, "publish", progress, clock) as opened,
        state.saved_after(settings, opened.runtime, "publish", progress=progress, clock=clock),
    ):
        named = _named(opened.runtime, settings, again)
        try:
            report = publish(settings, opened.runtime, again=named, since=since, progress=progress, clock=clock)
        finally:
            for error in raise_alerts(settings, opened.runtime, progress=progress, clock=clock).errors:
                progress(f"{error.message}; {error.hint}")
        return report, hand_over_after(settings, opened.runtime, progress=progress, clock=clock)


def explain_publish(
    settings: Settings,
    again: Sequence[str] = (),
    *,
    since: datetime | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Explanation:
    """What ``publish_waiting`` would cost; nothing is published, and no warehouse asked."""
    with session(settings, "publish --explain", progress, clock) as opened:
        named = _named(opened.runtime, settings, again)
        return explain(settings, opened.runtime, again=named, since=since, progress=progress, clock=clock)


def _named(runtime: Runtime, settings: Settings, again: Sequence[str]) -> Again:
    if ALL in again:
        return ALL
    with results.open_reader(runtime, settings.stack) as reader:
        return [results.run_id(reader, each) for each in again]


def _work(
    settings: Settings,
    doing: str,
    requests: Callable[[Runtime], dict[str, JobRequest]],
    progress: Progress,
    clock: Clock,
) -> WorkReport:
    deadline = Deadline(settings.job_timeout, clock)
    with session(settings, doing, progress, clock) as opened:
        return opened.finish(requests(opened.runtime), deadline)


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
