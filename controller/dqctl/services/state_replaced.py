"""The database that a restore has put aside: kept where it has what is in no commit, dropped where it has not.

Whether it has is noted in it before it is put aside, so that the next command can finish what a killed restore has
begun.
"""

import contextlib
import logging

import psycopg

from dqctl.errors import Busy, DqctlError
from dqctl.runtime import Runtime, metadata
from dqctl.stack import lock
from dqctl.testgen.state import batch, book, capture
from dqctl.testgen.state.saved import Connection

log = logging.getLogger(__name__)

REPLACED = "datakitchen_replaced"
"""Its name. What is kept on purpose stays until the next restore."""


def note(connection: Connection, *, expendable: bool) -> None:
    """Say in the database that is to be put aside whether all that it has is in a commit. Commits."""
    if capture.is_made(connection):
        book.mark_expendable(connection, expendable=expendable)
    connection.commit()


def drop_expendable(runtime: Runtime) -> bool:
    """Drop it unless it is to be kept, or a program that knows no lock of ours has changed it meanwhile; whether
    it is gone.
    """
    with runtime.postgres.connect(REPLACED) as connection:
        expendable = (
            capture.is_made(connection)
            and book.is_expendable(connection)
            and not batch.changes_waiting(connection)
        )
    if expendable:
        metadata.drop_database(runtime.postgres, REPLACED)
    return expendable


def clear(runtime: Runtime) -> None:
    """Finish what a killed restore has left; nothing when none did, or one is under way. Never fails."""
    try:
        with runtime.postgres.connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [REPLACED]).fetchone():
                return
        with contextlib.suppress(Busy), lock.hold(runtime.paths.lock, "removal of a replaced database"):
            drop_expendable(runtime)
    except (DqctlError, psycopg.Error) as error:
        log.warning("the database %s stays until the next command: %s", REPLACED, error)
