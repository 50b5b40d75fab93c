"""The whole of it: up, the command or all tests, reports, down, whatever happens."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dqctl import signals
from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import DqctlError, ExitCode, TestGenFailed, worst
from dqctl.progress import Progress
from dqctl.report.model import RunReport
from dqctl.report.options import FailOn
from dqctl.services.ci import command, sweep
from dqctl.services.ci.down import take_down
from dqctl.services.ci.environment import NOT_INHERITED
from dqctl.services.ci.record import CiPaths, Record
from dqctl.services.ci.remains import COOKIE
from dqctl.services.ci.up import EphemeralStack, Wanted, new_name, up
from dqctl.settings import Settings, variable
from dqctl.testgen import standby

if TYPE_CHECKING:
    from dqctl.report.review import Baseline, Review
    from dqctl.services.work import WorkReport

LOGS = "logs"


@dataclass(frozen=True)
class Ran:
    """What came of it. ``command`` is the exit code of the command that was run; without one ``work`` is what all
    tests came to. ``reports`` are the newest runs of all suites, ``files`` what was written of them, ``review``
    what became of tests since the base's run.
    """

    name: str
    reports: tuple[RunReport, ...]
    files: tuple[Path, ...]
    seconds: float
    command: int | None = None
    work: "WorkReport | None" = None
    errors: tuple[DqctlError, ...] = ()
    review: "Review | None" = None

    def exit_code(self, fail_on: FailOn | None = None) -> ExitCode:
        """The worst of what happened, but for the command, whose own exit code counts."""
        codes = [error.exit_code for error in self.errors]
        if self.work is None:
            return worst(codes)
        has_base = self.review is not None and self.review.has_base
        return worst([*codes, self.review.exit_code if has_base and self.review else self.work.exit_code(fail_on)])


def run(
    settings: Settings,
    wanted: Wanted,
    argv: Sequence[str] = (),
    *,
    folder: Path | None = None,
    fail_on: FailOn | None = None,
    stdout: Literal["stdout", "stderr"] = "stdout",
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> Ran:
    """Make a stack, run ``argv`` with the environment that leads to it, or all tests, and take it down.

    With a baseline in the settings all tests fail only on what is newly broken; the command finds it in its
    environment. ``folder`` gets reports and logs. Raises what ``up`` raises; nothing of the stack is left then,
    either.
    """
    if argv:
        command.require(argv)
    baseline = None
    if settings.baseline:
        from dqctl.report.baseline import read_baseline  # hardly any run has one

        baseline = read_baseline(settings.baseline, optional=settings.baseline_optional)
    started = clock.monotonic()
    deadline = Deadline(wanted.ttl.total_seconds(), clock)
    sweep.sweep_in_passing(settings, clock)
    wanted = replace(wanted, name=wanted.name or new_name(), owned=True, command=bool(argv))
    paths = CiPaths(settings.home, wanted.name or "")
    watcher = sweep.Watcher(settings, paths.name)

    def keep_logs(made: Record) -> tuple[Path, ...]:
        if folder is None:
            return ()
        from dqctl.services.ci import artifacts  # what takes long to import is imported while the stack is made

        return artifacts.write_logs(paths, made, folder / LOGS)

    stack: EphemeralStack | None = None
    try:
        try:
            # Without a command, who stands by for the systems file stays for the tests.
            with contextlib.nullcontext() if argv else standby.expected(deadline):
                stack = up(settings, wanted, on_failure=keep_logs, progress=progress, clock=clock)
                with signals.unwinding():
                    found = _inside(stack, argv, deadline, stdout, progress, clock)
            with command.undisturbed():
                found = _kept(stack, found, folder, fail_on, baseline, keep_logs)
        finally:
            if stack:
                with command.undisturbed():
                    take_down(paths, settings)
    finally:
        with command.undisturbed():
            # With a stack that is still there it is left waiting: it takes that down when this process ends.
            if not paths.record.exists():
                watcher.dismiss()
    return replace(found, seconds=clock.monotonic() - started)


def _inside(
    stack: EphemeralStack,
    argv: Sequence[str],
    deadline: Deadline,
    stdout: str,
    progress: Progress,
    clock: Clock,
) -> Ran:
    nothing = Ran(stack.name, (), (), 0.0)
    try:
        if argv:
            progress(f"{stack.name} is up: {argv[0]}")
            environment = command_environment(stack)
            return replace(
                nothing, command=command.attend(argv, environment, deadline, quiet_stdout=stdout == "stderr")
            )
        from dqctl.services import work  # see keep_logs

        settings = stack.settings.model_copy(
            update={"job_timeout": max(1.0, min(stack.settings.job_timeout, deadline.left))}
        )
        report = work.check_all(settings, progress=progress, clock=clock)
    except DqctlError as error:
        return replace(nothing, errors=(error,))
    empty = [each for each in report.reports if each.run.kind == "test" and not each.tally.total]
    errors = tuple(
        TestGenFailed(
            f"suite {each.run.system}/{each.name} has no tests: its tables are not there, or none were made",
            "see that its schema is the one that is seeded, and what its table group includes",
        )
        for each in empty
    )
    return replace(nothing, work=report, errors=(*report.errors, *errors))


def _kept(
    stack: EphemeralStack,
    found: Ran,
    folder: Path | None,
    fail_on: FailOn | None,
    baseline: "Baseline | None",
    keep_logs: Callable[[Record], tuple[Path, ...]],
) -> Ran:
    """What is kept of the stack: ``found`` with the reports, and the files of it."""
    from dqctl.report.review import review  # see keep_logs
    from dqctl.services.ci import artifacts

    if found.work:
        reports = tuple(each for each in found.work.standing if each.run.kind == "test")
    else:
        reports = artifacts.newest_runs(stack) if folder else ()
    reviewed = review(
        reports,
        lambda each: found.work.fails_on(each, fail_on) if found.work else fail_on or FailOn.FAIL,
        baseline,
        found.work.not_run if found.work else (),
    )
    found = replace(found, reports=reports, review=reviewed)
    if folder is None:
        return found
    try:
        files = artifacts.write_reports(reports, folder, fail_on or FailOn.FAIL)
        files += artifacts.write_summary(reviewed, folder)
        return replace(found, files=(*files, *keep_logs(stack.record)))
    except DqctlError as error:
        return replace(found, errors=(*found.errors, error))


def command_environment(stack: EphemeralStack) -> dict[str, str]:
    """The environment of a command inside: ours, with what leads to the stack, without what leads past it."""
    ours = dict(os.environ)
    if stack.settings.workspace is not None:
        ours = {name: value for name, value in ours.items() if name not in NOT_INHERITED}
    found = {**ours, **stack.environment, **stack.secrets}
    if stack.settings.baseline:
        found[variable("baseline")] = str(stack.settings.baseline)
        found[variable("baseline_optional")] = str(stack.settings.baseline_optional)
    if stack.record.command:
        found[COOKIE] = stack.record.command.cookie
    return found
