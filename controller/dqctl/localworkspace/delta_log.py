"""Commits that change what a Delta table is, not its rows: delta-rs 1.6 has a call for a few of them only."""

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

Fields = list[dict[str, Any]]


def change_schema(
    location: Path, change: Callable[[Fields], Fields], operation: str, parameters: Mapping[str, str]
) -> None:
    """Commit another schema over the same files; ``change`` gets and gives the fields of Delta's JSON schema.

    The caller is the table's one writer. The commit is there in whole or not at all.
    """
    table = DeltaTable(str(location))
    fields: Fields = json.loads(table.schema().to_json())["fields"]
    found = table.metadata()
    metadata = {
        "id": str(found.id),
        "name": found.name,
        "description": found.description,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": change(fields)}),
        "partitionColumns": list(found.partition_columns),
        "createdTime": found.created_time,
        "configuration": dict(found.configuration),
    }
    information = {
        "timestamp": int(time.time() * 1000),
        "operation": operation,
        "operationParameters": dict(parameters),
        "isBlindAppend": True,
        "engineInfo": "dqctl",
    }
    _commit(location, table.version() + 1, [{"commitInfo": information}, {"metaData": metadata}])


def _commit(location: Path, version: int, actions: list[dict[str, Any]]) -> None:
    log = location / "_delta_log"
    new = log / f".{uuid.uuid4().hex}.tmp"
    try:
        with new.open("w", encoding="utf-8") as handle:
            handle.write("\n".join(json.dumps(action) for action in actions) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        # A link, unlike a rename, fails where a file is already.
        os.link(new, log / f"{version:020d}.json")
    finally:
        new.unlink(missing_ok=True)
