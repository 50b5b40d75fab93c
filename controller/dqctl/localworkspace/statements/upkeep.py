"""OPTIMIZE and VACUUM: fewer files, and none that no version needs."""

import os
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import errors, transaction_log
from dqctl.localworkspace.catalog import Table
from dqctl.localworkspace.concurrency import Read
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.sql.maintenance import Analyze, Optimize, Vacuum
from dqctl.localworkspace.statements import committing, loading
from dqctl.localworkspace.statements.results import nothing, strings
from dqctl.localworkspace.transaction_log import Action, Commit

# Files of this size and more stay as they are: what delta-rs writes at most.
_LARGE = 100 * 1024 * 1024
_WEEK = 168.0
_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0, "minute": 1 / 60, "second": 1 / 3600}
_FILES_SHOWN = 1000


def optimize(command: Optimize, context: Context) -> Result:
    """OPTIMIZE: the small files of each partition become one, in a commit that changes no data.

    Those of a clustered table are sorted by its columns, also one alone that has not been.
    """
    table = context.catalog.table(context.namespace.full(command.parts))
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    with ExitStack() as stack:
        target = stack.enter_context(loading.transaction(table, context))
        names = [loading.known(name, target) for name in command.order] or _clustering(table, target)
        order = [exp.column(exp.to_identifier(name, quoted=True)) for name in names]
        # What OPTIMIZE wrote changes no data: the rest was not sorted.
        unsorted = bool(order) and any(each.get("dataChange", True) for each in target.before.files.values())
        least = 1 if command.order or unsorted else 2
        chosen = _small(target.before.files, everything=bool(command.order), least=least)
        added: list[Action] = []
        if chosen:
            relation, _ = stack.enter_context(loading.some(target, chosen))
            rows = exp.select(*loading.outputs(target)).from_(relation)
            if order:
                rows = rows.order_by(*order)
            added = loading.write(loading.planned(rows, context, stack), loading.keeping(target), context)
            _commit(target, command, added, chosen, context)
        return _optimized(str(target.path), added, list(chosen.values()), len(target.before.files))


def _clustering(table: Table, target: loading.Target) -> list[str]:
    columns = {column.name.lower(): column.name for column in target.columns}
    return [columns[name.lower()] for name in table.clustering if name.lower() in columns]


def _small(files: transaction_log.Files, *, everything: bool, least: int) -> dict[str, Action]:
    by_partition: defaultdict[str, dict[str, Action]] = defaultdict(dict)
    for name, added in files.items():
        if everything or int(added["size"]) < _LARGE:
            by_partition[str(sorted((added.get("partitionValues") or {}).items()))][name] = added
    return {name: each for found in by_partition.values() if len(found) >= least for name, each in found.items()}


def _commit(
    target: loading.Target,
    command: Optimize,
    added: list[Action],
    chosen: transaction_log.Files,
    context: Context,
) -> None:
    removed = list(chosen.values())
    sizes = sorted(int(each["size"]) for each in added) or [0]
    metrics = {
        "numRemovedFiles": len(removed), "numRemovedBytes": sum(int(each["size"]) for each in removed),
        "numAddedFiles": len(added), "numAddedBytes": sum(sizes),
        "minFileSize": sizes[0], "maxFileSize": sizes[-1],
        "p25FileSize": sizes[len(sizes) // 4], "p50FileSize": sizes[len(sizes) // 2],
        "p75FileSize": sizes[len(sizes) * 3 // 4],
    }  # fmt: skip
    parameters = {"predicate": [], "zOrderBy": list(command.order), "batchId": "0", "auto": "false"}
    what = Commit("OPTIMIZE", parameters, metrics)
    read = Read(None, chosen)
    committing.commit(target, what, context, added=added, removed=removed, read=read, changes_data=False)


def _optimized(path: str, added: list[Action], removed: list[Action], considered: int) -> Result:
    def sizes(files: list[Action]) -> dict[str, float | int | None]:
        found = [int(each["size"]) for each in files]
        return {
            "min": min(found, default=None), "max": max(found, default=None),
            "avg": sum(found) / len(found) if found else 0.0, "totalFiles": len(found), "totalSize": sum(found),
        }  # fmt: skip

    numbers = pa.struct(
        [("min", pa.int64()), ("max", pa.int64()), ("avg", pa.float64()), ("totalFiles", pa.int64()),
         ("totalSize", pa.int64())]
    )  # fmt: skip
    kind = pa.struct(
        [("numFilesAdded", pa.int64()), ("numFilesRemoved", pa.int64()), ("filesAdded", numbers),
         ("filesRemoved", numbers), ("partitionsOptimized", pa.int64()), ("numBatches", pa.int64()),
         ("totalConsideredFiles", pa.int64()), ("totalFilesSkipped", pa.int64()),
         ("preserveInsertionOrder", pa.bool_())]
    )  # fmt: skip
    partitions = {str(each.get("partitionValues")) for each in added if each.get("partitionValues")}
    metrics = {
        "numFilesAdded": len(added), "numFilesRemoved": len(removed), "filesAdded": sizes(added),
        "filesRemoved": sizes(removed), "partitionsOptimized": len(partitions), "numBatches": 1 if added else 0,
        "totalConsideredFiles": considered, "totalFilesSkipped": considered - len(removed),
        "preserveInsertionOrder": False,
    }  # fmt: skip
    return Result(pa.table({"path": pa.array([path]), "metrics": pa.array([metrics], kind)}))


def vacuum(command: Vacuum, context: Context) -> Result:
    """VACUUM: remove files that no version of the retention period needs; DRY RUN only names them."""
    table = context.catalog.table(context.namespace.full(command.parts))
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    path = context.catalog.path(table)
    with context.writing(table):
        now = transaction_log.read(path)
        configured = _retention(now.configuration.get("delta.deletedFileRetentionDuration"))
        hours = configured if command.hours is None else command.hours
        if hours < configured:
            raise errors.invalid_parameter(
                f"VACUUM with a retention of {hours:g} hours is lower than the table's {configured:g} hours: "
                "files that readers or writers still use could be removed."
            )
        unneeded = _unneeded(path, now, time.time() - hours * 3600)
        if command.dry_run:
            return strings(("path",), [(str(path / name),) for name in unneeded[:_FILES_SHOWN]])
        parameters = {
            "retentionCheckEnabled": "true", "defaultRetentionMillis": str(int(configured * 3_600_000)),
            **({"specifiedRetentionMillis": str(int(hours * 3_600_000))} if command.hours is not None else {}),
        }  # fmt: skip
        size = sum((path / name).stat().st_size for name in unneeded)
        started = transaction_log.commit(
            path,
            now,
            Commit("VACUUM START", parameters, {"numFilesToDelete": len(unneeded), "sizeOfDataToDelete": size}),
        )
        for name in unneeded:
            (path / name).unlink(missing_ok=True)
        transaction_log.remove_scratch(path)
        transaction_log.commit(
            path,
            transaction_log.read(path, started),
            Commit(
                "VACUUM END",
                {"status": "COMPLETED"},
                {"numDeletedFiles": len(unneeded), "numVacuumedDirectories": 1},
            ),
        )
    return strings(("path",), [(str(path),)])


def _retention(text: str | None) -> float:
    """Hours of ``interval 7 days``, the form of the table property."""
    words = (text or "").lower().removeprefix("interval ").split()
    if len(words) == 2 and words[1].rstrip("s") in _HOURS:
        return float(words[0]) * _HOURS[words[1].rstrip("s")]
    return _WEEK


def _unneeded(path: Path, now: transaction_log.Snapshot, since: float) -> list[str]:
    """Files that neither the newest version has nor one that ended after ``since``, and that are older."""
    needed = {unquote(name) for name in now.files}
    needed |= {
        unquote(name) for name, each in now.removed.items() if each.get("deletionTimestamp", 0) / 1000 >= since
    }
    found = []
    for folder, folders, names in os.walk(path):
        # As in Delta, what begins with an underscore is no data, unless it is a partition's folder.
        folders[:] = [each for each in folders if not each.startswith(("_", ".")) or "=" in each]
        for name in names:
            file = Path(folder) / name
            relative = str(file.relative_to(path))
            if name.startswith(("_", ".")) or relative in needed:
                continue
            if file.stat().st_mtime < since:
                found.append(relative)
    return sorted(found)


def analyze(command: Analyze, context: Context) -> Result:
    """ANALYZE TABLE and REFRESH TABLE: a table's files say what there is to know about them."""
    context.catalog.table(context.namespace.full(command.parts))
    return nothing()
