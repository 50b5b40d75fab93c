"""What lies or runs in the home of all stacks and belongs to none of them."""

import contextlib
from pathlib import Path

from dqctl.errors import DqctlError
from dqctl.report.words import counted
from dqctl.services.doctor.findings import Finding, check, ok, warning
from dqctl.services.doctor.subject import Subject
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record


@check("leftovers.stacks")
def stacks(subject: Subject) -> Finding:
    """Directories of stacks without a record: an install that was interrupted early, or a record that is lost."""
    home = subject.settings.home
    names = [path.name for path in sorted((home / "stacks").glob("*")) if path.is_dir()]
    lost = [name for name in names if not StackPaths(home, name).record.exists()]
    if not lost:
        return ok(f"{counted(len(names), 'stack')} in {home}, each with its record")
    return warning(
        f"without a record: {', '.join(lost)}",
        f"dqctl --stack {lost[0]} install (completes it), or: dqctl --stack {lost[0]} uninstall --purge",
    )


@check("leftovers.processes")
def processes(subject: Subject) -> Finding:
    """Servers that run in a stack which is not installed (any more)."""
    stacks_directory = (subject.settings.home / "stacks").resolve()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            inside = (process / "cwd").readlink().relative_to(stacks_directory).parts
            if inside and not _installed(subject.settings.home, inside[0]):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.append((inside[0], f"{name}, process {process.name}"))
    if not found:
        return ok("no process of a stack that is not installed")
    stack, process_name = found[0]
    return warning(
        f"{len(found)} processes of stacks that are not installed, such as {process_name} of {stack}",
        f"dqctl --stack {stack} uninstall (stops them), or: dqctl --stack {stack} install",
    )


def _installed(home: Path, stack: str) -> bool:
    try:
        record = read_record(StackPaths(home, stack))
    except DqctlError:  # a record of a newer dqctl: somebody's all the same
        return True
    return record is not None and record.installed


CHECKS = (stacks, processes)
