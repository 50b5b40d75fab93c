"""Catalogs and schemas, dropping things, and comments."""

import shutil
from dataclasses import replace

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import Table, Volume, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.statements.results import nothing


def create_catalog(command: commands.CreateCatalog, context: Context) -> Result:
    """Make a catalog."""
    context.catalog.create_catalog(command.name, command.comment)
    return nothing()


def create_schema(command: commands.CreateSchema, context: Context) -> Result:
    """Make a schema."""
    catalog, schema = context.namespace.schema_of(command.parts)
    context.catalog.create_schema(catalog, schema, command.comment)
    return nothing()


def drop(command: commands.Drop, context: Context) -> Result:
    """Forget something, and then delete what it had on disk."""
    if command.what == "CATALOG":
        return _drop_catalog(command, context)
    if command.what == "SCHEMA":
        return _drop_schema(command, context)
    name = context.namespace.full(command.parts)
    try:
        entry: Table | Volume = (
            context.catalog.volume(name) if command.what == "VOLUME" else context.catalog.table(name)
        )
    except StatementError as error:
        if command.if_exists and error.sqlstate in ("42P01", "42704"):
            return nothing()
        raise
    if isinstance(entry, Table) and entry.is_view != (command.what == "VIEW"):
        raise errors.wrong_object(str(name), command.what)
    _remove(entry, context)
    return nothing()


def _drop_catalog(command: commands.Drop, context: Context) -> Result:
    catalog = command.parts[-1].lower()
    if command.if_exists and catalog not in context.catalog.catalogs():
        return nothing()
    if not command.cascade and set(context.catalog.schemas(catalog)) - {"default"}:
        raise StatementError("CATALOG_NOT_EMPTY", f"Catalog {quoted(catalog)} is not empty.", "2BP01")
    entries: list[Table | Volume] = [*context.catalog.tables(catalog), *context.catalog.volumes(catalog)]
    context.catalog.remove_catalog(catalog)
    _delete(entries, context)
    return nothing()


def _drop_schema(command: commands.Drop, context: Context) -> Result:
    catalog, schema = context.namespace.schema_of(command.parts)
    if command.if_exists and schema not in context.catalog.schemas(catalog):
        return nothing()
    content = context.catalog.schema(catalog, schema)
    entries: list[Table | Volume] = [*content.tables.values(), *content.volumes.values()]
    if entries and not command.cascade:
        raise StatementError(
            "SCHEMA_NOT_EMPTY",
            f"Cannot drop a schema {quoted(schema)} because it contains objects. Use DROP SCHEMA ... CASCADE.",
            "2BP01",
        )
    context.catalog.remove_schema(catalog, schema)
    _delete(entries, context)
    return nothing()


def _remove(entry: Table | Volume, context: Context) -> None:
    context.catalog.remove(entry)
    _delete([entry], context)


def _delete(entries: list[Table | Volume], context: Context) -> None:
    for entry in entries:
        if isinstance(entry, Volume) or entry.kind == "MANAGED":
            shutil.rmtree(context.catalog.path(entry), ignore_errors=True)


def comment(command: commands.Comment, context: Context) -> Result:
    """Comment a catalog, schema, table, view, column or volume."""
    if command.what == "CATALOG":
        context.catalog.set_comment(command.parts[-1], None, command.text)
    elif command.what == "SCHEMA":
        context.catalog.set_comment(*context.namespace.schema_of(command.parts), command.text)
    elif command.what == "VOLUME":
        volume = context.catalog.volume(context.namespace.full(command.parts))
        context.catalog.put(replace(volume, comment=command.text), replace_existing=True)
    elif command.what == "TABLE":
        table = context.catalog.table(context.namespace.full(command.parts))
        context.catalog.put(replace(table, comment=command.text), replace_existing=True)
    else:
        table = context.catalog.table(context.namespace.full(command.parts[:-1]))
        comment_column(table, command.parts[-1], command.text, context)
    return nothing()


def comment_column(table: Table, column: str, text: str | None, context: Context) -> None:
    """Comment a column of a table."""
    if table.is_view:
        raise errors.unsupported("A comment on a column of a view")
    path = context.catalog.path(table)
    with context.writing(table):
        found = next((one for one in delta.columns(path) if one.name.lower() == column.lower()), None)
        if found is None:
            raise errors.unresolved_column(quoted(column))
        delta.comment_column(path, found.name, text or "")
