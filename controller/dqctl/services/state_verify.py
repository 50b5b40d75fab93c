"""Whether the saved state is what the stack has, and comes back: by looking, not by trusting what was noted."""

from dataclasses import dataclass

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.progress import Progress, silent
from dqctl.report.words import counted
from dqctl.runtime import Runtime, aside, open_runtime
from dqctl.runtime.connection import be_patient
from dqctl.services.keys import keys_of
from dqctl.services.state_commits import look
from dqctl.services.state_restore import PATIENCE, fill, reading, require_fit
from dqctl.services.target import why_off
from dqctl.settings import Settings
from dqctl.testgen import contents
from dqctl.testgen.state import batch, book, capture
from dqctl.testgen.state.restoring import differences

_VERIFYING = "datakitchen_state_verifying"


@dataclass(frozen=True)
class Verified:
    """What was found equal. ``unsaved`` are changes that wait for the next save, and that were taken into account.

    ``restored`` is the commit that was restored on trial, None when that was not asked for.
    """

    stack: str
    seq: int
    tables: int
    rows: int
    unsaved: int
    restored: int | None
    seconds: float


def verify(
    settings: Settings, *, deep: bool = False, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> Verified:
    """Compare every table with what was saved of it and the changes since, by rows and checksums.

    ``deep``: restore the newest commit into a database that is thrown away, too, and compare that. Raises
    ``EnvironmentFault`` when something differs, ``UsageError`` when there is no state.
    """
    started = clock.monotonic()
    runtime = open_runtime(settings, progress)
    if off := why_off(settings, runtime.record):
        raise UsageError(f"stack {settings.stack!r} has no state to verify: {off}", "see docs/state.md")
    seq, tables, rows, unsaved = _compare(runtime, progress)
    restored = _restore_on_trial(settings, runtime, progress, clock) if deep else None
    return Verified(settings.stack, seq, tables, rows, unsaved, restored, clock.monotonic() - started)


def _compare(runtime: Runtime, progress: Progress) -> tuple[int, int, int, int]:
    with runtime.metadata() as connection:
        be_patient(connection, PATIENCE)
        head = book.read_head(connection) if capture.is_made(connection) else None
        if head is None:
            raise UsageError("the state was never saved", "run: dqctl state save")
        connection.rollback()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen = look(connection, runtime.version)
        unsaved = batch.changes_waiting(connection)
        progress(f"comparing {counted(len(seen.relations), 'table')} with commit {head.seq}")
        if not head.is_older and head.fingerprint != seen.fingerprint:
            raise UsageError(
                f"the tables have another shape than in commit {head.seq}, or TestGen another version: there is "
                "nothing to compare them with",
                "save what the database has now: dqctl state save",
            )
        # As the next save would do it, in a transaction that is taken back.
        try:
            batch.take(connection, seen.relations, seen.written.changed)
        except psycopg.errors.SerializationFailure as error:
            raise Busy("the state is being saved", "nothing was compared; try again") from error
        except psycopg.errors.DataError:  # it has the row in it
            raise UsageError(
                "what was written down does not fit the tables, whose shape changed meanwhile",
                "save what the database has now: dqctl state save",
            ) from None
        wanted = batch.after(head.tables, connection)
        found = contents.contents(connection).tables
        connection.rollback()
    names = {relation.name for relation in seen.relations}
    differing = differences(wanted, {name: each for name, each in found.items() if name in names})
    if differing and not seen.written.is_stale:
        raise EnvironmentFault(
            f"the metadata is not what was saved of it (commit {head.seq}): {'; '.join(differing[:5])}",
            "tables were changed past the triggers that write changes down. What the database has now is saved "
            "by: dqctl state save --full; what was saved comes back by: dqctl state restore --replace",
        )
    if seen.written.is_stale:
        progress("a table was emptied by TRUNCATE: the next save holds everything")
    return head.seq, len(names), sum(rows for rows, _ in wanted.values()), unsaved


def _restore_on_trial(settings: Settings, runtime: Runtime, progress: Progress, clock: Clock) -> int:
    with reading(settings, progress, clock) as source:
        state = source.require()
        require_fit(state, keys_of(runtime.paths), runtime.version)
        with aside.throw_away(
            runtime,
            _VERIFYING,
            doing="dqctl state verify",
            timeout=settings.lock_timeout,
            progress=progress,
        ):
            fill(runtime, source, state, _VERIFYING, progress)
    return state.seq
