"""RESTORE and CLONE: a version of a table again, or as a table of its own."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from deltalake import DeltaTable

from dqctl.localworkspace import errors, transaction_log
from dqctl.localworkspace.catalog import Table, valid
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.protocol import joined
from dqctl.localworkspace.sql.maintenance import AsOf, CloneTable, Restore
from dqctl.localworkspace.statements.results import counts, nothing
from dqctl.localworkspace.table_properties import for_entry, for_log
from dqctl.localworkspace.transaction_log import Commit, Snapshot


def restore(command: Restore, context: Context) -> Result:
    """RESTORE TABLE: a commit that has the files and columns of an older version."""
    table = _table(command.parts, context)
    path = context.catalog.path(table)
    with context.writing(table):
        now = transaction_log.read(path)
        then = transaction_log.read(path, _version(path, command.to))
        added = [action for name, action in then.files.items() if name not in now.files]
        removed = [action for name, action in now.files.items() if name not in then.files]
        _check_files(path, then.files, table)
        numbers = {
            "table_size_after_restore": then.size,
            "num_of_files_after_restore": len(then.files),
            "num_removed_files": len(removed),
            "num_restored_files": len(added),
            "removed_files_size": sum(int(each["size"]) for each in removed),
            "restored_files_size": sum(int(each["size"]) for each in added),
        }
        what = Commit(
            "RESTORE",
            {
                "version": "" if command.to.version is None else str(command.to.version),
                "timestamp": command.to.timestamp or "",
            },
            {
                "tableSizeAfterRestore": numbers["table_size_after_restore"],
                "numOfFilesAfterRestore": numbers["num_of_files_after_restore"],
                "numRemovedFiles": numbers["num_removed_files"],
                "numRestoredFiles": numbers["num_restored_files"],
                "removedFilesSize": numbers["removed_files_size"],
                "restoredFilesSize": numbers["restored_files_size"],
            },
        )
        transaction_log.commit(
            path,
            now,
            what,
            added=[{**each, "dataChange": True} for each in added],
            removed=[transaction_log.removal(each) for each in removed],
            metadata=then.metadata if then.metadata != now.metadata else None,
            protocol=None if (needed := joined(now.protocol, then.protocol)) == now.protocol else needed,
        )
        context.catalog.put(table, replace_existing=True)
    return replace(counts(numbers), affected_rows=None)


def clone(command: CloneTable, context: Context) -> Result:
    """CREATE TABLE ... CLONE. Files of a table never change, so a clone of either kind links to them.

    So it costs no room, and neither table's VACUUM takes anything from the other.
    """
    name = context.namespace.full(command.parts)
    valid(name.name)
    source = _table(command.source, context)
    old = context.catalog.find(name)
    if old is not None and command.if_not_exists:
        return nothing()
    if old is not None and not command.replace:
        raise errors.already_exists("TABLE_OR_VIEW", str(name))
    if old is not None and old.kind != "MANAGED":
        raise errors.unsupported("CREATE OR REPLACE of a table that is not managed by a clone")
    table = Table(
        name=name,
        kind="MANAGED",
        location=old.location if old is not None else context.catalog.new_location(name, "tables"),
        comment=source.comment,
        properties={**source.properties, **for_entry(command.properties)},
        clustering=source.clustering,
        created_at=old.created_at if old is not None else 0.0,
    )
    place, target = context.catalog.path(source), context.catalog.path(table)
    # No look at the source while its VACUUM runs; the new table has a place that nobody else knows.
    # In one order, whoever is cloned into whom.
    first, second = sorted((source, table), key=lambda each: str(each.location))
    with context.writing(first), context.writing(second):
        then = transaction_log.read(place, _version(place, command.as_of) if command.as_of else None)
        _check_files(place, then.files, source)
        before = transaction_log.read(target) if old is not None else None
        try:
            numbers = _copy(command, source, then, place, target, before)
            context.catalog.put(table, replace_existing=command.replace)
        except BaseException:
            if old is None:
                shutil.rmtree(target, ignore_errors=True)
            raise
    return replace(counts(numbers), affected_rows=None)


def _copy(
    command: CloneTable, source: Table, then: Snapshot, place: Path, target: Path, before: Snapshot | None
) -> dict[str, int]:
    for file in then.files.values():
        if file.get("deletionVector", {}).get("storageType", "i") != "i":
            raise errors.unsupported("CLONE of a table with deletion vectors")
        if not (target / unquote(file["path"])).exists():
            transaction_log.link(place / unquote(file["path"]), target / unquote(file["path"]))
    removed = [] if before is None else [each for name, each in before.files.items() if name not in then.files]
    copied = {"num_copied_files": len(then.files), "copied_files_size": then.size}
    numbers = {
        "source_table_size": then.size,
        "source_num_of_files": len(then.files),
        "num_removed_files": len(removed),
        "num_copied_files": 0 if command.shallow else copied["num_copied_files"],
        "removed_files_size": sum(int(each["size"]) for each in removed),
        "copied_files_size": 0 if command.shallow else copied["copied_files_size"],
    }
    metrics = {
        "sourceTableSize": then.size, "sourceNumOfFiles": len(then.files), "numRemovedFiles": len(removed),
        "removedFilesSize": numbers["removed_files_size"], "numCopiedFiles": numbers["num_copied_files"],
        "copiedFilesSize": numbers["copied_files_size"],
    }  # fmt: skip
    parameters = {
        "source": str(source.name).replace("`", ""),
        "sourceVersion": str(then.version),
        "isShallow": "true" if command.shallow else "false",
    }
    transaction_log.commit(
        target,
        before,
        Commit("CLONE", parameters, metrics),
        added=[{**each, "dataChange": True} for each in then.files.values()],
        removed=[transaction_log.removal(each) for each in removed],
        metadata={
            **then.metadata,
            "id": str(before.metadata["id"] if before else uuid4()),
            "configuration": {**then.configuration, **for_log(command.properties)},
        },
        protocol=joined(then.protocol, before.protocol) if before else then.protocol,
    )
    return numbers


def _table(parts: tuple[str, ...], context: Context) -> Table:
    table = context.catalog.table(context.namespace.full(parts))
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    return table


def _version(path: Path, wanted: AsOf) -> int:
    if wanted.version is not None:
        return wanted.version
    text = wanted.timestamp or ""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise StatementError(
            "DELTA_TIMESTAMP_INVALID",
            f"The provided timestamp ({text}) cannot be converted to a timestamp.",
            "42816",
        ) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    table = DeltaTable(str(path))
    earliest = table.history()[-1]["timestamp"] / 1000
    if when.timestamp() < earliest:
        raise StatementError(
            "DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION",
            f"The provided timestamp ({text}) is before the earliest version available to this table.",
            "42816",
        )
    table.load_as_version(when)
    return int(table.version())


def _check_files(path: Path, files: Mapping[str, Any], table: Table) -> None:
    for name in files:
        if not (path / unquote(name)).exists():
            raise StatementError(
                "FAILED_READ_FILE.FILE_NOT_EXIST",
                f"Error while reading file {name} of {table.name}: VACUUM has removed what that version needs.",
                "KD001",
            )
