"""Catalogs and schemas, dropping things and bringing them back, and comments."""

from collections.abc import Callable
from dataclasses import replace

from dqctl.localworkspace import errors, retention
from dqctl.localworkspace.catalog import (
    DEFAULT_SCHEMA,
    INFORMATION_SCHEMA,
    CatalogEntry,
    Schema,
    Table,
    quoted,
)  # fmt: skip
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.statements import alter_columns
from dqctl.localworkspace.statements.results import nothing


def create_catalog(command: commands.CreateCatalog, context: Context) -> Result:
    """Make a catalog."""
    context.catalog.create_catalog(command.name, CatalogEntry(command.comment))
    return nothing()


def create_schema(command: commands.CreateSchema, context: Context) -> Result:
    """Make a schema."""
    catalog, schema = context.namespace.schema_of(command.parts)
    content = Schema(command.comment, properties=dict(command.properties))
    context.catalog.create_schema(catalog, schema, content)
    return nothing()


def drop(command: commands.Drop, context: Context) -> Result:
    """Take something away. Tables, schemas and catalogs can come back for a while: UNDROP."""
    try:
        _DROPS[command.what](command, context)
    except StatementError as error:
        if not command.if_exists or error.sqlstate not in ("42P01", "42704", "42883"):
            raise
    else:
        retention.expire(context.catalog)
    return nothing()


def _drop_catalog(command: commands.Drop, context: Context) -> None:
    catalog = command.parts[-1].lower()
    schemas = context.catalog.schemas(catalog)
    left = schemas.pop(DEFAULT_SCHEMA, Schema())
    if not command.cascade and (schemas or left.tables or left.volumes or left.functions):
        raise StatementError("CATALOG_NOT_EMPTY", f"Catalog {quoted(catalog)} is not empty.", "2BP01")
    context.catalog.drop_catalog(catalog)


def _drop_schema(command: commands.Drop, context: Context) -> None:
    catalog, schema = context.namespace.schema_of(command.parts)
    if schema == INFORMATION_SCHEMA:
        raise errors.unsupported("DROP SCHEMA information_schema")
    content = context.catalog.schema(catalog, schema)
    if (content.tables or content.volumes or content.functions) and not command.cascade:
        raise StatementError(
            "SCHEMA_NOT_EMPTY",
            f"Cannot drop a schema {quoted(schema)} because it contains objects. Use DROP SCHEMA ... CASCADE.",
            "2BP01",
        )
    context.catalog.drop_schema(catalog, schema)


def _drop_table(command: commands.Drop, context: Context) -> None:
    table = _relation(command, context)
    with context.writing(table):
        context.catalog.drop_table(table)
        if command.purge:
            gone = [one for one in context.catalog.dropped() if one.id == table.id]
            retention.purge(context.catalog, gone)


def _drop_view(command: commands.Drop, context: Context) -> None:
    if len(command.parts) == 1 and command.parts[0].lower() in context.temporary:
        del context.temporary[command.parts[0].lower()]
        return
    context.catalog.remove(_relation(command, context))


def _relation(command: commands.Drop, context: Context) -> Table:
    table = context.catalog.table(context.namespace.full(command.parts))
    if table.is_view != (command.what == "VIEW"):
        raise errors.wrong_object(str(table.name), command.what)
    return table


def _drop_volume(command: commands.Drop, context: Context) -> None:
    volume = context.catalog.volume(context.namespace.full(command.parts))
    context.catalog.remove(volume)
    retention.delete_files(context.catalog, volume)


def _drop_function(command: commands.Drop, context: Context) -> None:
    name = context.namespace.full(command.parts)
    function = context.catalog.function(name)
    if function is None:
        raise errors.function_not_found(str(name))
    context.catalog.remove(function)


_DROPS: dict[str, Callable[[commands.Drop, Context], None]] = {
    "CATALOG": _drop_catalog,
    "SCHEMA": _drop_schema,
    "TABLE": _drop_table,
    "VIEW": _drop_view,
    "VOLUME": _drop_volume,
    "FUNCTION": _drop_function,
}


def undrop(command: commands.Undrop, context: Context) -> Result:
    """Bring back what was dropped last under a name, or what has an id."""
    if command.what == "SCHEMA":
        name: tuple[str, ...] = context.namespace.schema_of(command.parts)
    elif command.what == "CATALOG":
        name = tuple(part.lower() for part in command.parts)
    elif command.parts:
        full = context.namespace.full(command.parts)
        name = (full.catalog, full.schema, full.name)
    else:
        name = ()
    retention.expire(context.catalog)
    found = [
        one
        for one in context.catalog.dropped()
        if one.kind == command.what and (one.id == command.id if command.id else one.name == name)
    ]
    if not found:
        raise errors.nothing_to_undrop(command.what, command.id or ".".join(map(quoted, name)))
    context.catalog.undrop(found[-1])
    return nothing()


def comment(command: commands.Comment, context: Context) -> Result:
    """Comment a catalog, schema, table, view, column or volume."""
    if command.what == "CATALOG":
        context.catalog.edit_catalog(command.parts[-1], lambda now: replace(now, comment=command.text))
    elif command.what == "SCHEMA":
        place = context.namespace.schema_of(command.parts)
        context.catalog.edit_schema(*place, lambda now: replace(now, comment=command.text))
    elif command.what == "VOLUME":
        volume = context.catalog.volume(context.namespace.full(command.parts))
        context.catalog.put(replace(volume, comment=command.text), replace_existing=True)
    elif command.what == "TABLE":
        name = context.namespace.full(command.parts)
        context.catalog.edit(name, lambda now: replace(now, comment=command.text))
    else:
        table = context.catalog.table(context.namespace.full(command.parts[:-1]))
        _comment_column(table, command.parts[-1], command.text, context)
    return nothing()


def _comment_column(table: Table, column: str, text: str | None, context: Context) -> None:
    if not table.is_view:
        with context.writing(table):
            alter_columns.comment(table, column, text, context)
        return
    if all(one.name.lower() != column.lower() for one in table.columns):
        raise errors.unresolved_column(quoted(column))

    def change(now: Table) -> Table:
        return replace(
            now,
            columns=tuple(
                replace(one, comment=text) if one.name.lower() == column.lower() else one for one in now.columns
            ),
        )

    context.catalog.edit(table.name, change)
