"""One save of the state, step by step, so that it may be killed after any of them.

A delta: (1) in one transaction the changes become the batch of a commit that has an id now; (2) the batch goes
into the log; (3) one statement makes it visible, unless somebody else was faster; (4) in one transaction the batch
goes and the commit is the head. Killed in between, the next save asks whether (3) happened: then it does (4), else
the batch goes with it under an id of its own.

A base holds all rows, as of one snapshot, and its changes go in the very transaction that reads it.

Long because the four steps, and what a killed one leaves to the next save, can only be judged together.
"""

import json
import logging
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import psycopg
import pyarrow as pa

import dqctl
from dqctl.clock import Clock
from dqctl.errors import Busy, NotPublished
from dqctl.progress import Progress
from dqctl.report.words import counted
from dqctl.runtime import Runtime
from dqctl.services.state_saved_tables import SavedTables
from dqctl.tables import encode
from dqctl.tables.digest import Digest
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place
from dqctl.tables.state import Newest
from dqctl.tables.state_tables import STATE_LOG
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.state import batch, book, capture, ddl, rows, saved
from dqctl.testgen.state.batch import Commit
from dqctl.testgen.state.book import Head
from dqctl.testgen.state.saved import Connection, Relation
from dqctl.testgen.state.sealing import SEALED, Keys

log = logging.getLogger(__name__)

# Commits that were given up and may land all the same: of the last few saves, a statement does not take longer.
_ABANDONED = 20
# A delta, and twice a base when something is found to be otherwise at the very end.
_ATTEMPTS = 3
# A restore adds up all rows since the base. When those of the deltas outnumber the rows that there are, a new
# base costs no more than the deltas did: on average a save costs at most twice what changed, and a restore reads
# at most three times what it restores. So few rows it reads in seconds: no base is worth it.
_FEW_ROWS = 50_000
# Each delta is a file of its own in the log, until somebody optimizes it.
_MANY_DELTAS = 1000


@dataclass(frozen=True)
class Stack:
    """Whose state it is, why it is saved, and where."""

    name: str
    runtime: Runtime
    keys: Keys
    reason: str
    target: str


@dataclass(frozen=True)
class Saved:
    """What a save did. ``kind`` is None when there was nothing to save; ``because`` says why it was a base."""

    stack: str
    kind: str | None
    seq: int | None
    commit_id: str | None
    rows: int = 0
    because: str | None = None


@dataclass(frozen=True)
class Seen:
    """The database as one transaction sees it."""

    relations: Sequence[Relation]
    fingerprint: str
    written: batch.Written
    head: Head | None

    @property
    def is_captured(self) -> bool:
        """Whether every change of every saved table is written down."""
        return all(relation.captured for relation in self.relations)


def look(connection: Connection, version: str) -> Seen:
    """What there is to save; four small statements."""
    relations = saved.relations(connection)
    return Seen(
        relations,
        saved.fingerprint(relations, version),
        batch.written(connection),
        book.read_head(connection),
    )


def why_base(seen: Seen, pending: Head | None, keys: str, target: str) -> str | None:
    """Why the next save has to hold everything; None when a delta will do."""
    if seen.head is None:
        return "it is the first save"
    if seen.head.target not in ("", target):
        return "it was saved elsewhere before"
    if seen.head.keys != keys:
        return "the stack has other decrypt keys"
    if seen.head.is_older:
        return f"the database is {seen.head.fingerprint}"
    if seen.head.fingerprint != seen.fingerprint:
        return "the tables have another shape, or TestGen another version"
    if not seen.is_captured:
        return "changes of some tables were not written down"
    if seen.written.is_stale:
        return "a table was emptied by TRUNCATE"
    if pending and pending.kind == "base":
        return "a save of everything was interrupted"
    if (seen.written.changed or pending) and _is_long(seen.head):
        return "what changed since the last save of everything outgrew it"
    return None


def _is_long(head: Head) -> bool:
    rows = sum(count for count, _ in head.tables.values())
    return head.delta_rows > max(rows, _FEW_ROWS) or head.seq - head.base_seq >= _MANY_DELTAS


class Committer:
    """Saves once: ``begin``, then ``commit`` if there is something to save. ``connection`` is not in autocommit
    and holds the lock ``exclusive.STATE``.
    """

    def __init__(self, stack: Stack, connection: Connection, progress: Progress, clock: Clock) -> None:
        self.nothing = Saved(stack.name, None, None, None)
        self._stack = stack
        self._connection = connection
        self._progress = progress
        self._clock = clock
        self._keys = stack.keys.fingerprint
        self._pending: Head | None = None
        self._because: str | None = None
        self._parent: Head | None = None
        self._abandoned: tuple[str, ...] = ()

    def begin(self, *, everything: bool) -> bool:
        """Whether there is anything to save: changes, a save that was interrupted, or all there is."""
        connection = self._connection
        if not capture.is_made(connection):
            self._because = "it is the first save"
            connection.rollback()
            return True
        seen = look(connection, self._stack.runtime.version)
        self._parent = seen.head
        self._pending = book.read_pending(connection)
        connection.rollback()
        self._abandoned = seen.head.abandoned if seen.head else ()
        self._because = why_base(seen, self._pending, self._keys, self._stack.target) or (
            "it was asked for" if everything else None
        )
        if not (self._because or self._pending or seen.written.changed):
            self.nothing = replace(
                self.nothing,
                seq=seen.head.seq if seen.head else None,
                commit_id=seen.head.commit_id if seen.head else None,
            )
            return False
        return True

    def commit(self, warehouse: Statements, place: Place, *, take_over: bool) -> Saved:
        """Save; raises ``Busy`` when the newest commit is somebody else's, unless that is to be taken over."""
        there = SavedTables(warehouse, place, self._stack.name, self._progress)
        if self._pending:
            self._settle(self._pending, there, take_over=take_over)
        for _ in range(_ATTEMPTS):
            try:
                return self._base(there, take_over=take_over) if self._because else self._delta(there)
            except _NeedsBase as needs:
                log.info("everything is saved: %s", needs.because)
                self._connection.rollback()
                self._because = needs.because
        raise Busy("others save this state all the time", "wait until they are done; then: dqctl state save")

    def _settle(self, pending: Head, there: "SavedTables", *, take_over: bool) -> None:
        """Find out what became of a save that was interrupted."""
        newest = there.newest()
        if newest and newest.commit_id == pending.commit_id:
            log.info("commit %s had been made", pending.seq)
            self._parent = pending
            if self._because:  # and it is no head: until there is a base, that base may be killed too
                self._abandoned = (*pending.abandoned, pending.commit_id)[-_ABANDONED:]
            else:
                self._abandoned = pending.abandoned
                self._finish(pending)
            return
        self._abandoned = (*pending.abandoned, pending.commit_id)[-_ABANDONED:]
        self._expect(newest, take_over=take_over)

    def _expect(self, newest: Newest | None, *, take_over: bool) -> None:
        """``Busy`` when ``newest`` is somebody else's."""
        mine = {self._parent.commit_id if self._parent else None, *self._abandoned}
        if newest and newest.commit_id not in mine and not take_over:
            raise _busy(self._stack.name, newest, is_new=self._parent is None)

    def _delta(self, there: "SavedTables") -> Saved:
        connection = self._connection
        _snapshot(connection)
        seen = look(connection, self._stack.runtime.version)
        if because := why_base(seen, None, self._keys, self._stack.target):
            raise _NeedsBase(because)
        head = seen.head
        assert head  # noqa: S101 - without one it is the first save
        try:
            count = batch.take(connection, seen.relations, seen.written.changed)
        except psycopg.errors.DataError as error:
            raise _NeedsBase("what was written down does not fit the tables") from error
        if not count:
            book.clear_pending(connection)
            connection.commit()
            return replace(self.nothing, seq=head.seq, commit_id=head.commit_id)
        pending = Head(
            str(uuid.uuid4()),
            head.seq + 1,
            head.base_seq,
            "delta",
            self._clock.now(),
            seen.fingerprint,
            self._keys,
            batch.after(head.tables, connection),
            saved.sequences(connection),
            self._abandoned,
            self._stack.target,
            head.delta_rows + count,
        )
        book.write_pending(connection, pending)
        connection.commit()
        self._say(f"saving the state: {counted(count, 'row')} changed")
        commit = Commit(self._stack.name, pending.commit_id, pending.seq)
        sent = there.load(lambda: self._batches(self._of_batch(commit, seen.relations)), commit)
        connection.rollback()
        self._say("the state is in the log")
        self._make_visible(there, pending, head, sent)
        self._say("the state is visible")
        self._finish(pending)
        return Saved(self._stack.name, "delta", pending.seq, pending.commit_id, count)

    def _finish(self, pending: Head) -> None:
        batch.forget(self._connection)
        book.write_head(self._connection, pending)
        book.clear_pending(self._connection)
        self._connection.commit()

    def _base(self, there: "SavedTables", *, take_over: bool) -> Saved:
        newest = there.newest()
        self._expect(newest, take_over=take_over)
        connection = self._connection
        relations = capture.ensure(connection)
        number = newest.seq + 1 if newest else 1
        pending = Head(
            str(uuid.uuid4()), number, number, "base", self._clock.now(),
            saved.fingerprint(relations, self._stack.runtime.version), self._keys, {}, {}, self._abandoned,
            self._stack.target,
        )  # fmt: skip
        book.write_pending(connection, pending)
        connection.commit()
        _snapshot(connection, relations)
        (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        if look(connection, self._stack.runtime.version).fingerprint != pending.fingerprint:
            raise Busy(
                "somebody changes TestGen's tables", "nothing was saved; try again: dqctl state save --full"
            )
        batch.forget_changes(connection)
        rows.settle(connection)
        self._say(f"saving the state whole: {self._because}")
        schema = ddl.read(self._stack.runtime, snapshot=snapshot)
        commit = Commit(self._stack.name, pending.commit_id, pending.seq)
        sums: dict[str, tuple[int, int]] = {}
        sent = there.load(lambda: self._of_all(commit, relations, sums), commit)
        pending = replace(pending, tables=dict(sums), sequences=saved.sequences(connection))
        self._say("the state is in the log")
        self._make_visible(there, pending, newest, sent, schema)
        self._say("the state is visible")
        book.write_head(connection, pending)
        book.clear_pending(connection)
        connection.commit()
        there.clear_away(pending.seq)
        count = sum(each for each, _ in sums.values())
        return Saved(self._stack.name, "base", pending.seq, pending.commit_id, count, self._because)

    def _make_visible(
        self,
        there: "SavedTables",
        pending: Head,
        parent: Head | Newest | None,
        sent: Digest,
        schema: dict[str, str] | None = None,
    ) -> None:
        row = {
            "stack": self._stack.name,
            "seq": pending.seq,
            "commit_id": pending.commit_id,
            "parent": parent.commit_id if parent else None,
            "kind": pending.kind,
            "base_seq": pending.base_seq,
            "saved_at": pending.saved_at,
            "host": socket.gethostname(),
            "reason": self._stack.reason,
            "dqctl_version": dqctl.__version__,
            "testgen_version": self._stack.runtime.version,
            "schema_revision": capabilities(self._stack.runtime.version).schema_revision,
            "keys": pending.keys,
            "tables": json.dumps(pending.tables, sort_keys=True),
            "sequences": json.dumps(pending.sequences, sort_keys=True),
            "ddl": json.dumps(schema) if schema else None,
            "log_rows": sent.rows,
        }
        if there.commit(row, sent) == 1:
            return
        # Or an answer that was lost on its way: the statement is sent again, and its twin has done the work.
        newest = there.newest()
        if newest and newest.commit_id == pending.commit_id:
            return
        if (newest.commit_id if newest else None) == (parent.commit_id if parent else None):
            raise NotPublished(
                f"the state is not saved: its {counted(sent.rows, 'row')} did not arrive whole",
                "see whether something else writes to dq_state_log; then: dqctl state save",
            )
        if newest is None:
            raise _NeedsBase("what was saved before is not there")
        if newest.commit_id in self._abandoned:
            raise _NeedsBase("a save that was given up was made all the same")
        raise _busy(self._stack.name, newest, is_new=self._parent is None)

    def _of_batch(self, commit: Commit, relations: Sequence[Relation]) -> Iterator[bytes]:
        names = [relation.name for relation in relations]
        # Those with secrets by themselves: only their rows are looked into.
        for group in ([name for name in names if name in SEALED], [name for name in names if name not in SEALED]):
            yield from batch.of_batch(self._connection, commit, group)

    def _of_all(
        self, commit: Commit, relations: Sequence[Relation], sums: dict[str, tuple[int, int]]
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """All rows of all tables; ``sums`` gets their rows and checksums."""
        for relation in relations:
            count, total = 0, 0
            for owner, found in self._batches(batch.of_table(self._connection, commit, relation)):
                count += found.num_rows
                total += sum(map(rows.number_of, found.column("digest").to_pylist()))
                yield owner, found
            sums[relation.name] = (count, total)

    def _batches(self, blocks: Iterator[bytes]) -> Iterator[tuple[str, pa.RecordBatch]]:
        for block in blocks:
            found = encode.from_csv(STATE_LOG, block)
            if not SEALED.keys().isdisjoint(set(found.column("relation").unique().to_pylist())):
                found = self._sealed(found)
            yield "", found

    def _sealed(self, found: pa.RecordBatch) -> pa.RecordBatch:
        place = found.schema.get_field_index("row")
        pairs = zip(found.column("relation").to_pylist(), found.column("row").to_pylist(), strict=True)
        sealed = [self._stack.keys.seal(relation, row) for relation, row in pairs]
        return found.set_column(place, found.schema.field(place), pa.array(sealed, pa.string()))

    def _say(self, text: str) -> None:
        self._progress(text)


class _NeedsBase(Exception):  # noqa: N818 - no error: another way
    """A delta cannot be; ``because`` says why."""

    def __init__(self, because: str) -> None:
        super().__init__(because)
        self.because = because


def _snapshot(connection: Connection, lock: Sequence[Relation] = ()) -> None:
    """One snapshot for all that follows; the tables keep their shape until the transaction ends."""
    connection.rollback()
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    if lock:  # before the snapshot is taken, which the next statement does
        names = ", ".join(rows.quoted(relation.name) for relation in lock)
        connection.execute("SET LOCAL lock_timeout = '30s'")
        connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE".encode())


def _busy(stack: str, newest: Newest, *, is_new: bool) -> Busy:
    when = f"{newest.saved_at:%Y-%m-%d %H:%M:%S} UTC"
    by = f"{newest.host or 'unknown host'}, {when}, by dqctl {newest.reason or '?'} (commit {newest.seq})"
    what = (
        f"Databricks has a state of stack {stack!r} that this database does not come from: {by}"
        if is_new
        else f"the state of stack {stack!r} was saved by another controller: {by}"
    )
    return Busy(
        what,
        "nothing of either is lost. To go on with the other's: dqctl state restore. To put this stack's state "
        "on top of it, as a commit of its own: dqctl state save --take-over",
    )
