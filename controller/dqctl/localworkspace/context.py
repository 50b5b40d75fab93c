"""What a statement works with: where the session stands, what it set, and the shared parts of the lakehouse."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Catalog, Table
from dqctl.localworkspace.overflow import collected
from dqctl.localworkspace.settings import Settings
from dqctl.localworkspace.sql import (
    clause_rules,  # noqa: F401 - registers its rules
    function_rules,  # noqa: F401 - registers its rules
    overflows,  # noqa: F401 - registers its rule
    query_rules,  # noqa: F401 - registers its rules
)
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.map_rows import by_entries
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.relations import Pin, Relations
from dqctl.localworkspace.sql.retrying import RetryingSession
from dqctl.localworkspace.sql.rules import rewrite
from dqctl.localworkspace.sql.star_except import expand
from dqctl.localworkspace.sql.variables import Variable
from dqctl.localworkspace.volumes import Volumes


class WriterLocks:
    """One commit at a time for each table; what changes a table's metadata has it alone from beginning to end.

    Statements that write rows compute them without the lock and are compared with others' when they commit
    (``concurrency``). Readers do not wait: they read the version that they began with.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    @contextmanager
    def holding(self, location: str, stop: threading.Event) -> Iterator[None]:
        """Be the one writer of a table; a cancelled statement stops waiting."""
        with self._guard:
            lock = self._locks[location]
        while not lock.acquire(timeout=0.1):
            if stop.is_set():
                raise errors.cancelled()
        try:
            yield
        finally:
            lock.release()


def at_once(_: str, __: threading.Event) -> None:
    """Nothing holds a statement up before it commits."""


@dataclass
class Context:
    """Everything that carries out a statement of one session."""

    catalog: Catalog
    volumes: Volumes
    engine: RetryingSession
    locks: WriterLocks
    namespace: Namespace
    settings: Settings = field(default_factory=Settings)
    stop: threading.Event = field(default_factory=threading.Event)
    # The temporary views of the session, by name.
    temporary: dict[str, Table] = field(default_factory=dict)
    # Its variables, by name.
    variables: dict[str, Variable] = field(default_factory=dict)
    # The tables that the statement under way writes, by place.
    pinned: dict[Path, Pin] = field(default_factory=dict)
    statement: str = ""
    # Called with the statement's text when it is about to commit rows: faults are waited for there.
    before_commit: Callable[[str, threading.Event], None] = at_once

    def relation(self, parts: Sequence[str]) -> Table:
        """The table or view that a name means here; ``StatementError`` when there is none."""
        if len(parts) == 1 and (view := self.temporary.get(parts[0].lower())):
            return view
        return self.catalog.table(self.namespace.full(parts))

    @contextmanager
    def planned(self, tree: exp.Expr) -> Iterator[str]:
        """The text for the engine: relations resolved, gaps closed. It holds inside of the context only."""
        with ExitStack() as stack:
            relations = Relations(self, stack)
            resolved = rewrite(relations.resolve(tree), self.namespace, ansi=self.settings.is_ansi)
            yield to_sql(by_entries(expand(resolved, self.engine), self.engine))

    def query(self, tree: exp.Expr) -> pa.Table:
        """The rows of a query; a second try where a rule knows the engine's failure."""
        with self.planned(tree) as sql:
            try:
                return self._rows(tree, sql)
            except Exception as error:
                again = self.engine.another(sql, error)
                if again is None or self.stop.is_set():
                    raise
            return self._rows(tree, again)

    def _rows(self, tree: exp.Expr, sql: str) -> pa.Table:
        if not isinstance(tree, exp.Query):
            return self.engine.query(sql)
        schema, batches = self.engine.read(sql, self.settings.arrow_time_zone)
        return collected(schema, batches, self.catalog.directory)

    @contextmanager
    def writing(self, table: Table) -> Iterator[None]:
        """Be the one writer of ``table``."""
        with self.locks.holding(str(self.catalog.path(table)), self.stop):
            yield
