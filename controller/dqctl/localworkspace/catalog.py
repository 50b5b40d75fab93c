"""The persisted catalog: catalogs, schemas, tables, views and volumes, three-level names, one JSON file.

What a table's columns are is Delta's business; the catalog knows names, places, comments and the text of views. A
change is on disk before it is visible: the new state is written beside the file and renamed over it.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dqctl.localworkspace import errors
from dqctl.localworkspace.types import Column

FILE_NAME = "catalog.json"
DEFAULT_SCHEMA = "default"
INFORMATION_SCHEMA = "information_schema"


@dataclass(frozen=True)
class Name:
    """The full name of a table, view or volume, in lower case as Unity Catalog keeps names."""

    catalog: str
    schema: str
    name: str

    def __str__(self) -> str:
        """The name in SQL, quoted."""
        return ".".join(quoted(part) for part in (self.catalog, self.schema, self.name))


def quoted(part: str) -> str:
    """An identifier in backticks."""
    return "`" + part.replace("`", "``") + "`"


def folder_name(name: str) -> str:
    """A folder's readable name from an identifier. It is not unique.

    Only these characters: neither Sail 0.7.2 nor delta-rs 1.6 reads back a table below a path that a URL has to
    escape (a space, ``~``, ``%``, a letter that is not ASCII).
    """
    return "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name)


@dataclass(frozen=True)
class Table:
    """A table or view. ``location`` is relative to the data directory for managed tables, None for views."""

    name: Name
    kind: Literal["MANAGED", "EXTERNAL", "VIEW"]
    location: str | None = None
    comment: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    clustering: tuple[str, ...] = ()
    query: str | None = None
    columns: tuple[Column, ...] = ()
    created_at: float = 0.0
    altered_at: float = 0.0

    @property
    def is_view(self) -> bool:
        """Whether it is a view."""
        return self.kind == "VIEW"


@dataclass(frozen=True)
class Volume:
    """A managed volume. ``location`` is relative to the data directory."""

    name: Name
    location: str
    comment: str | None = None
    created_at: float = 0.0


@dataclass
class Schema:
    """What is in a schema, by name."""

    comment: str | None = None
    created_at: float = field(default_factory=time.time)
    tables: dict[str, Table] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)


@dataclass
class CatalogEntry:
    """What is in a catalog, by name."""

    comment: str | None = None
    created_at: float = field(default_factory=time.time)
    schemas: dict[str, Schema] = field(default_factory=dict)


class Catalog:
    """The catalog of one data directory. Every method is safe to call from any thread."""

    def __init__(self, data_dir: Path, catalogs: Sequence[str]) -> None:
        self._data_dir = data_dir
        self._file = data_dir / FILE_NAME
        self._lock = threading.RLock()
        self._entries = _read(self._file)
        missing = [name.lower() for name in catalogs if name.lower() not in self._entries]
        if missing or not self._file.exists():
            with self._change() as draft:
                for name in missing:
                    draft[valid(name)] = CatalogEntry(schemas={DEFAULT_SCHEMA: Schema()})

    # Reading

    @property
    def directory(self) -> Path:
        """The data directory."""
        return self._data_dir

    def catalogs(self) -> dict[str, CatalogEntry]:
        """All catalogs, in order of name."""
        with self._lock:
            return dict(sorted(self._entries.items()))

    def schemas(self, catalog: str) -> dict[str, Schema]:
        """The schemas of a catalog, in order of name; ``StatementError`` when there is no such catalog."""
        with self._lock:
            entry = self._entries.get(catalog.lower())
            if entry is None:
                raise errors.catalog_not_found(catalog)
            return dict(sorted(entry.schemas.items()))

    def schema(self, catalog: str, schema: str) -> Schema:
        """One schema; ``StatementError`` when it is not there."""
        found = self.schemas(catalog).get(schema.lower())
        if found is None:
            raise errors.schema_not_found(f"{quoted(catalog)}.{quoted(schema)}")
        return found

    def tables(self, catalog: str | None = None, schema: str | None = None) -> list[Table]:
        """Tables and views, in order of name, of all catalogs or of one, of all schemas or of one."""
        with self._lock:
            return [
                table
                for catalog_name, entry in sorted(self._entries.items())
                if catalog is None or catalog.lower() == catalog_name
                for schema_name, content in sorted(entry.schemas.items())
                if schema is None or schema.lower() == schema_name
                for _, table in sorted(content.tables.items())
            ]

    def volumes(self, catalog: str | None = None) -> list[Volume]:
        """Volumes of all catalogs or of one, in order of name."""
        with self._lock:
            return [
                volume
                for catalog_name, entry in sorted(self._entries.items())
                if catalog is None or catalog.lower() == catalog_name
                for _, content in sorted(entry.schemas.items())
                for _, volume in sorted(content.volumes.items())
            ]

    def find(self, name: Name) -> Table | None:
        """The table or view of that name."""
        with self._lock:
            entry = self._entries.get(name.catalog)
            content = entry.schemas.get(name.schema) if entry else None
            return content.tables.get(name.name) if content else None

    def table(self, name: Name) -> Table:
        """The table or view of that name; ``StatementError`` when there is none."""
        found = self.find(name)
        if found is None:
            raise errors.table_not_found(str(name))
        return found

    def volume(self, name: Name) -> Volume:
        """The volume of that name; ``StatementError`` when there is none."""
        with self._lock:
            entry = self._entries.get(name.catalog)
            content = entry.schemas.get(name.schema) if entry else None
            found = content.volumes.get(name.name) if content else None
        if found is None:
            raise errors.volume_not_found(str(name))
        return found

    def path(self, entry: Table | Volume) -> Path:
        """Where it is on disk."""
        return self._data_dir / (entry.location or "")

    def new_location(self, name: Name, kind: Literal["tables", "volumes"]) -> str:
        """A place that was never used, relative to the data directory."""
        folder = f"{folder_name(name.name)}-{uuid.uuid4().hex[:12]}"
        return f"{kind}/{folder_name(name.catalog)}/{folder_name(name.schema)}/{folder}"

    # Changing

    def create_catalog(self, name: str, comment: str | None = None) -> None:
        """Add a catalog with its default schema; ``StatementError`` when it is there."""
        with self._change() as draft:
            if name.lower() in draft:
                raise errors.already_exists("CATALOG", quoted(name))
            draft[valid(name)] = CatalogEntry(comment, schemas={DEFAULT_SCHEMA: Schema()})

    def create_schema(self, catalog: str, name: str, comment: str | None = None) -> None:
        """Add a schema; ``StatementError`` when it is there."""
        with self._change() as draft:
            if name.lower() in self.schemas(catalog) or name.lower() == INFORMATION_SCHEMA:
                raise errors.already_exists("SCHEMA", f"{quoted(catalog)}.{quoted(name)}")
            draft[catalog.lower()].schemas[valid(name)] = Schema(comment)

    def put(self, entry: Table | Volume, *, replace_existing: bool = False) -> None:
        """Add or replace a table, view or volume; ``StatementError`` when one is there already."""
        valid(entry.name.name)
        now = time.time()
        if isinstance(entry, Table):
            entry = replace(entry, created_at=entry.created_at or now, altered_at=now)
        else:
            entry = replace(entry, created_at=entry.created_at or now)
        with self._change() as draft:
            self.schema(entry.name.catalog, entry.name.schema)
            place = _place(draft, entry)
            if entry.name.name in place and not replace_existing:
                kind = "TABLE_OR_VIEW" if isinstance(entry, Table) else "VOLUME"
                raise errors.already_exists(kind, str(entry.name))
            place[entry.name.name] = entry

    def remove(self, entry: Table | Volume) -> None:
        """Forget a table, view or volume; what is on disk is the caller's."""
        with self._change() as draft:
            _place(draft, entry).pop(entry.name.name, None)

    def rename(self, table: Table, new: Name) -> None:
        """Give a table another name, in one step."""
        valid(new.name)
        with self._change() as draft:
            if new.name in self.schema(new.catalog, new.schema).tables:
                raise errors.already_exists("TABLE_OR_VIEW", str(new))
            _place(draft, table).pop(table.name.name, None)
            renamed = replace(table, name=new, altered_at=time.time())
            _place(draft, renamed)[new.name] = renamed

    def remove_schema(self, catalog: str, name: str) -> None:
        """Forget a schema and all in it."""
        with self._change() as draft:
            self.schema(catalog, name)
            del draft[catalog.lower()].schemas[name.lower()]

    def remove_catalog(self, name: str) -> None:
        """Forget a catalog and all in it."""
        with self._change() as draft:
            self.schemas(name)
            del draft[name.lower()]

    def set_comment(self, catalog: str, schema: str | None, comment: str | None) -> None:
        """Comment a catalog, or a schema of it."""
        with self._change() as draft:
            self.schemas(catalog)
            if schema is None:
                draft[catalog.lower()].comment = comment
            else:
                self.schema(catalog, schema)
                draft[catalog.lower()].schemas[schema.lower()].comment = comment

    @contextmanager
    def _change(self) -> Iterator[dict[str, CatalogEntry]]:
        """A draft to change; it is on disk when it becomes what readers see."""
        with self._lock:
            draft = {
                name: replace(
                    entry,
                    schemas={
                        key: replace(content, tables=dict(content.tables), volumes=dict(content.volumes))
                        for key, content in entry.schemas.items()
                    },
                )
                for name, entry in self._entries.items()
            }
            yield draft
            _write(self._file, json.dumps({"version": 1, "catalogs": draft}, default=_saved, indent=1))
            self._entries = draft


def _place(entries: dict[str, CatalogEntry], entry: Table | Volume) -> dict[str, Any]:
    content = entries[entry.name.catalog].schemas[entry.name.schema]
    return content.tables if isinstance(entry, Table) else content.volumes


def _saved(entry: Any) -> dict[str, Any]:
    return dict(vars(entry))


def valid(name: str) -> str:
    """``name`` in lower case; ``StatementError`` for what Unity Catalog refuses in a name."""
    if not name or len(name) > 255 or any(char in "./ " or ord(char) < 32 or ord(char) == 127 for char in name):
        raise errors.invalid_parameter(
            f"{quoted(name)} is not a valid name: at most 255 characters, and no period, space, slash or control "
            f"character."
        )
    return name.lower()


def _write(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    with new.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(file: Path) -> dict[str, CatalogEntry]:
    try:
        return _from_json(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _from_json(state: dict[str, Any]) -> dict[str, CatalogEntry]:
    def table(saved: dict[str, Any]) -> Table:
        columns = tuple(Column(**column) for column in saved.pop("columns"))
        clustering = tuple(saved.pop("clustering"))
        return Table(**{**saved, "name": Name(**saved["name"])}, columns=columns, clustering=clustering)

    def schema(saved: dict[str, Any]) -> Schema:
        return Schema(
            saved["comment"],
            saved["created_at"],
            {name: table(one) for name, one in saved["tables"].items()},
            {name: Volume(**{**one, "name": Name(**one["name"])}) for name, one in saved["volumes"].items()},
        )

    return {
        name: CatalogEntry(
            entry["comment"],
            entry["created_at"],
            {schema_name: schema(saved) for schema_name, saved in entry["schemas"].items()},
        )
        for name, entry in state["catalogs"].items()
    }
