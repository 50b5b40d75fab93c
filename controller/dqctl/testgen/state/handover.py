"""An older metadata database in the place of the stack's own: where its saved state goes on."""

from dataclasses import replace

from dqctl.testgen.state import book, capture
from dqctl.testgen.state.saved import Connection


def hand_over(now: Connection, then: Connection) -> None:
    """Let the saves of ``then`` follow those of ``now``: the next one holds everything, on top of the newest.

    Without it the database would say that the newest commit is the one that it knew, and another controller's
    save would look no different from the own ones that it missed. Commits.
    """
    if not capture.is_made(now):
        return
    head, pending = book.read_head(now), book.read_pending(now)
    now.rollback()
    if head is None:
        return
    capture.ensure(then)
    book.write_head(then, replace(head, fingerprint="of an older database"))
    if pending:
        book.write_pending(then, pending)
    else:
        book.clear_pending(then)
    then.commit()
