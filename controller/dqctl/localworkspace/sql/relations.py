"""Relations in a statement, made into something that the engine can read by itself.

A Delta table becomes its path, a view its query, a part of information_schema its rows, ``read_files`` the files.
So the engine needs no catalog, and a session of it is ready at once however many tables there are.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sqlglot import exp

from dqctl.localworkspace import errors, information_schema
from dqctl.localworkspace.catalog import Catalog, Name, Table
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.delta import columns, is_table
from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql.functions import inline
from dqctl.localworkspace.sql.names import Namespace, is_information_schema, is_path, named_relations, parts_of
from dqctl.localworkspace.sql.read_files import METADATA, relation
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.volumes import Volumes

_SCOPES = (exp.Select, exp.Update, exp.Delete, exp.Merge)
_MAX_VIEW_DEPTH = 100
_RESOLVED = "resolved"


def at_path(location: Path, version: int | None = None) -> exp.Table:
    """A relation that is the Delta table at ``location``, whatever the catalog says."""
    table = exp.Table(this=exp.to_identifier(str(location), quoted=True), db=exp.to_identifier("delta"))
    if version is not None:
        table.set("version", _version(version))
    table.meta[_RESOLVED] = True
    return table


def _version(number: int) -> exp.Version:
    return exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(str(number)))


@dataclass
class Pin:
    """The version of a table that all of a statement reads; ``is_read`` says whether something did by its name."""

    version: int
    is_read: bool = False


def held(view: str) -> exp.Table:
    """A relation that is a temporary view of the engine's, whatever the catalog says."""
    table = exp.Table(this=exp.to_identifier(view, quoted=True))
    table.meta[_RESOLVED] = True
    return table


class Place(Protocol):
    """What the names of a statement are looked up in: the session's context."""

    catalog: Catalog
    volumes: Volumes
    namespace: Namespace
    pinned: dict[Path, Pin]

    @property
    def engine(self) -> EngineSession:
        """What reads."""
        ...

    def relation(self, parts: Sequence[str]) -> Table:
        """The table or view that a name means."""
        ...


class Relations:
    """Resolves the relations of one statement; what it puts into the engine for it goes when ``stack`` closes."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self._place = place
        self._catalog = place.catalog
        self.volumes = place.volumes
        self.engine = place.engine
        self._namespace = place.namespace
        self._stack = stack
        self._information: dict[Name, str] = {}

    def resolve(self, tree: exp.Expr, depth: int = 0) -> exp.Expr:
        """``tree`` with every relation resolved, in place; ``StatementError`` for one that is not there."""
        if depth > _MAX_VIEW_DEPTH:
            raise StatementError("VIEW_EXCEED_MAX_NESTED_DEPTH", "The views nest too deeply.", "54K00")
        inline(tree, self._catalog, self._namespace)
        shortened: list[tuple[exp.Expr | None, Name, str]] = []
        for table in list(named_relations(tree)):
            if table.meta.get(_RESOLVED):
                continue
            if is_path(table):
                self._path(table)
                continue
            _read_at_sign(table)
            name = self._namespace.full(parts_of(table))
            scope = table.find_ancestor(*_SCOPES)
            if not table.alias:
                alias = _free_alias(name, scope, shortened)
                table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
                shortened.append((scope, name, alias))
            if is_information_schema(table):
                _point_to(table, exp.to_identifier(self._information_relation(name), quoted=True))
            else:
                self._table_or_view(table, self._place.relation(parts_of(table)), depth)
        _shorten_columns(tree, shortened)
        for function in list(tree.find_all(exp.Anonymous)):
            if function.name.lower() == "read_files" and isinstance(function.parent, exp.Table):
                self._read_files(function, function.parent)
        return tree

    def _table_or_view(self, relation: exp.Table, table: Table, depth: int) -> None:
        if not table.is_view:
            path = self._catalog.path(table)
            if not relation.args.get("version") and not columns(path):
                raise errors.without_columns(str(table.name))
            _point_to(relation, exp.to_identifier(str(path), quoted=True), "delta")
            pin = self._place.pinned.get(path)
            if pin is not None and not relation.args.get("version"):
                relation.set("version", _version(pin.version))
                pin.is_read = True
            return
        if relation.args.get("version"):
            raise errors.wrong_object(str(table.name), "TABLE")
        query = self.resolve(parse_tree(table.query or ""), depth + 1)
        alias = relation.args["alias"]
        if _is_star(query):
            # What its tables have got since is no part of the view.
            own = [exp.column(exp.to_identifier(column.name, quoted=True)) for column in table.columns]
            query = exp.select(*own).from_(exp.Subquery(this=query, alias=exp.to_identifier("_view")))
        if not alias.columns:
            alias.set("columns", [exp.to_identifier(column.name, quoted=True) for column in table.columns])
        kept = {
            key: value for key, value in relation.args.items() if key not in ("this", "db", "catalog", "alias")
        }
        relation.replace(exp.Subquery(this=query, alias=alias, **kept))

    def _information_relation(self, name: Name) -> str:
        if name not in self._information:
            rows = information_schema.rows(self._catalog, name)
            self._information[name] = self._stack.enter_context(self.engine.relation(rows))
        return self._information[name]

    def _path(self, table: exp.Table) -> None:
        if not table.name.startswith("/Volumes/"):
            raise errors.unsupported(f"Reading {table.db}.`{table.name}`: only files of volumes are,")
        if table.db.lower() == "delta":
            place = self.volumes.file(table.name)
            if not is_table(place):
                raise StatementError("DELTA_TABLE_NOT_FOUND", f"There is no Delta table at {table.name}.", "42P01")
            _point_to(table, exp.to_identifier(str(place), quoted=True), "delta")
            return
        # Such a name says nothing of a header; types are inferred, as for read_files.
        self._files(table, table.name, {"format": table.db.lower()})

    def _read_files(self, function: exp.Anonymous, table: exp.Table) -> None:
        path, options = read_files_arguments(function)
        self._files(table, path, options)

    def _files(self, table: exp.Table, path: str, options: Mapping[str, str]) -> None:
        scope = table.find_ancestor(exp.Select)
        wanted = scope is not None and _asks_for_metadata(scope)
        found = relation(self, path, options, self._stack, metadata=wanted)
        if isinstance(found, exp.Table):
            _point_to(table, found.this)
            return
        kept = {key: value for key, value in table.args.items() if key not in ("this", "db", "catalog")}
        table.replace(exp.Subquery(this=found.this, **kept))
        if scope is not None:
            _hide_metadata(scope)


def _asks_for_metadata(scope: exp.Select) -> bool:
    return any(METADATA in {part.name.lower() for part in each.parts[:2]} for each in scope.find_all(exp.Column))


def _hide_metadata(scope: exp.Select) -> None:
    """``*`` is the files' own columns: ``_metadata`` comes to who names it."""
    for each in list(scope.expressions):
        star = each.this if isinstance(each, exp.Column) else each
        if isinstance(star, exp.Star) and not star.args.get("except_"):
            star.set("except_", [exp.to_identifier(METADATA)])


def read_files_arguments(function: exp.Anonymous) -> tuple[str, dict[str, str]]:
    """The path and the named options of a ``read_files`` call."""
    path: str | None = None
    options: dict[str, str] = {}
    for argument in function.expressions:
        if isinstance(argument, exp.Kwarg):
            options[argument.this.name] = argument.expression.name or argument.expression.sql("databricks")
        elif isinstance(argument, exp.Literal) and argument.is_string and path is None:
            path = argument.name
        else:
            raise errors.invalid_parameter(f"read_files cannot take {argument.sql('databricks')}.")
    path = path or options.pop("path", None)
    if path is None:
        raise errors.invalid_parameter("read_files needs a path.")
    return path, options


def _is_star(query: exp.Expr) -> bool:
    return isinstance(query, exp.Query) and any(one.is_star for one in query.selects)


def _point_to(table: exp.Table, this: exp.Identifier, db: str | None = None) -> None:
    table.set("this", this)
    table.set("db", exp.to_identifier(db) if db else None)
    table.set("catalog", None)


def _read_at_sign(table: exp.Table) -> None:
    """``t@v3`` and ``t@20200101000000000``, which sqlglot takes for an alias."""
    alias = table.args.get("alias")
    if alias is None or not isinstance(alias.this, exp.Parameter):
        return
    text = alias.this.name
    if re.fullmatch(r"v\d+", text, re.IGNORECASE):
        version = exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(text[1:]))
    elif re.fullmatch(r"\d{17}", text):
        when = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC, microsecond=int(text[14:]) * 1000)
        version = exp.Version(this="TIMESTAMP", kind="AS OF", expression=exp.Literal.string(when.isoformat(" ")))
    else:
        raise errors.syntax_error(f"Syntax error at or near '@{text}': a version is @v<number> or a timestamp.")
    table.set("alias", None)
    table.set("version", version)


def _free_alias(name: Name, scope: exp.Expr | None, taken: list[tuple[exp.Expr | None, Name, str]]) -> str:
    """The table's own name, or with its schema where two of the same name meet."""
    here = {alias for where, _, alias in taken if where is scope}
    return name.name if name.name not in here else f"{name.schema}.{name.name}"


def _shorten_columns(tree: exp.Expr, shortened: list[tuple[exp.Expr | None, Name, str]]) -> None:
    """``schema.table.column`` becomes ``table.column``: the engine sees the alias only."""
    for column in list(tree.find_all(exp.Column)):
        if not column.args.get("db"):
            continue
        scope: exp.Expr | None = column.find_ancestor(*_SCOPES)
        while scope is not None:
            match = next((s for s in shortened if s[0] is scope and _names(column, s[1])), None)
            if match:
                column.set("table", exp.to_identifier(match[2], quoted=True))
                column.set("db", None)
                column.set("catalog", None)
                break
            scope = scope.find_ancestor(*_SCOPES)


def _names(column: exp.Column, name: Name) -> bool:
    return (
        column.table.lower() == name.name
        and column.text("db").lower() == name.schema
        and column.text("catalog").lower() in ("", name.catalog)
    )
