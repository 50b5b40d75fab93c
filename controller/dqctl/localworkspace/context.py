"""What a statement works with: where the session stands, what it set, and the shared parts of the lakehouse."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Catalog, Table
from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.settings import Settings
from dqctl.localworkspace.sql import query_rules  # noqa: F401 - registers its rules
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.relations import Relations
from dqctl.localworkspace.sql.rules import recover, rewrite
from dqctl.localworkspace.sql.star_except import expand
from dqctl.localworkspace.volumes import Volumes


class WriterLocks:
    """One writer at a time for each table.

    Delta's own conflict checks make every writer but one fail and try again; the server is the only writer of its
    tables, so waiting is simpler and never loses. Readers do not wait: they read the version that they began with.
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


@dataclass
class Context:
    """Everything that carries out a statement of one session."""

    catalog: Catalog
    volumes: Volumes
    engine: EngineSession
    locks: WriterLocks
    namespace: Namespace
    settings: Settings = field(default_factory=Settings)
    stop: threading.Event = field(default_factory=threading.Event)
    # The temporary views of the session, by name.
    temporary: dict[str, Table] = field(default_factory=dict)

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
            yield to_sql(expand(rewrite(relations.resolve(tree), self.namespace), self.engine))

    def query(self, tree: exp.Expr) -> pa.Table:
        """The rows of a query; a second try where a rule knows the engine's failure."""
        again = tree.copy()
        try:
            with self.planned(tree) as sql:
                return self.engine.query(sql)
        except Exception as error:
            changed = recover(again, self.namespace, error)
            if changed is None or self.stop.is_set():
                raise
        with self.planned(changed) as sql:
            return self.engine.query(sql)

    @contextmanager
    def writing(self, table: Table) -> Iterator[None]:
        """Be the one writer of ``table``."""
        with self.locks.holding(str(self.catalog.path(table)), self.stop):
            yield
