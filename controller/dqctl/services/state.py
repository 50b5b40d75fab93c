"""The state of a stack: TestGen's metadata, saved in Databricks whenever a command has changed it.

What leaves is what changed. A save that finds that another controller has saved meanwhile changes nothing, and
says so.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.target import Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import (
    Busy,
    DatabricksRefused,
    DqctlError,
    EnvironmentFault,
    NotPublished,
    UsageError,
)
from dqctl.progress import Progress, silent
from dqctl.runtime import Runtime, open_runtime
from dqctl.runtime.connection import be_patient
from dqctl.services import grants, state_replaced
from dqctl.services.keys import keys_of
from dqctl.services.state_commits import Committer, Saved, Stack, look, why_base
from dqctl.services.state_saved_tables import unless_missing
from dqctl.services.target import find_target, name_of_target, why_off
from dqctl.settings import Settings
from dqctl.tables import state as commits
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place
from dqctl.tables.state import Newest
from dqctl.testgen import exclusive
from dqctl.testgen.state import batch, book, capture

log = logging.getLogger(__name__)

# For another save of the same stack, which takes seconds.
_WAIT = 60.0
# For one statement of the metadata database: a purge of years of history may be one change.
_LONGEST = 600.0
_SAFE = (
    "what was done is safe in TestGen's database; the next command that changes something saves it too, or now: "
    "dqctl state save"
)

OpenWarehouse = Callable[[Target], AbstractContextManager[Statements]]


@dataclass(frozen=True)
class StateStatus:
    """How a stack's state is. ``off`` says why nothing is saved, and then nothing else is told.

    ``unsaved`` are rows that came or went since the commit ``seq``; ``next_is_base`` says why the next save will
    hold everything, if it will. ``is_captured``: every change of a saved table is written down. ``interrupted``: a
    save was begun and not ended; the next one finds out what became of it. ``remote`` is the newest commit that
    Databricks has, where it was asked for, and ``in_step`` whether it is the one that this stack saved last.
    """

    stack: str
    target: str | None
    off: str | None = None
    seq: int | None = None
    commit_id: str | None = None
    kind: str | None = None
    saved_at: datetime | None = None
    base_seq: int | None = None
    rows: int | None = None
    unsaved: int | None = None
    is_captured: bool = False
    interrupted: bool = False
    next_is_base: str | None = None
    remote: Newest | None = None
    in_step: bool | None = None


def save(
    settings: Settings,
    reason: str = "state save",
    *,
    take_over: bool = False,
    full: bool = False,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> Saved:
    """Save what changed since the last save; everything with ``full``.

    ``take_over``: everything, over whatever another controller has saved meanwhile, which stays as the commit
    before. Raises ``UsageError`` where no state is kept, and what ``save_of`` raises.
    """
    runtime = open_runtime(settings, progress)
    if off := why_off(settings, runtime.record):
        raise UsageError(f"the state of stack {settings.stack!r} is not saved: {off}", "see docs/state.md")
    return save_of(settings, runtime, reason, take_over=take_over, full=full, progress=progress, clock=clock)


def save_of(
    settings: Settings,
    runtime: Runtime,
    reason: str,
    *,
    take_over: bool = False,
    full: bool = False,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
    open_warehouse: OpenWarehouse | None = None,
) -> Saved:
    """Save the stack behind ``runtime``, which is up. Where nothing changed no statement runs at the warehouse.

    Raises ``Busy`` when another controller has saved since this one did, ``NotPublished`` when Databricks cannot
    be reached or refuses a statement, ``DatabricksRefused`` when it refuses the principal: whatever it is, the
    changes stay written down, and go with the next save.
    """
    wait = max(_WAIT, settings.lock_timeout)
    try:
        with (
            runtime.metadata() as connection,
            exclusive.alone(connection, exclusive.STATE, wait, clock),
            _in_each_others_way(),
        ):
            be_patient(connection, _LONGEST)
            # Read under the lock, which a rotation holds: with others what is saved now could not be restored.
            stack = Stack(settings.stack, runtime, keys_of(runtime.paths), reason, name_of_target(settings))
            committer = Committer(stack, connection, progress, clock)
            done = committer.nothing
            if committer.begin(everything=full or take_over):
                target = find_target(settings)
                opened = open_warehouse(target) if open_warehouse else Warehouse(target, clock, progress)
                with opened as warehouse, grants.named(warehouse, target):
                    done = committer.commit(warehouse, Place(target.catalog, target.schema), take_over=take_over)
    except psycopg.Error as error:
        raise EnvironmentFault(f"the state is not saved: {error}".strip(), _SAFE) from error
    except DatabricksRefused as refusal:
        raise DatabricksRefused(refusal.message, f"{refusal.hint}; {_SAFE}") from refusal
    except EnvironmentFault as fault:
        hint = f"{fault.hint}; {_SAFE}".removeprefix("; ")
        raise NotPublished(f"the state is not saved: {fault.message}", hint) from fault
    state_replaced.clear(runtime)
    return done


@contextlib.contextmanager
def _in_each_others_way() -> Iterator[None]:
    """Inside of the connection's block, which takes any ``OperationalError`` for a server that went away."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise Busy("another program keeps a table of TestGen's locked", _SAFE) from error
    except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
        raise Busy("another program changes the same of TestGen's tables", _SAFE) from error


def save_after(
    settings: Settings, runtime: Runtime, reason: str, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> DqctlError | None:
    """Save what a command has changed, where state is kept; what kept it from being saved, if anything did."""
    if why_off(settings, runtime.record):
        if settings.state == "off":
            _write_down_no_more(runtime)
        return None
    try:
        save_of(settings, runtime, reason, progress=progress, clock=clock)
    except DqctlError as error:
        return error
    return None


def _write_down_no_more(runtime: Runtime) -> None:
    """What nobody saves would grow for ever; should state be turned on again, the next save holds everything."""
    with contextlib.suppress(DqctlError), runtime.metadata() as connection:
        if capture.is_made(connection):
            # A job of TestGen's scheduler may have the tables: then after the next command.
            with contextlib.suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '2s'")
                capture.end(connection)


@contextlib.contextmanager
def saved_after(
    settings: Settings, runtime: Runtime, reason: str, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> Iterator[None]:
    """Whatever the block changes is saved when it ends, also when it ends by an error, which is the one raised.

    Raises what kept it from being saved: what was done is done all the same.
    """
    try:
        yield
    except DqctlError:
        if error := save_after(settings, runtime, reason, progress=progress, clock=clock):
            log.warning("%s", error.message)
        raise
    if error := save_after(settings, runtime, reason, progress=progress, clock=clock):
        raise error


def status(
    settings: Settings, *, remote: bool = False, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> StateStatus:
    """How the stack's state is; with ``remote`` Databricks' newest commit too, which may wake a warehouse."""
    runtime = open_runtime(settings, progress)
    if off := why_off(settings, runtime.record):
        return StateStatus(settings.stack, None, off)
    with runtime.metadata() as connection:
        found = status_of(settings, runtime, connection)
    return _with_remote(settings, found, progress, clock) if remote else found


def status_of(
    settings: Settings, runtime: Runtime, connection: "psycopg.Connection[tuple[object, ...]]"
) -> StateStatus:
    """The same through a connection that is open, without a look at Databricks. Changes nothing."""
    target = name_of_target(settings)
    if not capture.is_made(connection):
        return StateStatus(settings.stack, target, next_is_base="it was never saved")
    seen = look(connection, runtime.version)
    head, pending = seen.head, book.read_pending(connection)
    found = StateStatus(
        settings.stack,
        target,
        unsaved=batch.changes_waiting(connection),
        is_captured=seen.is_captured,
        interrupted=pending is not None,
        next_is_base=why_base(seen, pending, keys_of(runtime.paths).fingerprint, target),
    )
    if head is None:
        return found
    return StateStatus(
        **vars(found)
        | {
            "seq": head.seq,
            "commit_id": head.commit_id,
            "kind": head.kind,
            "saved_at": head.saved_at,
            "base_seq": head.base_seq,
            "rows": sum(rows for rows, _ in head.tables.values()),
        }
    )


def _with_remote(settings: Settings, found: StateStatus, progress: Progress, clock: Clock) -> StateStatus:
    target = find_target(settings)
    place = Place(target.catalog, target.schema)
    with Warehouse(target, clock, progress) as warehouse, grants.named(warehouse, target):
        there = unless_missing(lambda: commits.newest(warehouse, place, settings.stack))
    in_step = (there.commit_id if there else None) == found.commit_id
    return StateStatus(**vars(found) | {"remote": there, "in_step": in_step})
