"""What the catalog holds, as data, and its text on disk."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

from dqctl.localworkspace.types import Column


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


@dataclass(frozen=True)
class Constraint:
    """A constraint of a table: CHECK is enforced, keys inform.

    ``expression`` is the text of a CHECK; ``parent`` and ``parent_columns`` are what a foreign key refers to.
    """

    name: str
    kind: Literal["CHECK", "PRIMARY KEY", "FOREIGN KEY"]
    columns: tuple[str, ...] = ()
    expression: str | None = None
    parent: Name | None = None
    parent_columns: tuple[str, ...] = ()
    rely: bool = False

    @property
    def sql(self) -> str:
        """What follows its name in a statement."""
        if self.kind == "CHECK":
            return f"CHECK ({self.expression})"
        text = f"{self.kind} ({', '.join(map(quoted, self.columns))})"
        if self.parent is not None:
            text += f" REFERENCES {self.parent} ({', '.join(map(quoted, self.parent_columns))})"
        return text + (" RELY" if self.rely else "")


@dataclass(frozen=True)
class Table:
    """A table or view. ``location`` is relative to the data directory for managed tables, None for views.

    Of a table, most ``properties`` and all CHECK ``constraints`` are in its log: see ``table_properties``.
    """

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
    id: str = ""
    owner: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    column_tags: dict[str, dict[str, str]] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()

    @property
    def is_view(self) -> bool:
        """Whether it is a view."""
        return self.kind == "VIEW"

    @cached_property
    def text(self) -> str:
        """The table in the file."""
        return json.dumps({one.name: getattr(self, one.name) for one in fields(self)}, default=asdict)

    @cached_property
    def line(self) -> str:
        """With its name. A change of one table must not cost what writing all others anew does."""
        return f"{json.dumps(self.name.name)}: {self.text}"


@dataclass(frozen=True)
class Volume:
    """A managed volume. ``location`` is relative to the data directory."""

    name: Name
    location: str
    comment: str | None = None
    created_at: float = 0.0
    owner: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @cached_property
    def line(self) -> str:
        """Its line in the file."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        return f"{json.dumps(self.name.name)}: {json.dumps(content, default=asdict)}"


@dataclass(frozen=True)
class Function:
    """A function in SQL. ``body`` is an expression over its parameters; ``parameters`` are names and types."""

    name: Name
    parameters: tuple[tuple[str, str], ...]
    returns: str | None
    body: str
    comment: str | None = None
    created_at: float = 0.0

    @cached_property
    def line(self) -> str:
        """Its line in the file."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        return f"{json.dumps(self.name.name)}: {json.dumps(content, default=asdict)}"


@dataclass
class Schema:
    """What is in a schema, by name."""

    comment: str | None = None
    created_at: float = field(default_factory=time.time)
    tables: dict[str, Table] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    owner: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "Schema":
        """Another one with the same content."""
        return replace(self, tables=dict(self.tables), volumes=dict(self.volumes), functions=dict(self.functions))

    def with_tables(self, change: Callable[[Table], Table]) -> "Schema":
        """The same with each table or view changed."""
        return replace(self, tables={name: change(one) for name, one in self.tables.items()})

    @property
    def text(self) -> str:
        """Its lines in the file."""
        own = {key: getattr(self, key) for key in ("comment", "created_at", "owner", "properties", "tags")}
        return _braced(
            {key: json.dumps(value) for key, value in own.items()}
            | {"tables": _lines(self.tables), "volumes": _lines(self.volumes), "functions": _lines(self.functions)}
        )


@dataclass
class CatalogEntry:
    """What is in a catalog, by name."""

    comment: str | None = None
    created_at: float = field(default_factory=time.time)
    schemas: dict[str, Schema] = field(default_factory=dict)
    owner: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "CatalogEntry":
        """Another one with the same content."""
        return replace(self, schemas={name: schema.copy() for name, schema in self.schemas.items()})

    def with_tables(self, change: Callable[[Table], Table]) -> "CatalogEntry":
        """The same with each table or view changed."""
        return replace(self, schemas={name: one.with_tables(change) for name, one in self.schemas.items()})

    @property
    def text(self) -> str:
        """Its lines in the file."""
        own = {key: json.dumps(getattr(self, key)) for key in ("comment", "created_at", "owner", "tags")}
        return _braced(own | {"schemas": _braced({name: one.text for name, one in self.schemas.items()})})


@dataclass(frozen=True)
class Dropped:
    """What was dropped and can come back: a table, or a schema or catalog with all that was in it."""

    kind: Literal["TABLE", "SCHEMA", "CATALOG"]
    name: tuple[str, ...]
    content: Table | Schema | CatalogEntry
    at: float
    id: str

    @cached_property
    def text(self) -> str:
        """Its line in the file."""
        own = {"kind": self.kind, "name": list(self.name), "at": self.at, "id": self.id}
        return _braced({key: json.dumps(one) for key, one in own.items()} | {"content": self.content.text})

    @property
    def entries(self) -> "list[Table | Volume]":
        """The tables and volumes that have something on disk."""
        if isinstance(self.content, Table):
            return [self.content]
        schemas = [self.content] if isinstance(self.content, Schema) else list(self.content.schemas.values())
        found: list[Table | Volume] = []
        for schema in schemas:
            found += schema.tables.values()
            found += schema.volumes.values()
        return found


@dataclass(frozen=True)
class Grant:
    """That ``principal`` has ``privilege`` on ``kind`` ``name``. Shown, not enforced: a workspace has one user."""

    principal: str
    privilege: str
    kind: str
    name: tuple[str, ...]


@dataclass
class State:
    """All that the catalog knows."""

    catalogs: dict[str, CatalogEntry] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)

    def copy(self) -> "State":
        """A draft: what is changed in it does not show here."""
        return State(
            {name: entry.copy() for name, entry in self.catalogs.items()}, list(self.dropped), list(self.grants)
        )

    def with_tables(self, change: Callable[[Table], Table]) -> "State":
        """The same with each table or view changed, also of those that were dropped."""
        draft = self.copy()
        draft.catalogs = {name: entry.with_tables(change) for name, entry in draft.catalogs.items()}
        draft.dropped = [
            replace(
                one,
                content=change(one.content) if isinstance(one.content, Table) else one.content.with_tables(change),
            )
            for one in draft.dropped
        ]
        return draft

    @property
    def text(self) -> str:
        """The file."""
        return _braced(
            {
                "version": "1",
                "catalogs": _braced({name: entry.text for name, entry in self.catalogs.items()}),
                "dropped": _listed(one.text for one in self.dropped),
                "grants": _listed(json.dumps(asdict(one)) for one in self.grants),
            }
        )


def _lines(entries: Mapping[str, Table | Volume | Function]) -> str:
    return "{" + ",\n".join([one.line for one in entries.values()]) + "}"


def _braced(parts: Mapping[str, str]) -> str:
    return "{" + ",\n".join(f"{json.dumps(key)}: {text}" for key, text in parts.items()) + "}"


def _listed(parts: Iterable[str]) -> str:
    return "[" + ",\n".join(parts) + "]"


def read_state(text: str) -> State:
    """The state from the file; what an earlier dqctl did not write has its default."""
    saved = json.loads(text)
    return State(
        {name: _catalog(entry) for name, entry in saved["catalogs"].items()},
        [_dropped(one) for one in saved.get("dropped", ())],
        [Grant(**{**one, "name": tuple(one["name"])}) for one in saved.get("grants", ())],
    )


def _catalog(saved: dict[str, Any]) -> CatalogEntry:
    return CatalogEntry(
        **{**saved, "schemas": {name: _schema(schema) for name, schema in saved["schemas"].items()}}
    )


def _schema(saved: dict[str, Any]) -> Schema:
    return Schema(
        **{
            **saved,
            "tables": {name: _table(one) for name, one in saved["tables"].items()},
            "volumes": {
                name: Volume(**{**one, "name": Name(**one["name"])}) for name, one in saved["volumes"].items()
            },
            "functions": {name: _function(one) for name, one in saved.get("functions", {}).items()},
        }
    )


def _table(saved: dict[str, Any]) -> Table:
    return Table(
        **{
            **saved,
            "name": Name(**saved["name"]),
            "id": saved.get("id") or str(uuid.uuid4()),
            "columns": tuple(Column(**column) for column in saved["columns"]),
            "clustering": tuple(saved["clustering"]),
            "constraints": tuple(_constraint(one) for one in saved.get("constraints", ())),
        }
    )


def _constraint(saved: dict[str, Any]) -> Constraint:
    parent = saved["parent"]
    return Constraint(
        **{
            **saved,
            "columns": tuple(saved["columns"]),
            "parent": None if parent is None else Name(**parent),
            "parent_columns": tuple(saved["parent_columns"]),
        }
    )


def _function(saved: dict[str, Any]) -> Function:
    parameters = tuple((name, kind) for name, kind in saved["parameters"])
    return Function(**{**saved, "name": Name(**saved["name"]), "parameters": parameters})


def _dropped(saved: dict[str, Any]) -> Dropped:
    read = {"TABLE": _table, "SCHEMA": _schema, "CATALOG": _catalog}[saved["kind"]]
    return Dropped(**{**saved, "name": tuple(saved["name"]), "content": read(saved["content"])})
