"""The persisted catalog: catalogs, schemas, tables, views and volumes, three-level names, one JSON file.

What a table's columns are is Delta's business; the catalog knows names, places, comments and the text of views. A
change is on disk before it is visible: the new state is written beside the file and renamed over it.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog_entries import (
    CatalogEntry,
    Constraint,
    Dropped,
    Function,
    Grant,
    Name,
    Schema,
    State,
    Table,
    Volume,
    quoted,
    read_state,
)  # fmt: skip

__all__ = [
    "Catalog", "CatalogEntry", "Constraint", "Dropped", "Function", "Grant", "Name", "Schema", "Table", "Volume",
    "quoted", "valid",
]  # fmt: skip

FILE_NAME = "catalog.json"
DEFAULT_SCHEMA = "default"
INFORMATION_SCHEMA = "information_schema"

_FOLDER = 200


def folder_name(name: str) -> str:
    """A folder's readable name from an identifier. It is not unique.

    Only these characters: neither Sail 0.7.2 nor delta-rs 1.6 reads back a table below a path that a URL has to
    escape (a space, ``~``, ``%``, a letter that is not ASCII). And its beginning only: a name may have as many
    characters as a file system gives a folder with all that comes after it.
    """
    readable = (char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name)
    return "".join(readable)[:_FOLDER]


class Catalog:
    """The catalog of one data directory. Every method is safe to call from any thread."""

    def __init__(self, data_dir: Path, catalogs: Sequence[str]) -> None:
        self._data_dir = data_dir
        self._file = data_dir / FILE_NAME
        self._lock = threading.RLock()
        self._state = _read(self._file)
        missing = [name.lower() for name in catalogs if name.lower() not in self._state.catalogs]
        if missing or not self._file.exists():
            with self._change() as draft:
                for name in missing:
                    draft.catalogs[valid(name)] = CatalogEntry(schemas={DEFAULT_SCHEMA: Schema()})

    # Reading

    @property
    def directory(self) -> Path:
        """The data directory."""
        return self._data_dir

    def catalogs(self) -> dict[str, CatalogEntry]:
        """All catalogs, in order of name."""
        with self._lock:
            return dict(sorted(self._state.catalogs.items()))

    def schemas(self, catalog: str) -> dict[str, Schema]:
        """The schemas of a catalog, in order of name; ``StatementError`` when there is no such catalog."""
        with self._lock:
            entry = self._state.catalogs.get(catalog.lower())
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
                for catalog_name, entry in sorted(self._state.catalogs.items())
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
                for catalog_name, entry in sorted(self._state.catalogs.items())
                if catalog is None or catalog.lower() == catalog_name
                for _, content in sorted(entry.schemas.items())
                for _, volume in sorted(content.volumes.items())
            ]

    def find(self, name: Name) -> Table | None:
        """The table or view of that name."""
        with self._lock:
            entry = self._state.catalogs.get(name.catalog)
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
            entry = self._state.catalogs.get(name.catalog)
            content = entry.schemas.get(name.schema) if entry else None
            found = content.volumes.get(name.name) if content else None
        if found is None:
            raise errors.volume_not_found(str(name))
        return found

    def function(self, name: Name) -> Function | None:
        """The function of that name."""
        with self._lock:
            entry = self._state.catalogs.get(name.catalog)
            content = entry.schemas.get(name.schema) if entry else None
            return content.functions.get(name.name) if content else None

    def dropped(self) -> list[Dropped]:
        """What was dropped and can come back, in the order in which it went."""
        with self._lock:
            return list(self._state.dropped)

    def grants(self) -> list[Grant]:
        """All grants."""
        with self._lock:
            return list(self._state.grants)

    def path(self, entry: Table | Volume) -> Path:
        """Where it is on disk."""
        return self._data_dir / (entry.location or "")

    def new_location(self, name: Name, kind: Literal["tables", "volumes"]) -> str:
        """A place that was never used, relative to the data directory."""
        folder = f"{folder_name(name.name)}-{uuid.uuid4().hex[:12]}"
        return f"{kind}/{folder_name(name.catalog)}/{folder_name(name.schema)}/{folder}"

    # Changing

    def create_catalog(self, name: str, entry: CatalogEntry) -> None:
        """Add a catalog with its default schema; ``StatementError`` when it is there."""
        with self._change() as draft:
            if name.lower() in draft.catalogs:
                raise errors.already_exists("CATALOG", quoted(name))
            draft.catalogs[valid(name)] = replace(entry, schemas={DEFAULT_SCHEMA: Schema(), **entry.schemas})

    def create_schema(self, catalog: str, name: str, content: Schema) -> None:
        """Add a schema; ``StatementError`` when it is there."""
        with self._change() as draft:
            if name.lower() in self.schemas(catalog) or name.lower() == INFORMATION_SCHEMA:
                raise errors.already_exists("SCHEMA", f"{quoted(catalog)}.{quoted(name)}")
            draft.catalogs[catalog.lower()].schemas[valid(name)] = content

    def put(self, entry: Table | Volume | Function, *, replace_existing: bool = False) -> None:
        """Add or replace something in a schema; ``StatementError`` when one is there already."""
        valid(entry.name.name)
        now = time.time()
        if isinstance(entry, Table):
            entry = replace(entry, altered_at=now, id=entry.id or str(uuid.uuid4()))
        entry = replace(entry, created_at=entry.created_at or now)
        with self._change() as draft:
            self.schema(entry.name.catalog, entry.name.schema)
            place = _place(draft, entry)
            if entry.name.name in place and not replace_existing:
                kind = {Table: "TABLE_OR_VIEW", Volume: "VOLUME", Function: "ROUTINE"}[type(entry)]
                raise errors.already_exists(kind, str(entry.name))
            place[entry.name.name] = entry

    def edit(self, name: Name, change: Callable[[Table], Table]) -> Table:
        """Change the entry of a table or view that no other session changes meanwhile."""
        with self._lock:
            self.put(change(self.table(name)), replace_existing=True)
            return self.table(name)

    def change_tables(self, change: Callable[[Table], Table]) -> None:
        """Change tables and views, also those that were dropped; the file is written only if one does change."""
        with self._lock:
            draft = self._state.with_tables(change)
            if draft.text != self._state.text:
                _write(self._file, draft.text)
                self._state = draft

    def remove(self, entry: Table | Volume | Function) -> None:
        """Forget something for good; what is on disk is the caller's."""
        with self._change() as draft:
            _place(draft, entry).pop(entry.name.name, None)
            _forget_grants(draft, (entry.name.catalog, entry.name.schema, entry.name.name))

    def rename(self, entry: Table | Volume, new: Name) -> None:
        """Give a table or volume another name, in one step."""
        valid(new.name)
        with self._change() as draft:
            self.schema(new.catalog, new.schema)
            renamed = replace(entry, name=new)
            if isinstance(renamed, Table):
                renamed = replace(renamed, altered_at=time.time())
            place = _place(draft, renamed)
            if new.name in place:
                kind = "TABLE_OR_VIEW" if isinstance(entry, Table) else "VOLUME"
                raise errors.already_exists(kind, str(new))
            del _place(draft, entry)[entry.name.name]
            place[new.name] = renamed
            old = (entry.name.catalog, entry.name.schema, entry.name.name)
            draft.grants = [
                replace(one, name=(new.catalog, new.schema, new.name)) if one.name == old else one
                for one in draft.grants
            ]

    def edit_schema(self, catalog: str, name: str, change: Callable[[Schema], Schema]) -> None:
        """Change what is said of a schema, not what is in it."""
        with self._change() as draft:
            self.schema(catalog, name)
            schemas = draft.catalogs[catalog.lower()].schemas
            schemas[name.lower()] = change(schemas[name.lower()])

    def edit_catalog(self, name: str, change: Callable[[CatalogEntry], CatalogEntry]) -> None:
        """Change what is said of a catalog, not what is in it."""
        with self._change() as draft:
            self.schemas(name)
            draft.catalogs[name.lower()] = change(draft.catalogs[name.lower()])

    def drop_table(self, table: Table) -> None:
        """Take a table away; it can come back."""
        with self._change() as draft:
            if _place(draft, table).pop(table.name.name, None) is None:
                raise errors.table_not_found(str(table.name))
            name = (table.name.catalog, table.name.schema, table.name.name)
            draft.dropped.append(Dropped("TABLE", name, table, time.time(), table.id))
            _forget_grants(draft, name)

    def drop_schema(self, catalog: str, name: str) -> None:
        """Take a schema away with all in it; it can come back."""
        with self._change() as draft:
            self.schema(catalog, name)
            content = draft.catalogs[catalog.lower()].schemas.pop(name.lower())
            place = (catalog.lower(), name.lower())
            draft.dropped.append(Dropped("SCHEMA", place, content, time.time(), str(uuid.uuid4())))
            _forget_grants(draft, place)

    def drop_catalog(self, name: str) -> None:
        """Take a catalog away with all in it; it can come back."""
        with self._change() as draft:
            self.schemas(name)
            content = draft.catalogs.pop(name.lower())
            draft.dropped.append(Dropped("CATALOG", (name.lower(),), content, time.time(), str(uuid.uuid4())))
            _forget_grants(draft, (name.lower(),))

    def undrop(self, one: Dropped) -> None:
        """Bring back what was dropped, under the name that it had; its keys are not part of it, as documented."""
        with self._change() as draft:
            if all(each.id != one.id for each in draft.dropped):
                raise errors.nothing_to_undrop(one.kind, ".".join(map(quoted, one.name)))
            draft.dropped = [each for each in draft.dropped if each.id != one.id]
            if isinstance(one.content, Table):
                self.schema(*one.name[:2])
                place = _place(draft, one.content)
                if one.name[2] in place:
                    raise errors.already_exists("TABLE_OR_VIEW", str(one.content.name))
                kept = tuple(each for each in one.content.constraints if each.kind == "CHECK")
                place[one.name[2]] = replace(one.content, constraints=kept)
            elif isinstance(one.content, Schema):
                if one.name[1] in self.schemas(one.name[0]):
                    raise errors.already_exists("SCHEMA", ".".join(map(quoted, one.name)))
                draft.catalogs[one.name[0]].schemas[one.name[1]] = one.content
            else:
                if one.name[0] in draft.catalogs:
                    raise errors.already_exists("CATALOG", quoted(one.name[0]))
                draft.catalogs[one.name[0]] = one.content

    def forget_dropped(self, gone: Sequence[Dropped]) -> None:
        """What was dropped cannot come back any more; what is on disk is the caller's."""
        with self._change() as draft:
            ids = {one.id for one in gone}
            draft.dropped = [one for one in draft.dropped if one.id not in ids]

    def set_grants(self, change: Callable[[list[Grant]], list[Grant]]) -> None:
        """Change the grants, in one step."""
        with self._change() as draft:
            draft.grants = change(draft.grants)

    @contextmanager
    def _change(self) -> Iterator[State]:
        """A draft to change; it is on disk when it becomes what readers see."""
        with self._lock:
            draft = self._state.copy()
            yield draft
            _write(self._file, draft.text)
            self._state = draft


def _place(state: State, entry: Table | Volume | Function) -> dict[str, Any]:
    content = state.catalogs[entry.name.catalog].schemas[entry.name.schema]
    if isinstance(entry, Function):
        return content.functions
    return content.tables if isinstance(entry, Table) else content.volumes


def _forget_grants(state: State, name: tuple[str, ...]) -> None:
    state.grants = [one for one in state.grants if one.name[: len(name)] != name]


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


def _read(file: Path) -> State:
    try:
        return read_state(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return State()
