"""Delta's optimistic concurrency: which of the commits made since a statement began it cannot go together with.

A statement reads one version of its table, works without a lock, and is compared with what others committed
meanwhile when it is about to commit itself: as Delta does it for tables without deletion vectors, file by file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from dqctl.localworkspace.conflicts import SQLSTATE, wording
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql.pruning import may_match
from dqctl.localworkspace.transaction_log import Action, Files, Snapshot


def conflict(
    error_class: str, *, operation: str = "WRITE", table: str = "t", version: int = 7, partition: str = "[]"
) -> StatementError:
    """The error of one of ``CONFLICTS``; ``KeyError`` for any other."""
    return StatementError(error_class, wording(error_class, operation, table, version, partition), SQLSTATE)


@dataclass(frozen=True)
class Read:
    """What of its table a statement has looked at: the rows of ``condition`` (None: any), which are in ``files``.

    Files that it takes away without a look at their rows are not among ``files``.
    """

    condition: exp.Expr | None = None
    files: Files = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """A statement that is about to commit. ``read`` None: it would do the same whatever is in the table."""

    table: str
    before: Snapshot
    read: Read | None
    removed: frozenset[str]
    changes_data: bool
    changes_metadata: bool

    @property
    def isolation(self) -> str:
        """Delta's name of the level at which it is isolated from others."""
        if not self.changes_data:
            return "SnapshotIsolation"
        return "Serializable" if is_serializable(self.before) else "WriteSerializable"


def is_serializable(table: Snapshot) -> bool:
    """Whether the table wants the stronger of the two levels."""
    return table.configuration.get("delta.isolationLevel", "").lower() == "serializable"


def check(mine: Statement, version: int, actions: Sequence[Action]) -> None:
    """``StatementError`` when ``mine`` cannot come after ``version``, which was committed while it was at work."""
    winner: Action = next((each["commitInfo"] for each in actions if "commitInfo" in each), {})
    about = {"operation": winner.get("operation", "WRITE"), "table": mine.table, "version": version}
    if any("metaData" in each for each in actions):
        raise conflict("DELTA_METADATA_CHANGED")
    if any("protocol" in each for each in actions):
        raise conflict("DELTA_PROTOCOL_CHANGED")
    blind = (
        bool(winner.get("isBlindAppend")) and mine.isolation == "WriteSerializable" and not mine.changes_metadata
    )
    added = [each["add"] for each in actions if "add" in each and each["add"].get("dataChange", True)]
    if mine.read is not None and mine.changes_data and not blind:
        types = {each["name"].lower(): each["type"] for each in mine.before.fields}
        for one in added:
            if mine.read.condition is None or may_match(mine.read.condition, one, types):
                raise _hinted("DELTA_CONCURRENT_APPEND", mine.read, one, about)
    for one in (each["remove"] for each in actions if "remove" in each):
        if mine.read is not None and one["path"] in mine.read.files:
            raise _hinted("DELTA_CONCURRENT_DELETE_READ", mine.read, one, about)
        if one["path"] in mine.removed:
            raise conflict("DELTA_CONCURRENT_DELETE_DELETE.WITHOUT_HINT", **about)


def _hinted(error_class: str, read: Read, file: Action, about: Mapping[str, Any]) -> StatementError:
    if partition := file.get("partitionValues"):
        return conflict(f"{error_class}.WITH_PARTITION_HINT", partition=json.dumps(partition), **about)
    hint = "WITHOUT_HINT" if read.condition is not None else "WHOLE_TABLE_READ"
    return conflict(f"{error_class}.{hint}", **about)
