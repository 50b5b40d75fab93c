"""The way back: TestGen's metadata out of its state in Databricks, whole and compared, or not at all.

A restore is made as a database beside the stack's own, which takes its name when it is complete and equal to what
was saved, table by table. Killed before that, nothing has changed.
"""

import contextlib
import itertools
import logging
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import Progress, silent
from dqctl.redaction import reveal
from dqctl.report.words import counted
from dqctl.runtime import Runtime, aside, find_runtime, metadata, upgrade
from dqctl.runtime.connection import be_patient
from dqctl.services import grants, state_replaced
from dqctl.services.keys import keys_of
from dqctl.services.space import require_space
from dqctl.services.standstill import standstill
from dqctl.services.state_commits import look, why_base
from dqctl.services.state_replaced import REPLACED
from dqctl.services.state_saved_tables import unless_missing
from dqctl.services.target import find_target, name_of_target, why_off
from dqctl.settings import Settings
from dqctl.stack import lock
from dqctl.stack.secrets import read_secret
from dqctl.tables import state as commits
from dqctl.tables import state_reading
from dqctl.tables.side_by_side import SideBySide
from dqctl.tables.sql import Place
from dqctl.tables.state_reading import SavedState
from dqctl.testgen import exclusive
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.state import batch, book, capture, ddl, saved
from dqctl.testgen.state.book import Head
from dqctl.testgen.state.restoring import Prepared, Restoring, differences
from dqctl.testgen.state.saved import Connection
from dqctl.testgen.state.sealing import Keys

log = logging.getLogger(__name__)

RESTORING = "datakitchen_restoring"
_STATE_WAIT = 60.0  # seconds for a save that is under way
PATIENCE = 900.0  # seconds for one statement: an index, or a checksum, over all rows of a table
_ROW_BYTES = 2_000  # that a row takes with its indexes, generously
_SPEAK_ROWS = 200_000
_LANES = 2  # statements whose rows are fetched side by side
_CARRY = (
    "where the keys are: dqctl credentials export --file FILE --passphrase-file P; here, before the stack is "
    "installed: dqctl credentials import --file FILE --passphrase-file P. Nothing was changed. If they are lost "
    "for good, begin anew with another --stack"
)


@dataclass(frozen=True)
class Restored:
    """What a restore did. ``aside`` is the database that the one of before is kept as, None when it is dropped.

    ``is_newest``: nothing was saved after the commit; otherwise the next save puts everything on top as a commit
    of its own.
    """

    stack: str
    seq: int
    commit_id: str
    saved_at: datetime
    testgen_version: str
    tables: int
    rows: int
    is_newest: bool
    aside: str | None
    seconds: float


def restore(
    settings: Settings,
    *,
    commit: int | None = None,
    as_of: datetime | None = None,
    replace: bool = False,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> Restored:
    """Make the stack's metadata what it was as of a commit: number ``commit``, the last at ``as_of``, the newest.

    A database with changes that are in no commit is left alone, unless ``replace``: then it is put aside. Raises
    ``UsageError`` for that, for keys or a version that are not the state's and for a commit that is not there,
    ``Busy`` when a command works on the stack, ``EnvironmentFault`` when what was restored is not what was saved.
    """
    runtime = find_runtime(settings, progress)
    _require_on(settings, runtime)
    with lock.hold(runtime.paths.lock, "state restore", timeout=settings.lock_timeout, progress=progress):
        with reading(settings, progress, clock) as source:
            upgrade.recover(settings, runtime.paths, progress)
            runtime = find_runtime(settings, progress)
            state = source.require(commit, as_of)
            require_fit(state, keys_of(runtime.paths), runtime.version)
            runtime.start_server()
            done = make(settings, runtime, source, state, replace=replace, progress=progress, clock=clock)
        runtime.up()
    return done


@dataclass(frozen=True)
class Source:
    """Where a stack's state is read. ``target`` is the name that a head knows the place by."""

    stack: str
    target: str
    place: Place
    warehouse: Warehouse

    def find(self, commit: int | None = None, as_of: datetime | None = None) -> SavedState | None:
        """The state as of a commit, None when there is none."""
        return unless_missing(
            lambda: state_reading.find(self.warehouse, self.place, self.stack, seq=commit, as_of=as_of)
        )

    def require(self, commit: int | None = None, as_of: datetime | None = None) -> SavedState:
        """The state as of a commit; ``UsageError`` when there is none."""
        found = self.find(commit, as_of)
        if found is None:
            which = (
                f"commit {commit}"
                if commit is not None
                else f"commit of {as_of:%Y-%m-%d %H:%M:%S} UTC or before"
                if as_of
                else "state"
            )
            raise UsageError(
                f"there is no {which} of stack {self.stack!r} in {self.place.catalog}.{self.place.schema}",
                "dqctl state status --remote names the newest; dqctl state save saves one",
            )
        return found


@contextlib.contextmanager
def reading(settings: Settings, progress: Progress, clock: Clock) -> Iterator[Source]:
    """The state of a stack, while the block runs."""
    target = find_target(settings)
    with Warehouse(target, clock, progress) as warehouse, grants.named(warehouse, target):
        yield Source(settings.stack, name_of_target(settings), Place(target.catalog, target.schema), warehouse)


def require_fit(state: SavedState, keys: Keys | None, version: str) -> None:
    """``UsageError`` when a stack with ``keys`` and ``version`` of TestGen cannot work with ``state``."""
    when = f"commit {state.seq} of {state.saved_at:%Y-%m-%d %H:%M} UTC"
    if keys is None or keys.fingerprint != state.keys:
        lacking = "there are none here" if keys is None else "this stack has others"
        raise UsageError(
            f"the state of stack {state.stack!r} ({when}) needs the keys it was saved with: {lacking}", _CARRY
        )
    capabilities(state.testgen_version)
    if state.testgen_version != version:
        raise UsageError(
            f"the state of stack {state.stack!r} ({when}) is of TestGen {state.testgen_version}, not of {version}",
            "nothing was changed: a stack that is installed anew (without --version) takes the state's version; "
            "then: dqctl upgrade",
        )


def fill(runtime: Runtime, source: Source, state: SavedState, database: str, progress: Progress) -> None:
    """Make ``database`` of ``state``, in place of one of that name, and compare; its head is the state's commit.

    Raises ``EnvironmentFault`` when what came out is not what was saved; the database is to be dropped then.
    """
    server = runtime.postgres
    free = metadata.free_space(server)
    if free is not None:
        require_space(free, state.rows * _ROW_BYTES, "a copy of the metadata")
    progress(f"restoring commit {state.seq}: {counted(state.rows, 'row')}")
    metadata.create_database(server, database)
    try:
        with server.connect(database) as connection:
            be_patient(connection, PATIENCE)
            password = reveal(read_secret(runtime.paths, "postgres_password")).encode()
            ddl.ensure_roles(connection, ddl.roles(state.schema), password)
            restoring = Restoring(connection, state.schema, keys_of(runtime.paths).open)
            restoring.begin()
            progress("the schema is made")
            _put_rows(restoring, source, state, progress)
            progress("the rows are in: making keys and indexes, comparing")
            with server.connect(database) as helper:
                be_patient(helper, PATIENCE)
                found = restoring.finish(state.sequences, helper)
            if differing := differences(state.tables, found):
                raise _not_equal(state, differing)
            book.write_head(connection, _head(connection, source, state))
            connection.commit()
    except (psycopg.Error, ValueError, LookupError) as error:
        raise _not_equal(state, [_reason(error)]) from error
    progress("the restored database equals what was saved")


def _put_rows(restoring: Restoring, source: Source, state: SavedState, progress: Progress) -> None:
    # Threads fetch and prepare, each its own statements, while this one feeds PostgreSQL.
    statements = state_reading.rows(source.warehouse, source.place, state)
    beside = SideBySide(_LANES)

    def begin(lane: Iterator[Prepared]) -> tuple[Future[Prepared | None], Iterator[Prepared]]:
        return beside.begin(lambda: next(lane, None)), lane

    coming = dict(
        begin(map(restoring.prepare, itertools.chain.from_iterable(statements[number::_LANES])))
        for number in range(_LANES)
    )
    done = said = 0
    while coming:
        for future in wait(coming, return_when=FIRST_COMPLETED).done:
            lane = coming.pop(future)
            prepared = future.result()
            if prepared is None:
                continue
            coming |= [begin(lane)]
            done += restoring.put(prepared)
            if done - said >= _SPEAK_ROWS:
                said = done
                progress(f"restoring commit {state.seq}: {done:,} of {state.rows:,} rows")


def _head(connection: Connection, source: Source, state: SavedState) -> Head:
    # On top of an older commit a delta would be no child of the newest: the next save holds everything.
    own = saved.fingerprint(saved.relations(connection), state.testgen_version)
    return Head(
        commit_id=state.newest[1],
        seq=state.newest[0],
        base_seq=state.base_seq if state.is_newest else state.newest[0],
        kind="base" if state.kind == "base" else "delta",
        saved_at=state.saved_at,
        fingerprint=own if state.is_newest else f"{book.OLDER}{state.seq}",
        keys=state.keys,
        tables=state.tables,
        sequences=state.sequences,
        target=source.target,
        delta_rows=state_reading.delta_rows(source.warehouse, source.place, state),
    )


def make(
    settings: Settings,
    runtime: Runtime,
    source: Source,
    state: SavedState,
    *,
    replace: bool = False,
    progress: Progress,
    clock: Clock,
) -> Restored:
    """``restore`` of a state that fits, for whoever holds the stack's lock; its server is up."""
    started = clock.monotonic()
    server = runtime.postgres
    doing = "dqctl state restore"
    with (
        standstill(runtime, settings.lock_timeout, doing),
        aside.throw_away(runtime, RESTORING, doing=doing, timeout=settings.lock_timeout, progress=progress),
        contextlib.ExitStack() as held,
    ):
        connection = held.enter_context(runtime.metadata()) if metadata.database_exists(server) else None
        keep = False
        if connection is not None:
            held.enter_context(exclusive.alone(connection, exclusive.STATE, _STATE_WAIT, clock))
            _require_newest(source, state)
            losing = _would_be_lost(runtime, connection, source)
            if losing and not replace:
                raise UsageError(
                    f"the stack's metadata database has what is in no commit: {losing}",
                    "nothing was changed. Save it first: dqctl state save; or replace it all the same: --replace "
                    f"keeps it as the database {REPLACED} until the next restore",
                )
            keep = bool(losing)
        fill(runtime, source, state, RESTORING, progress)
        metadata.drop_database(server, REPLACED)
        if connection is not None:
            state_replaced.note(connection, expendable=not keep)
        moves = [(metadata.DATABASE, REPLACED)] if connection is not None else []
        metadata.rename_databases(server, [*moves, (RESTORING, metadata.DATABASE)])
        progress("the restored database is the stack's own")
        keep = connection is not None and not state_replaced.drop_expendable(runtime)
    return Restored(
        settings.stack,
        state.seq,
        state.commit_id,
        state.saved_at,
        state.testgen_version,
        len(state.tables),
        state.rows,
        state.is_newest,
        REPLACED if keep else None,
        clock.monotonic() - started,
    )


def _require_newest(source: Source, state: SavedState) -> None:
    """``Busy`` when somebody has saved since ``state`` was read: the command that the stack's locks waited for."""
    newest = commits.newest(source.warehouse, source.place, source.stack)
    if newest is None or (newest.seq, newest.commit_id) != state.newest:
        raise Busy("the state was saved anew while the restore began", "nothing was changed; run it again")


def _would_be_lost(runtime: Runtime, connection: Connection, source: Source) -> str | None:
    """What the database has that is in no commit; None when it may go."""
    if not capture.is_made(connection) or book.read_head(connection) is None:
        connection.rollback()
        return "it was never saved" if metadata.has_data(runtime.postgres) else None
    seen, pending = look(connection, runtime.version), book.read_pending(connection)
    waiting = batch.changes_waiting(connection)
    connection.rollback()
    if waiting:
        return f"{counted(waiting, 'change')} since the last save"
    if seen.head and seen.head.is_older and seen.is_captured:  # restored, and nothing was changed since
        return None
    if because := why_base(
        seen, pending, seen.head.keys if seen.head else "", seen.head.target if seen.head else ""
    ):
        return because
    there = source.find(seen.head.seq) if seen.head else None
    if seen.head and (there is None or there.commit_id != seen.head.commit_id):
        return f"its last save, commit {seen.head.seq}, is not in {source.place.catalog}.{source.place.schema}"
    return None


def _reason(error: Exception) -> str:
    """Without what PostgreSQL says beside it: the line that it was given, values and all."""
    if not isinstance(error, psycopg.Error):
        return str(error)
    where = [name for name in (error.diag.table_name, error.diag.constraint_name) if name]
    said = error.diag.message_primary or str(error).partition("\n")[0]
    return f"{said} ({', '.join(where)})" if where else said


def _not_equal(state: SavedState, reasons: "list[str] | tuple[str, ...]") -> EnvironmentFault:
    return EnvironmentFault(
        f"commit {state.seq} cannot be restored as it was saved: {'; '.join(reasons[:5])}",
        "nothing was changed. An earlier one may be whole: dqctl state restore --commit N; "
        "dqctl state save --full writes the database that you have as a new one",
    )


def _require_on(settings: Settings, runtime: Runtime) -> None:
    if runtime.record.lakebase and (off := why_off(settings, runtime.record)):
        raise UsageError(f"stack {settings.stack!r} has no state to restore: {off}", "see docs/state.md")
