"""Removing what is left of ephemeral stacks that nobody needs: they expired, or their owner is dead.

Nothing else is touched: what has neither record nor label of ours, what has not expired while nobody can say that
its owner is dead, what another home's record keeps.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dqctl import processes
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, EnvironmentFault
from dqctl.progress import Progress
from dqctl.services.ci import record
from dqctl.services.ci.down import take_down
from dqctl.services.ci.owner import Owner
from dqctl.services.ci.record import CiPaths, Record
from dqctl.settings import Settings
from dqctl.stack import labels

if TYPE_CHECKING:
    from dqctl.runtime.belongings import Belonging

EXPIRED = "expired"
ORPHANED = "its owner is dead"


@dataclass(frozen=True)
class Leftover:
    """Something that nobody needs: ``kind`` is stack, directory, container, network, volume or schema."""

    kind: str
    name: str
    why: str


@dataclass(frozen=True)
class Swept:
    """What was removed, or would be; ``errors`` say what could not be, and stays for the next time."""

    leftovers: tuple[Leftover, ...]
    errors: tuple[DqctlError, ...] = ()


def is_over(found: Record, clock: Clock) -> bool:
    """Whether nobody needs the stack any more."""
    return _why(found.owner, found.expires, clock.now()) is not None


def sweep(
    settings: Settings, *, dry_run: bool, databricks: bool, progress: Progress, clock: Clock = SYSTEM_CLOCK
) -> Swept:
    """Remove what nobody needs; with ``databricks`` also schemas of the workspace that is set, whoever made them.

    Whatever cannot be removed is an error of the report and keeps nobody else.
    """
    swept: list[Leftover] = []
    errors: list[DqctlError] = []

    def attempt(leftover: Leftover, remove: Callable[[], object]) -> None:
        try:
            if not dry_run:
                remove()
                progress(f"removed {leftover.kind} {leftover.name}: {leftover.why}")
            swept.append(leftover)
        except DqctlError as error:
            errors.append(error)

    for look in (_stacks, _directories, _of_engine, *([_schemas] if databricks else [])):
        try:
            for leftover, remove in look(settings, clock, errors):
                attempt(leftover, remove)
        except DqctlError as error:
            errors.append(error)
    return Swept(tuple(swept), tuple(errors))


def sweep_in_passing(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
    """Have processes of their own take down what nobody needs; nobody waits for them."""
    for name in record.names(settings.home):
        try:
            found = record.read(CiPaths(settings.home, name))
        except EnvironmentFault:  # said by whoever names it
            continue
        if found and is_over(found, clock):
            # Reaped by nobody: it outlives us, or we end soon.
            processes.leave_behind(_watcher(settings, name), environment=os.environ, told=False).returncode = 0


class Watcher:
    """A process that takes the stack down should this one end before it has; see ``dqctl.services.ci.watcher``."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._process = processes.leave_behind(_watcher(settings, name), environment=os.environ, told=True)

    def dismiss(self) -> None:
        """All is down: there is nothing left to watch."""
        from dqctl.services.ci.watcher import DONE

        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            with pipe:
                pipe.write(DONE)
        except BrokenPipeError:  # somebody has killed it
            pass
        self._process.wait()


def _watcher(settings: Settings, name: str) -> list[str]:
    return [sys.executable, "-P", "-m", "dqctl.services.ci.watcher", str(settings.home), name]


Look = Iterator[tuple[Leftover, Callable[[], object]]]


def _stacks(settings: Settings, clock: Clock, errors: list[DqctlError]) -> Look:
    for name in record.names(settings.home):
        paths = CiPaths(settings.home, name)
        try:
            found = record.read(paths)
        except EnvironmentFault as damaged:  # the others are swept all the same
            errors.append(damaged)
            continue
        if found and (why := _why(found.owner, found.expires, clock.now())):

            def remove(paths: CiPaths = paths) -> None:
                take_down(paths, settings, wanted=lambda now: is_over(now, clock), settle=True)

            yield Leftover("stack", name, why), remove


def _directories(settings: Settings, clock: Clock, errors: list[DqctlError]) -> Look:
    del clock, errors
    for path in record.half_made(settings.home):

        def remove(path: "os.PathLike[str]" = path) -> None:
            shutil.rmtree(path, ignore_errors=True)

        yield Leftover("directory", str(path), ORPHANED), remove


def _of_engine(settings: Settings, clock: Clock, errors: list[DqctlError]) -> Look:
    """What an engine has and no record tells of: made elsewhere, or its directory was deleted."""
    del errors
    from dqctl.runtime import engine  # the engine's SDK, which not every sweep needs

    if not engine.is_there():
        return
    from dqctl.runtime import belongings

    kept = {str(CiPaths(settings.home, name).stack.root) for name in record.names(settings.home)}
    for each in belongings.find():
        if each.labels.get(labels.ROOT) in kept:
            continue
        if why := _why_of(each, clock.now()):

            def remove(each: "Belonging" = each) -> None:
                belongings.remove_all([each])

            yield Leftover(each.kind, each.name, why), remove


def _schemas(settings: Settings, clock: Clock, errors: list[DqctlError]) -> Look:
    del errors
    from dqctl.databricks.warehouse import Warehouse  # takes long to import
    from dqctl.services.ci import schemas
    from dqctl.services.target import find_target

    target = find_target(settings)
    with Warehouse(target, clock) as warehouse:
        for each in schemas.find(warehouse, target.catalog):
            if each.expires <= clock.now():

                def remove(each: schemas.ThrowAwaySchema = each) -> None:
                    schemas.drop_all(warehouse, [each])

                yield Leftover("schema", f"{each.catalog}.{each.schema}", EXPIRED), remove


def _why(owner: Owner | None, expires: datetime | None, now: datetime) -> str | None:
    if expires is not None and expires <= now:
        return EXPIRED
    return ORPHANED if owner is not None and owner.is_dead else None


def _why_of(found: "Belonging", now: datetime) -> str | None:
    """Why nobody needs a thing of an engine, by its labels; what they say nothing readable of stays."""
    owner = Owner.read(found.labels.get(labels.OWNER, ""))
    try:
        expires = datetime.fromisoformat(found.labels[labels.EXPIRES])
    except (KeyError, ValueError):
        return None
    return _why(owner, expires if expires.tzinfo else expires.replace(tzinfo=UTC), now)
