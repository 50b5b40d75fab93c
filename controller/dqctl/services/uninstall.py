"""Taking a stack away: it stops; state and secrets stay unless they are purged.

Its schedules stop with it, purged or not: of a line that nobody took out of the crontab, cron would mail an error
every night, for ever. Their files are part of what stays, and the next install puts them back.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.runtime import controller, environments, metadata_template, runtime_of
from dqctl.services import schedule
from dqctl.services.standstill import standstill
from dqctl.settings import Settings
from dqctl.stack import backups, lock, upgrading
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record, write_record


@dataclass(frozen=True)
class UninstallReport:
    """What was done. ``kept`` is where state and secrets still are, None when there are none any more.

    ``project`` is the Lakebase project that still holds the metadata, ``backups`` how many are kept.
    ``state`` is where Databricks keeps what was saved of a stack that was purged, None where nothing is saved.
    ``schedules`` are those that were taken out of crontab and systemd.
    """

    stack: str
    changed: tuple[str, ...]
    kept: str | None
    project: str | None = None
    backups: int = 0
    state: str | None = None
    schedules: tuple[str, ...] = ()


def uninstall(
    settings: Settings, *, purge: bool, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> UninstallReport:
    """Stop the stack; with ``purge`` also remove its directory, and the programs that no other stack uses.

    With ``purge`` that is true of Lakebase, too: a project that dqctl made goes, one of somebody else keeps all
    but the stack's databases and role. Raises ``Busy`` when another command works on the stack,
    ``EnvironmentFault`` when PostgreSQL does not stop, or crontab or systemd keep a schedule; what Databricks says
    when Lakebase cannot be asked, and then the stack stays.
    """
    controller.require_host("dqctl uninstall")
    paths = StackPaths(settings.home, settings.stack)
    if not paths.root.is_dir():
        return UninstallReport(settings.stack, (), None)
    changed: list[str] = []
    with (
        lock.hold(paths.lock, "uninstall", timeout=settings.lock_timeout, progress=progress),
        # Whoever ends an upgrade that was interrupted has this one alone.
        lock.hold(upgrading.lock_file(paths), "uninstall", timeout=settings.lock_timeout, progress=progress),
    ):
        record = read_record(paths)
        if record:
            # Also of a stack whose upgrade was interrupted: it goes, whichever side counts.
            runtime = runtime_of(paths, record, progress, upgrading=True)
            with standstill(runtime, settings.lock_timeout, "dqctl uninstall"):
                # First: from here on no command starts PostgreSQL again.
                if record.installed:
                    write_record(paths, record.model_copy(update={"installed": False, "updated": clock.now()}))
                    changed.append("record")
                if runtime.down():
                    progress("everything of the stack is stopped")
                    changed.append("containers" if record.runtime == "docker" else "PostgreSQL")
                if purge:
                    runtime.remove()
            if purge and record.lakebase:
                from dqctl.services.lakebase import remove_lakebase  # Databricks takes long to import

                if removed := remove_lakebase(settings, paths, record, progress):
                    changed.append(removed)
        taken_out = schedule.take_out(settings)
        if taken_out:
            progress(f"taken out of crontab or systemd: {', '.join(taken_out)}")
            changed.append("schedules")
        if not purge:
            project = record.lakebase.project if record and record.lakebase else None
            kept = len(backups.listed(paths))
            return UninstallReport(
                settings.stack, tuple(changed), str(paths.root), project, kept, schedules=taken_out
            )
        state = _saved_in(settings, record)
        progress(f"removing {paths.root}")
        _remove(paths.root)
        changed.append("state and secrets")
    changed += _remove_programs(paths, record)
    return UninstallReport(settings.stack, tuple(changed), None, state=state, schedules=taken_out)


def _saved_in(settings: Settings, record: StackRecord | None) -> str | None:
    """Where the stack's state is, if it was ever saved: nobody is asked."""
    from dqctl.services.target import (
        name_of_target,  # Databricks takes long to import
        why_off,
    )

    return None if record is None or why_off(settings, record) else name_of_target(settings)


def _remove_programs(paths: StackPaths, purged: StackRecord | None) -> list[str]:
    """Remove what only the purged stack used; nothing when the programs lie elsewhere (behind a link)."""
    if purged is None or purged.runtime != "local" or paths.environments.is_symlink():
        return []
    others = [
        record
        for stack in paths.root.parent.iterdir()
        if (record := read_record(StackPaths(paths.home, stack.name))) is not None and record.runtime == "local"
    ]
    own = purged.lakebase is None
    removed = []
    if all(other.testgen_version != purged.testgen_version for other in others):
        _remove(environments.environment(paths.environments, purged.testgen_version).path)
        _remove(metadata_template.directory(paths, purged.testgen_version))
        removed.append(f"TestGen {purged.testgen_version}")
    if not others:
        _remove(paths.environments)
    if not others and own:
        removed.append(f"PostgreSQL {purged.postgres_version}")
    return removed


def _remove(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or directory} cannot be removed: {error.strerror}", "check its owner, then try again"
        ) from error
