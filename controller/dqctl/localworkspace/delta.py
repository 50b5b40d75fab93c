"""Delta tables on disk, through delta-rs: new ones written, others described. ``transaction_log`` commits."""

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import Schema

from dqctl.localworkspace import transaction_log
from dqctl.localworkspace.types import Column, columns_from_delta

# Custom metadata of a commit: the files that COPY INTO loaded with it.
COPIED_FILES = "localworkspace.copied_files"


class Counted:
    """Batches on their way into a table, counted as they pass."""

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        self.rows = 0
        self.failure: Exception | None = None
        self.schema = schema
        self._batches = batches

    def renamed(self, schema: pa.Schema) -> "Counted":
        """The same batches under another schema of the same types; they are counted here, too."""
        return Counted(schema, self._passing())

    def reader(self) -> pa.RecordBatchReader:
        """The batches, once; each takes on the names, metadata and nullability of the schema."""
        return pa.RecordBatchReader.from_batches(self.schema, self._passing())

    def _passing(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                columns = [
                    column if column.type.equals(kind) else column.cast(kind)
                    for column, kind in zip(batch.columns, self.schema.types, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
        except Exception as error:
            # On its way through delta-rs it becomes a line in the text of another error.
            self.failure = error
            raise


def write(location: Path, rows: Counted, partition_by: Sequence[str] = ()) -> int:
    """Write ``rows`` as a new table, and say how many there were."""
    location.mkdir(parents=True, exist_ok=True)
    try:
        write_deltalake(
            str(location),
            rows.reader(),
            mode="error",
            partition_by=list(partition_by) or None,
            writer_properties=_writer_properties(rows.schema),
        )
    except DeltaError as error:
        raise rows.failure or error from error
    return rows.rows


def stage(place: Path, rows: Counted, partition_by: Sequence[str] = ()) -> list[transaction_log.Action]:
    """Write ``rows`` into a scratch folder, and give the ``add`` actions for the commit that they are for.

    It is a table of its own, by delta-rs, which knows the statistics of the files.
    """
    plain = pa.schema([each.remove_metadata() for each in rows.schema])
    write(place, rows.renamed(plain), partition_by)
    return list(transaction_log.read(place).files.values())


def _writer_properties(schema: pa.Schema) -> WriterProperties:
    """No statistics of columns whose statistics lie.

    Sail 0.7.2 takes a column whose minimum equals its maximum for a constant, and leaves a file out by both. Those
    of floating-point numbers leave NaN out: 0.1 beside NaN would be read as 0.1 twice. Those of long decimals are
    written as floating-point numbers (delta-rs 1.6) and read as such: 87673.594069654243 comes back as ...240.
    """
    silent = ColumnProperties(statistics_enabled="NONE")
    return WriterProperties(
        column_properties={field.name: silent for field in schema if _is_rounded(field.type)} or None
    )


def _is_rounded(kind: pa.DataType) -> bool:
    if pa.types.is_decimal(kind):
        return bool(kind.precision > sys.float_info.dig)
    return bool(pa.types.is_floating(kind))


def is_table(location: Path) -> bool:
    """Whether a Delta table is there."""
    return DeltaTable.is_deltatable(str(location))


def columns(location: Path) -> tuple[Column, ...]:
    """The table's columns as of its newest commit."""
    return _read(location).columns


def configuration(location: Path) -> dict[str, str]:
    """The table's properties as of its newest commit, CHECK constraints among them."""
    return dict(_read(location).configuration)


def fields(location: Path) -> list[dict[str, Any]]:
    """The fields of the newest version, in Delta's JSON."""
    found: list[dict[str, Any]] = json.loads(_read(location).schema_json)["fields"]
    return found


def schema_of(schema_json: str) -> pa.Schema:
    """The columns of Delta's JSON schema for Arrow, with nullability and metadata."""
    return pa.schema(Schema.from_json(schema_json).to_arrow())


def partition_columns(location: Path) -> list[str]:
    """The columns that the table is partitioned by."""
    return list(_read(location).partition_columns)


def copied_files(location: Path) -> set[str]:
    """The files that COPY INTO has loaded into the table."""
    found: set[str] = set()
    for entry in transaction_log.history(location):
        files = entry.get(COPIED_FILES) or []
        # Commits before 0.2 have the list as text.
        found.update(json.loads(files) if isinstance(files, str) else files)
    return found


# What DESCRIBE HISTORY says of commits that a job or a notebook made: none of these, here.
_JOB = pa.struct(
    [(name, pa.string()) for name in ("jobId", "jobName", "jobRunId", "runId", "jobOwnerId", "triggerType")]
)
_NOTEBOOK = pa.struct([("notebookId", pa.string())])


def history(location: Path) -> pa.Table:
    """The rows of DESCRIBE HISTORY, newest first."""
    entries = transaction_log.history(location)
    strings = pa.map_(pa.string(), pa.string())

    def texts(entry: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
        return [
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in (entry.get(key) or {}).items()
        ]

    return pa.table(
        {
            "version": pa.array([entry["version"] for entry in entries], pa.int64()),
            "timestamp": pa.array(
                [datetime.fromtimestamp(entry["timestamp"] / 1000, UTC) for entry in entries],
                pa.timestamp("us", "UTC"),
            ),
            "userId": pa.nulls(len(entries), pa.string()),
            "userName": pa.nulls(len(entries), pa.string()),
            "operation": pa.array([entry.get("operation") for entry in entries], pa.string()),
            "operationParameters": pa.array([texts(entry, "operationParameters") for entry in entries], strings),
            "job": pa.nulls(len(entries), _JOB),
            "notebook": pa.nulls(len(entries), _NOTEBOOK),
            "clusterId": pa.nulls(len(entries), pa.string()),
            "readVersion": pa.array([entry.get("readVersion") for entry in entries], pa.int64()),
            "isolationLevel": pa.array([entry.get("isolationLevel") for entry in entries], pa.string()),
            "isBlindAppend": pa.array([entry.get("isBlindAppend") for entry in entries], pa.bool_()),
            "operationMetrics": pa.array([texts(entry, "operationMetrics") for entry in entries], strings),
            "userMetadata": pa.array([entry.get("userMetadata") for entry in entries], pa.string()),
            "engineInfo": pa.array([entry.get("engineInfo") for entry in entries], pa.string()),
        }
    )


@dataclass(frozen=True)
class _Kept:
    """What is asked of a table all the time."""

    version: int
    schema_json: str
    columns: tuple[Column, ...]
    partition_columns: tuple[str, ...]
    configuration: dict[str, str]


# What was read last of each table, and when its log's folder had changed last. One entry a table, however many
# commits it sees; of more tables than these, the first are read again.
_MOST_KEPT = 8192
_kept: dict[str, tuple[int, _Kept]] = {}
_keeping = threading.Lock()


def _read(location: Path) -> _Kept:
    log = f"{location}/_delta_log"
    changed_at = os.stat(log).st_mtime_ns  # noqa: PTH116 - three times as fast
    with _keeping:
        at, found = _kept.get(log, (0, None))
    # Of two commits within one tick of the file system's clock, the second does not change the folder's time.
    if found is not None and at == changed_at and not os.access(f"{log}/{found.version + 1:020d}.json", os.F_OK):
        return found
    found = _opened(location)
    with _keeping:
        _kept.pop(log, None)
        _kept[log] = (changed_at, found)
        while len(_kept) > _MOST_KEPT:
            del _kept[next(iter(_kept))]
    return found


def _opened(location: Path) -> _Kept:
    try:
        table = DeltaTable(str(location))
    except DeltaError:
        # delta-rs 1.6 opens no table that has no columns.
        log = transaction_log.read(location)
        if log.fields:
            raise
        return _Kept(log.version, log.metadata["schemaString"], (), (), log.configuration)
    schema = table.schema().to_json()
    about = table.metadata()
    partitions = tuple(about.partition_columns)
    return _Kept(table.version(), schema, columns_from_delta(schema), partitions, dict(about.configuration))
