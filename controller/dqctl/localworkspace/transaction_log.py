"""A Delta table's transaction log: a version read back as actions, and commits of our own.

delta-rs writes files and knows what is in them; what a commit is called, what it counted and which files it takes
away is said here. So MERGE, RESTORE, CLONE and OPTIMIZE look in DESCRIBE HISTORY as they do on Databricks, and a
commit is one file that is there in whole or not at all.
"""

import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow.parquet as pq
from deltalake import DeltaTable

from dqctl.localworkspace.contract import StatementError

Action = dict[str, Any]
# The ``add`` actions of a version, by path.
Files = Mapping[str, Action]

# delta-rs and Delta itself read a log from its newest checkpoint on.
_CHECKPOINT_EVERY = 100
_LOG = "_delta_log"
# Part of the names of this process's scratch folders.
_RUN = uuid.uuid4().hex[:12]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A version of a table. ``files`` are its ``add`` actions, by path."""

    version: int
    protocol: Action
    metadata: Action
    files: Files
    # What went, as far as the log still says so.
    removed: Files = field(default_factory=dict)
    transactions: Mapping[str, Action] = field(default_factory=dict)

    @property
    def configuration(self) -> dict[str, str]:
        """The table's properties in the log, ``delta.constraints.*`` among them."""
        return dict(self.metadata.get("configuration") or {})

    @property
    def partition_columns(self) -> list[str]:
        """The columns that it is partitioned by."""
        return list(self.metadata.get("partitionColumns") or ())

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Its columns, as fields of Delta's JSON schema."""
        return list(json.loads(self.metadata["schemaString"])["fields"])

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(int(each["size"]) for each in self.files.values())


def read(location: Path, version: int | None = None) -> Snapshot:
    """A version of the table, the newest if none is named; ``StatementError`` when it is gone or never was."""
    log = location / _LOG
    commits = {
        int(match[1]): file
        for file in log.iterdir()
        if (match := re.fullmatch(r"(\d{20})\.json", file.name)) is not None
    }
    newest = max(commits, default=-1)
    wanted = newest if version is None else version
    start, state = _newest_checkpoint(log, wanted)
    missing = [number for number in range(start + 1, wanted + 1) if number not in commits]
    if wanted > newest or wanted < 0 or missing:
        earliest = min(commits, default=0)
        raise StatementError(
            "DELTA_VERSION_NOT_FOUND",
            f"Cannot time travel Delta table to version {wanted}. Available versions: [{earliest}, {newest}].",
            "22003",
        )
    for number in range(start + 1, wanted + 1):
        for action in _actions(commits[number].read_text(encoding="utf-8")):
            state.apply(action)
    return state.snapshot(wanted)


def _actions(text: str) -> list[Action]:
    # Not splitlines: statistics hold the texts of rows, and those may hold what else Python ends a line at.
    return [json.loads(line) for line in text.split("\n") if line.strip()]


class _State:
    """What is so after the actions so far."""

    def __init__(self) -> None:
        self.protocol: Action = {}
        self.metadata: Action = {}
        self.files: dict[str, Action] = {}
        self.removed: dict[str, Action] = {}
        self.transactions: dict[str, Action] = {}

    def apply(self, action: Action) -> None:
        if added := action.get("add"):
            self.files[added["path"]] = added
            self.removed.pop(added["path"], None)
        elif removed := action.get("remove"):
            # An update of its deletion vector removes a file and adds it again, in either order.
            there = self.files.get(removed["path"])
            if there is not None and _vector(there) == _vector(removed):
                del self.files[removed["path"]]
            if removed["path"] not in self.files:
                self.removed[removed["path"]] = removed
        elif action.get("metaData"):
            self.metadata = action["metaData"]
        elif action.get("protocol"):
            self.protocol = action["protocol"]
        elif action.get("txn"):
            self.transactions[action["txn"]["appId"]] = action["txn"]

    def snapshot(self, version: int) -> Snapshot:
        return Snapshot(version, self.protocol, self.metadata, self.files, self.removed, self.transactions)


def _vector(action: Action) -> str:
    return json.dumps(action.get("deletionVector") or None, sort_keys=True)


def _newest_checkpoint(log: Path, wanted: int) -> tuple[int, _State]:
    parts: dict[int, list[Path]] = {}
    for file in log.iterdir():
        match = re.fullmatch(r"(\d{20})\.checkpoint(\.\d{10}\.\d{10})?\.parquet", file.name)
        if match and int(match[1]) <= wanted:
            parts.setdefault(int(match[1]), []).append(file)
    state = _State()
    if not parts:
        return -1, state
    version = max(parts)
    for part in parts[version]:
        for row in pq.read_table(part, use_threads=False).to_pylist(maps_as_pydicts="strict"):
            for kind in ("protocol", "metaData", "txn", "add", "remove"):
                if row.get(kind) is not None:
                    state.apply({kind: _plain(row[kind])})
    return version, state


def _plain(value: Any) -> Any:
    """A struct of a checkpoint without the fields that are not set."""
    if isinstance(value, dict):
        return {
            key: _plain(each) for key, each in value.items() if each is not None and not key.endswith("_parsed")
        }
    return value


@contextmanager
def scratch(location: Path, what: Literal["staging", "part"]) -> Iterator[Path]:
    """A folder in the table's own for as long as a statement needs it; it is not made yet."""
    place = location / f"_{what}-{_RUN}-{uuid.uuid4().hex}"
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_scratch(location: Path) -> None:
    """Remove what statements of killed processes have left; those of this one clear up for themselves."""
    for leftover in (*location.glob("_staging-*"), *location.glob("_part-*")):
        if _RUN not in leftover.name:
            shutil.rmtree(leftover, ignore_errors=True)


def stage_nothing(place: Path) -> None:
    """Begin a table that has no columns, which delta-rs 1.6 refuses to make."""
    commit(
        place,
        None,
        Commit("CREATE TABLE"),
        metadata={
            "id": str(uuid.uuid4()),
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps({"type": "struct", "fields": []}),
            "partitionColumns": [],
            "configuration": {},
            "createdTime": _now(),
        },
        protocol={"minReaderVersion": 1, "minWriterVersion": 2},
    )


def settle(place: Path, location: Path, added: Iterable[Action]) -> None:
    """Move staged files to where the table's next version will look for them."""
    for action in added:
        name = unquote(action["path"])
        (location / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).rename(location / name)


def removal(added: Action, *, data_change: bool = True) -> Action:
    """The ``remove`` action that takes a file away."""
    keys = ("path", "partitionValues", "size", "deletionVector", "tags")
    return {key: added[key] for key in keys if key in added} | {
        "deletionTimestamp": _now(),
        "dataChange": data_change,
        "extendedFileMetadata": True,
    }


@dataclass(frozen=True)
class Commit:
    """What a commit is called and what it counted, as DESCRIBE HISTORY shows it."""

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, int] = field(default_factory=dict)
    blind: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    def renamed(self, operation: str, more: Mapping[str, Any]) -> "Commit":
        """The same under another name, with more to remember."""
        return replace(self, operation=operation, more=more)


class VersionTakenError(StatementError):
    """The version that was to be made is there already."""


def since(location: Path, version: int) -> Iterator[tuple[int, list[Action]]]:
    """The commits after ``version``, each with its actions, in order."""
    while True:
        version += 1
        try:
            text = (location / _LOG / f"{version:020d}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        yield version, _actions(text)


def history(location: Path) -> list[Action]:
    """What each commit says of itself, and its ``version``; newest first, as far back as the log goes."""
    entries = []
    for file in sorted((location / _LOG).glob("*.json"), reverse=True):
        if re.fullmatch(r"\d{20}", file.stem):
            actions = _actions(file.read_text(encoding="utf-8"))
            said: Action = next((each["commitInfo"] for each in actions if each.get("commitInfo")), {})
            entries.append({"timestamp": int(file.stat().st_mtime * 1000), **said, "version": int(file.stem)})
    return entries


def commit(
    location: Path,
    before: Snapshot | None,
    what: Commit,
    *,
    added: Iterable[Action] = (),
    removed: Iterable[Action] = (),
    metadata: Action | None = None,
    protocol: Action | None = None,
    onto: int | None = None,
    isolation: str = "WriteSerializable",
) -> int:
    """Make the version after ``onto`` (None: after ``before``, which was read), and say which it is.

    ``VersionTakenError`` when somebody else made it.
    """
    version = (before.version + 1 if before else 0) if onto is None else onto + 1
    information: Action = {
        "timestamp": _now(),
        "operation": what.operation,
        "operationParameters": {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in what.parameters.items()
        },
        "isolationLevel": isolation,
        "isBlindAppend": what.blind,
        "operationMetrics": {key: str(value) for key, value in what.metrics.items()},
        "engineInfo": "dqctl local workspace",
        "txnId": str(uuid.uuid4()),
        **what.more,
    }
    if before is not None:
        information["readVersion"] = before.version
    actions: list[Action] = [{"commitInfo": information}]
    actions += [{"protocol": protocol}] if protocol else []
    actions += [{"metaData": metadata}] if metadata else []
    actions += [{"remove": each} for each in removed]
    actions += [{"add": each} for each in added]
    _write(location / _LOG, version, actions)
    if version and version % _CHECKPOINT_EVERY == 0:
        _checkpoint(location)
    return version


def _write(log: Path, version: int, actions: Iterable[Action]) -> None:
    log.mkdir(parents=True, exist_ok=True)
    new = log / f".{version}-{uuid.uuid4().hex}.tmp"
    try:
        new.write_text("".join(f"{json.dumps(action)}\n" for action in actions), encoding="utf-8")
        # A link, unlike a rename, fails where a file is already.
        os.link(new, log / f"{version:020d}.json")
    except FileExistsError as error:
        raise VersionTakenError(
            "DELTA_CONCURRENT_WRITE",
            f"A concurrent transaction has written version {version} of the table. Please retry the operation.",
            "2D521",
        ) from error
    finally:
        new.unlink(missing_ok=True)


def _checkpoint(location: Path) -> None:
    try:
        DeltaTable(str(location)).create_checkpoint()
    except Exception as error:  # noqa: BLE001 - the log is whole without it, whatever went wrong
        _log.warning("no checkpoint of %s: %s", location, error)


def link(source: Path, place: Path) -> None:
    """Have a file of a table at another place, too. Such files never change, so one copy on disk serves both."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:  # another file system
        shutil.copyfile(source, place)


def _now() -> int:
    return int(time.time() * 1000)
