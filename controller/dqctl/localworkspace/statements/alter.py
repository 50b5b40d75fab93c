"""ALTER of what is not a column: names, owners, tags, properties, clustering, constraints, the query of a view."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dqctl.localworkspace import errors, transaction_log
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, CatalogEntry, Schema, Table, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.information_schema import columns_of
from dqctl.localworkspace.sql import alterations
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.statements import alter_columns, constraints
from dqctl.localworkspace.statements.results import nothing
from dqctl.localworkspace.statements.tables import view_of
from dqctl.localworkspace.table_properties import configured, for_entry, for_log, is_check, properties_of

Tags = Mapping[str, str | None]


def alter(command: alterations.Alter, context: Context) -> Result:
    """ALTER TABLE, VIEW, SCHEMA, CATALOG and VOLUME."""
    {
        "TABLE": _relation, "VIEW": _relation, "SCHEMA": _schema, "CATALOG": _catalog, "VOLUME": _volume,
    }[command.what](command, context)  # fmt: skip
    return nothing()


def _relation(command: alterations.Alter, context: Context) -> None:
    table = context.catalog.table(context.namespace.full(command.parts))
    action = command.action
    # The columns of a view are tagged by ALTER TABLE.
    columns_tags = isinstance(action, alterations.SetTags) and action.column is not None
    if table.is_view != (command.what == "VIEW") and not columns_tags:
        raise errors.wrong_object(str(table.name), command.what)
    change = _ON_RELATIONS.get(type(action))
    if change is None or (table.is_view and type(action) not in _ON_VIEWS):
        raise _not_for(command)
    change(action, table, context)


def _not_for(command: alterations.Alter) -> StatementError:
    return errors.unsupported(f"ALTER {command.what} with {type(command.action).__name__}")


def _rename(action: alterations.RenameTo, table: Table, context: Context) -> None:
    new = context.namespace.full(action.parts)
    if len(action.parts) == 1:
        # Without a schema it stays in its own, wherever the session stands.
        new = replace(new, catalog=table.name.catalog, schema=table.name.schema)
    if new.catalog != table.name.catalog:
        raise errors.unsupported("RENAME TO another catalog")
    with context.writing(table):
        context.catalog.rename(context.catalog.table(table.name), new)


def _owner(action: alterations.SetOwner, table: Table, context: Context) -> None:
    context.catalog.edit(table.name, lambda now: replace(now, owner=action.principal))


def _properties(action: alterations.SetProperties, table: Table, context: Context) -> None:
    _no_constraint_among(action.properties)
    mine = action.properties if table.is_view else for_entry(action.properties)
    with context.writing(table):
        _configure(
            "SET TBLPROPERTIES",
            {"properties": dict(action.properties)},
            lambda now: now | for_log(action.properties),
            table,
            context,
        )
        context.catalog.edit(table.name, lambda now: replace(now, properties={**now.properties, **mine}))


def _configure(
    operation: str,
    parameters: Mapping[str, object],
    change: Callable[[dict[str, str]], dict[str, str]],
    table: Table,
    context: Context,
) -> None:
    if table.is_view:
        return
    path = context.catalog.path(table)
    before = transaction_log.read(path)
    metadata, protocol = configured(before, change(before.configuration))
    what = transaction_log.Commit(operation, parameters)
    transaction_log.commit(path, before, what, metadata=metadata, protocol=protocol)


def _note(operation: str, parameters: Mapping[str, object], table: Table, context: Context) -> None:
    """Have the table's history say what was done to its entry, as it does on Databricks: a version of its own."""
    if table.is_view:
        return
    path = context.catalog.path(table)
    with context.writing(table):
        transaction_log.commit(path, transaction_log.read(path), transaction_log.Commit(operation, parameters))


def _no_constraint_among(properties: Mapping[str, str]) -> None:
    if any(map(is_check, properties)):
        raise errors.invalid_parameter("A CHECK constraint is added by ALTER TABLE ... ADD CONSTRAINT.")


def _unset_properties(action: alterations.UnsetProperties, table: Table, context: Context) -> None:
    _no_constraint_among(dict.fromkeys(action.keys, ""))
    there = properties_of(context.catalog, table)
    missing = [key for key in action.keys if key not in there]
    if missing and not action.if_exists:
        raise StatementError(
            "UNSET_NONEXISTENT_PROPERTIES",
            f"Attempted to unset non-existent properties [{', '.join(map(quoted, missing))}] in table "
            f"{table.name}.",
            "42K0J",
        )

    def without(properties: Mapping[str, str]) -> dict[str, str]:
        return {key: one for key, one in properties.items() if key not in action.keys}

    parameters = {"properties": list(action.keys), "ifExists": action.if_exists}
    with context.writing(table):
        _configure("UNSET TBLPROPERTIES", parameters, without, table, context)
        context.catalog.edit(table.name, lambda now: replace(now, properties=without(now.properties)))


def _clustering(action: alterations.ClusterBy, table: Table, context: Context) -> None:
    alter_columns.known(action.columns, table, context)
    old, new = ", ".join(table.clustering), ", ".join(action.columns)
    _note("CLUSTER BY", {"oldClusteringColumns": old, "newClusteringColumns": new}, table, context)
    context.catalog.edit(table.name, lambda now: replace(now, clustering=action.columns))


def tagged(tags: Mapping[str, str], change: Tags) -> dict[str, str]:
    """The tags after a change; a value of None takes one away."""
    return {key: value for key, value in {**tags, **change}.items() if value is not None}


def _tags(action: alterations.SetTags, table: Table, context: Context) -> None:
    if action.column is None:
        context.catalog.edit(table.name, lambda now: replace(now, tags=tagged(now.tags, action.tags)))
        return
    wanted = action.column.lower()
    column = next((one.name for one in columns_of(context.catalog, table) if one.name.lower() == wanted), None)
    if column is None:
        raise errors.unresolved_column(quoted(action.column))

    def change(now: Table) -> Table:
        tags = {**now.column_tags, column: tagged(now.column_tags.get(column, {}), action.tags)}
        return replace(now, column_tags={name: each for name, each in tags.items() if each})

    context.catalog.edit(table.name, change)


def _query(action: alterations.SetQuery, table: Table, context: Context) -> None:
    view = view_of(table.name, parse_tree(action.query), [], context)
    context.catalog.edit(table.name, lambda now: replace(now, query=view.query, columns=view.columns))


def _nothing(_: object, __: Table, ___: Context) -> None:
    pass


_ON_RELATIONS: dict[type, Callable[[Any, Table, Context], None]] = {
    alterations.RenameTo: _rename,
    alterations.SetOwner: _owner,
    alterations.SetProperties: _properties,
    alterations.UnsetProperties: _unset_properties,
    alterations.SetTags: _tags,
    alterations.ClusterBy: _clustering,
    alterations.AddColumns: alter_columns.add,
    alterations.DropColumns: alter_columns.drop,
    alterations.RenameColumn: alter_columns.rename,
    alterations.ChangeColumns: alter_columns.change,
    alterations.AddConstraint: constraints.add,
    alterations.DropConstraint: constraints.drop,
    alterations.SetQuery: _query,
    alterations.NoChange: _nothing,
}
_ON_VIEWS = {
    alterations.RenameTo, alterations.SetOwner, alterations.SetProperties, alterations.UnsetProperties,
    alterations.SetTags, alterations.SetQuery,
}  # fmt: skip


def _schema(command: alterations.Alter, context: Context) -> None:
    catalog, name = context.namespace.schema_of(command.parts)
    if name == INFORMATION_SCHEMA:
        raise errors.unsupported("ALTER SCHEMA information_schema")
    action = command.action

    def change(now: Schema) -> Schema:
        if isinstance(action, alterations.SetOwner):
            return replace(now, owner=action.principal)
        if isinstance(action, alterations.SetProperties):
            return replace(now, properties={**now.properties, **action.properties})
        if isinstance(action, alterations.SetTags):
            return replace(now, tags=tagged(now.tags, action.tags))
        if isinstance(action, alterations.NoChange):
            return now
        raise _not_for(command)

    context.catalog.edit_schema(catalog, name, change)


def _catalog(command: alterations.Alter, context: Context) -> None:
    action = command.action

    def change(now: CatalogEntry) -> CatalogEntry:
        if isinstance(action, alterations.SetOwner):
            return replace(now, owner=action.principal)
        if isinstance(action, alterations.SetTags):
            return replace(now, tags=tagged(now.tags, action.tags))
        if isinstance(action, alterations.NoChange):
            return now
        raise _not_for(command)

    context.catalog.edit_catalog(command.parts[-1], change)


def _volume(command: alterations.Alter, context: Context) -> None:
    volume = context.catalog.volume(context.namespace.full(command.parts))
    action = command.action
    if isinstance(action, alterations.RenameTo):
        new = context.namespace.full(action.parts)
        if len(action.parts) == 1:
            new = replace(new, catalog=volume.name.catalog, schema=volume.name.schema)
        context.catalog.rename(volume, new)
    elif isinstance(action, alterations.SetOwner):
        context.catalog.put(replace(volume, owner=action.principal), replace_existing=True)
    elif isinstance(action, alterations.SetTags):
        changed = replace(volume, tags=tagged(volume.tags, action.tags))
        context.catalog.put(changed, replace_existing=True)
    else:
        raise _not_for(command)
