"""Everything that is looked at, and what comes of it."""

import time
from dataclasses import dataclass

import dqctl
from dqctl.errors import ExitCode, worst
from dqctl.services.doctor import databricks, grants, leftovers, machine, metadata, rounds, stack, state
from dqctl.services.doctor.findings import Check, Finding, Verdict
from dqctl.services.doctor.subject import Subject
from dqctl.settings import Settings


@dataclass(frozen=True)
class Diagnosis:
    """All findings about a stack. ``seconds`` is the time that the checks took together."""

    stack: str
    home: str
    runtime: str
    dqctl_version: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def exit_code(self) -> ExitCode:
        """The worst of what failed; warnings do not count."""
        failures = [finding for finding in self.findings if finding.verdict is Verdict.FAILED]
        return worst([ExitCode.DATABRICKS_REFUSED if each.refused else ExitCode.ENVIRONMENT for each in failures])


def examine(settings: Settings) -> Diagnosis:
    """Look at everything at once; nothing is started, woken or changed.

    ``settings.runtime`` says where a stack that is not installed yet is going to run.
    """
    started = time.monotonic()
    subject = Subject(settings)
    findings = rounds.run_all(checks_for(subject), subject)
    return Diagnosis(
        stack=settings.stack,
        home=str(settings.home),
        runtime=subject.kind,
        dqctl_version=dqctl.__version__,
        findings=findings,
        seconds=round(time.monotonic() - started, 3),
    )


def checks_for(subject: Subject) -> tuple[Check, ...]:
    """The checks that make sense for where the stack runs, and for whether there is one."""
    # Of a stack that is not there one check says so; an uninstalled one keeps its files.
    installed = subject.record is not None or subject.paths.record.exists()
    if subject.kind == "docker":
        from dqctl.services.doctor import containers, engine  # the SDK takes a third of a second to import

        of_runtime: tuple[Check, ...] = (*engine.CHECKS, *(containers.CHECKS if installed else ()))
        of_server: tuple[Check, ...] = containers.SERVER_CHECKS if installed else ()
    else:
        of_runtime = stack.LOCAL_CHECKS if installed else ()
        of_server = metadata.LOCAL_CHECKS if installed else ()
    if subject.record and subject.record.lakebase:
        from dqctl.services.doctor import lakebase

        of_server = lakebase.CHECKS
    of_stack = stack.CHECKS if installed else (stack.record, stack.config_env)
    return (
        *machine.CHECKS,
        *of_stack,
        *of_runtime,
        *of_server,
        *((*metadata.CHECKS, *state.CHECKS) if installed else ()),
        *databricks.CHECKS,
        *grants.CHECKS,
        *leftovers.CHECKS,
    )
