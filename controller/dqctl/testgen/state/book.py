"""What is known about the saved state beside the database itself: ``dqctl.state_book``.

The head is the commit that the database equals, but for the changes that were written down since. A save under
way has an entry of its own, written before anything leaves: a command that finds one asks the workspace what
became of it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from dqctl.testgen.state.saved import Connection

Kind = Literal["base", "delta"]


OLDER = "as of commit "
"""How the ``fingerprint`` begins of a head that is another commit than the one that was restored."""


@dataclass(frozen=True)
class Head:
    """One commit. ``tables`` has rows and checksum of each (``rows.checksum``), ``sequences`` the last value of
    each and whether it was given out.

    ``fingerprint`` is the shape of the tables (``saved.fingerprint``), ``keys`` that of the decrypt keys.
    ``abandoned`` are ids of commits that this stack gave up after it, and that may have been made all the same.
    ``target`` is where it was saved, "" when a dqctl wrote it that did not note it down. ``delta_rows`` is how
    many rows of the log came after its base.
    """

    commit_id: str
    seq: int
    base_seq: int
    kind: Kind
    saved_at: datetime
    fingerprint: str
    keys: str
    tables: Mapping[str, tuple[int, int]]
    sequences: Mapping[str, tuple[int, bool]]
    abandoned: tuple[str, ...] = field(default=())
    target: str = ""
    delta_rows: int = 0

    @property
    def is_older(self) -> bool:
        """Whether the database is that of a commit before: the next save holds everything, on top of this one."""
        return self.fingerprint.startswith(OLDER)


def read_head(connection: Connection) -> Head | None:
    """The commit that the database comes from; None when it was never saved."""
    return _read(connection, "head")


def write_head(connection: Connection, head: Head) -> None:
    """Make ``head`` the commit that the database comes from, in the transaction that is open."""
    _write(connection, "head", head)


def read_pending(connection: Connection) -> Head | None:
    """The commit that was being made: what the head becomes if the workspace has it."""
    return _read(connection, "pending")


def write_pending(connection: Connection, pending: Head) -> None:
    """Say, in the transaction that is open, which commit is being made."""
    _write(connection, "pending", pending)


def clear_pending(connection: Connection) -> None:
    """No commit is being made any more."""
    connection.execute("DELETE FROM dqctl.state_book WHERE name = 'pending'")


def mark_expendable(connection: Connection, *, expendable: bool) -> None:
    """Note, in the transaction that is open, whether all that the database has is saved: once it is replaced by
    another it may be dropped then.
    """
    connection.execute("DELETE FROM dqctl.state_book WHERE name = 'expendable'")
    if expendable:
        connection.execute("INSERT INTO dqctl.state_book (name, entry) VALUES ('expendable', 'true')")


def is_expendable(connection: Connection) -> bool:
    """Whether that was noted."""
    found = connection.execute("SELECT 1 FROM dqctl.state_book WHERE name = 'expendable'").fetchone()
    return found is not None


def _read(connection: Connection, name: str) -> Head | None:
    row = connection.execute("SELECT entry::text FROM dqctl.state_book WHERE name = %s", [name]).fetchone()
    return head_of(json.loads(row[0])) if row else None


def _write(connection: Connection, name: str, head: Head) -> None:
    connection.execute(
        "INSERT INTO dqctl.state_book (name, entry) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET entry = EXCLUDED.entry",
        [name, Jsonb({**asdict(head), "saved_at": head.saved_at.isoformat()})],
    )


def head_of(entry: Mapping[str, Any]) -> Head:
    """A head as it was written."""
    return Head(
        **{
            **entry,
            "saved_at": datetime.fromisoformat(entry["saved_at"]),
            "tables": {name: (int(rows), int(total)) for name, (rows, total) in entry["tables"].items()},
            "sequences": {
                name: (int(value), bool(called)) for name, (value, called) in entry["sequences"].items()
            },
            "abandoned": tuple(entry["abandoned"]),
        }
    )
