"""The two tables of the state in Databricks, as a save uses them."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa

from dqctl.databricks.failures import StatementFailed
from dqctl.errors import DqctlError
from dqctl.progress import Progress
from dqctl.records import Row
from dqctl.services import tables
from dqctl.tables import state as commits
from dqctl.tables.digest import Digest
from dqctl.tables.loader import Loader
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place
from dqctl.tables.state import Newest
from dqctl.tables.state_tables import STATE_LOG, STATE_TABLES
from dqctl.testgen.state.batch import Commit

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


# What a warehouse says of a table, or a schema, that is not there. To whoever may not read one that is, Databricks
# says so (INSUFFICIENT_PERMISSIONS), while ``information_schema`` has nothing for either.
_MISSING = ("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND")


def unless_missing(ask: Callable[[], _Answer]) -> _Answer | None:
    """The answer to a question to the tables of the state; None when they were never made.

    Raises ``DatabricksRefused`` when they may not be read: a state that one may not see is not none.
    """
    try:
        return ask()
    except StatementFailed as failure:
        if failure.error_class not in _MISSING:
            raise
        return None


class SavedTables:
    """Used as if they were there, which they nearly always are, and made if not."""

    def __init__(self, warehouse: Statements, place: Place, stack: str, progress: Progress) -> None:
        self._warehouse = warehouse
        self._place = place
        self._stack = stack
        self._progress = progress
        self._loader = Loader(
            warehouse, place, {table.name: table.column_names for table in STATE_TABLES}, volume_exists=True
        )
        self._is_ready = False

    def newest(self) -> Newest | None:
        """The newest commit of the stack."""
        return self._ready(lambda: commits.newest(self._warehouse, self._place, self._stack))

    def load(self, batches: Callable[[], Iterator[tuple[str, pa.RecordBatch]]], commit: Commit) -> Digest:
        """Put a commit's rows into the log; ``batches`` may be asked again."""
        key = {"stack": commit.stack, "commit_id": commit.commit_id}
        return self._ready(lambda: self._loader.send(STATE_LOG, batches, key))

    def commit(self, row: Row, sent: Digest) -> int | None:
        """Make a commit visible, if its parent is the newest: how many rows that made."""
        return self._ready(lambda: commits.commit(self._warehouse, self._place, row, sent))

    def clear_away(self, seq: int) -> None:
        """Take rows out of the log that saves before ``seq``, which is visible, left behind when they were killed.

        What goes wrong with it is no failure of the save: the next one of everything does it.
        """
        try:
            if left := commits.left_behind(self._warehouse, self._place, self._stack, seq):
                commits.remove(self._warehouse, self._place, self._stack, seq, left)
                log.info("took away what %d saves had left in the log", len(left))
        except DqctlError as error:
            log.warning("rows of killed saves stay in the log: %s", error.message)

    def _ready(self, run: Callable[[], _Answer]) -> _Answer:
        try:
            return run()
        except StatementFailed as failure:
            if self._is_ready:
                raise
            log.info("no tables yet? %s", failure.message)
        ready = tables.ensure(self._warehouse, self._place, self._progress, STATE_TABLES)
        self._loader = Loader(self._warehouse, self._place, ready.columns, volume_exists=ready.volume_exists)
        self._is_ready = True
        return run()
