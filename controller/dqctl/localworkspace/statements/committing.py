"""The end of a statement that writes rows: compared with what others committed meanwhile, it commits itself."""

from collections.abc import Sequence
from dataclasses import replace

from dqctl.localworkspace import errors, transaction_log
from dqctl.localworkspace.concurrency import Read, Statement, check, conflict
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.generated import counted_on
from dqctl.localworkspace.statements.loading import INSERTED, Tally, Target


def commit(
    target: Target,
    what: transaction_log.Commit,
    context: Context,
    *,
    added: Sequence[transaction_log.Action] = (),
    removed: Sequence[transaction_log.Action] = (),
    read: Read | None = None,
    changes_data: bool = True,
    inserted: int = 0,
) -> None:
    """Make the table's next version, with the columns that ``target`` has and the files that were staged for it.

    ``inserted``: rows that are new, for which identities were counted on.

    ``read`` is what the statement saw of the table, beside what it read under the table's name.
    ``StatementError`` when others have committed what does not go together with it.
    """
    metadata = target.before.metadata if target.new else None
    if inserted and target.identities:
        schema = counted_on(target.before.metadata["schemaString"], target.identities, inserted)
        metadata = {**target.before.metadata, "schemaString": schema}
    if target.pin.is_read:
        read = Read(None, target.before.files)
    if removed and changes_data and target.before.configuration.get("delta.appendOnly", "").lower() == "true":
        raise StatementError(
            "DELTA_CANNOT_MODIFY_APPEND_ONLY",
            "This table is configured to only allow appends. If you would like to permit updates or deletes, use "
            f"'ALTER TABLE {target.table.name} SET TBLPROPERTIES (delta.appendOnly=false)'.",
            "42809",
        )
    mine = Statement(
        str(target.table.name).replace("`", ""),
        target.before,
        read,
        frozenset(each["path"] for each in removed),
        changes_data,
        changes_metadata=metadata is not None,
    )
    context.before_commit(context.statement, context.stop)
    with context.writing(target.table):
        if context.stop.is_set():
            raise errors.cancelled()
        _check_there(target, context)
        newest = _checked_against_others(mine, target, target.before.version)
        transaction_log.settle(target.scratch, target.path, added)
        while True:
            try:
                transaction_log.commit(
                    target.path,
                    target.before,
                    replace(what, blind=what.blind and read is None),
                    added=[each | {"dataChange": changes_data} for each in added],
                    removed=[transaction_log.removal(each, data_change=changes_data) for each in removed],
                    metadata=metadata,
                    onto=newest,
                    isolation=mine.isolation,
                )
            except transaction_log.VersionTakenError:
                # Another program writes the table, too: ours wait for the lock.
                newest = _checked_against_others(mine, target, newest)
            else:
                return


def _check_there(target: Target, context: Context) -> None:
    """``StatementError`` when the table was dropped or replaced since the statement began."""
    now = context.catalog.find(target.table.name)
    if now is None or now.id != target.table.id:
        # Under another name it is still the same table.
        now = next((each for each in context.catalog.tables() if each.id == target.table.id), None)
    if now is None:
        raise errors.table_not_found(str(target.table.name))
    if context.catalog.path(now) != target.path:
        raise conflict("DELTA_METADATA_CHANGED")


def _checked_against_others(mine: Statement, target: Target, since: int) -> int:
    """The newest version, when ``mine`` goes together with all that came after ``since``."""
    for version, actions in transaction_log.since(target.path, since):
        check(mine, version, actions)
        since = version
    return since


def commit_changes(
    target: Target,
    what: transaction_log.Commit,
    tally: Tally,
    context: Context,
    *,
    added: Sequence[transaction_log.Action],
    removed: Sequence[transaction_log.Action],
    read: Read,
) -> None:
    """As ``commit``; without a changed row there is no version."""
    if tally.changed:
        commit(target, what, context, added=added, removed=removed, read=read, inserted=tally.rows[INSERTED])
