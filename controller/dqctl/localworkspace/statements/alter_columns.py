"""ALTER TABLE on columns.

What Delta keeps in a table's metadata is one commit that touches no file. RENAME, DROP and a wider type are column
mapping and type widening on Databricks, where they have to be enabled; here, where neither Sail 0.7.2 nor delta-rs
1.6 writes such tables, they are one commit that writes the rows anew.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlglot import exp

from dqctl.localworkspace import delta, errors, transaction_log
from dqctl.localworkspace.catalog import Table, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.generated import expression_of, identity_of, named_in, reached
from dqctl.localworkspace.sql import alterations
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.statements import constraints, loading
from dqctl.localworkspace.statements.tables import allow_defaults, fields_of
from dqctl.localworkspace.transaction_log import Commit
from dqctl.localworkspace.types import (
    CHAR_VARCHAR,
    DEFAULT,
    arrow_schema,
    column_of,
    delta_field,
    text_from_delta,
    widens,
)  # fmt: skip

Fields = list[dict[str, Any]]


def known(names: Sequence[str], table: Table, context: Context) -> None:
    """``StatementError`` when the table lacks one of these columns."""
    there = {column.name.lower() for column in delta.columns(context.catalog.path(table))}
    for name in names:
        if name.lower() not in there and names != ("AUTO",):
            raise errors.unresolved_column(quoted(name))


def add(action: alterations.AddColumns, table: Table, context: Context) -> None:
    """ADD COLUMNS, at the end, FIRST or AFTER another."""
    path = context.catalog.path(table)
    tree = parse_tree(f"CREATE TABLE t ({', '.join(text for text, _ in action.definitions)})")
    fields, keys = fields_of(tree.this.expressions)
    if keys:
        raise errors.unsupported("ADD COLUMNS with a constraint")
    if any(column_of(field).generated for field in fields):
        raise errors.unsupported("ADD COLUMNS with GENERATED")
    with context.writing(table):
        there = {column.name.lower() for column in delta.columns(path)}
        for field in fields:
            if field["name"].lower() in there:
                raise StatementError(
                    "FIELD_ALREADY_EXISTS",
                    f"Cannot add column, because {quoted(field['name'])} already exists in {table.name}.",
                    "42710",
                )
            if not field["nullable"]:
                raise StatementError(
                    "DELTA_ADD_COLUMN_NOT_NULL", "NOT NULL is not supported in ALTER TABLE ADD COLUMNS.", "0AKDC"
                )
            if DEFAULT in field["metadata"]:
                # The rows that are there would show NULL.
                raise StatementError(
                    "WRONG_COLUMN_DEFAULTS_FOR_DELTA_ALTER_TABLE_ADD_COLUMN_NOT_SUPPORTED",
                    "Delta tables do not support ADD COLUMN with a default: add the column, then SET DEFAULT.",
                    "0AKDC",
                )

        def added(now: Fields) -> Fields:
            now = [*now, *fields]
            for field, (_, position) in zip(fields, action.definitions, strict=True):
                if position is not None:
                    now = _moved(now, field["name"], position)
            return now

        _change_schema(path, added, Commit("ADD COLUMNS", {"columns": [field["name"] for field in fields]}))
        context.catalog.edit(table.name, lambda now: now)


def _moved(fields: Fields, name: str, position: alterations.Position) -> Fields:
    mine = _field(fields, name)
    others = [field for field in fields if field is not mine]
    if position.after is None:
        return [mine, *others]
    place = others.index(_field(others, position.after)) + 1
    return [*others[:place], mine, *others[place:]]


def _field(fields: Fields, name: str) -> dict[str, Any]:
    found = next((field for field in fields if field["name"].lower() == name.lower()), None)
    if found is None:
        raise errors.unresolved_column(quoted(name))
    return found


def rename(action: alterations.RenameColumn, table: Table, context: Context) -> None:
    """RENAME COLUMN."""
    _needs_mapping(table, "RENAME")
    with context.writing(table):
        fields = delta.fields(context.catalog.path(table))
        old = _field(fields, action.name)
        if any(field["name"].lower() == action.new.lower() for field in fields if field is not old):
            raise errors.column_exists(quoted(action.new))
        _free(table, old["name"], "rename", context)
        renamed = [(field | {"name": action.new} if field is old else field, field["name"]) for field in fields]
        what = Commit("RENAME COLUMN", {"oldColumnPath": old["name"], "newColumnPath": action.new})
        _rewrite(table, renamed, what, context)

    def change(now: Table) -> Table:
        def new(name: str) -> str:
            return action.new if name.lower() == action.name.lower() else name

        return replace(
            now,
            clustering=tuple(map(new, now.clustering)),
            column_tags={new(name): tags for name, tags in now.column_tags.items()},
            constraints=tuple(replace(one, columns=tuple(map(new, one.columns))) for one in now.constraints),
        )

    context.catalog.edit(table.name, change)


def drop(action: alterations.DropColumns, table: Table, context: Context) -> None:
    """DROP COLUMNS."""
    _needs_mapping(table, "DROP")
    with context.writing(table):
        path = context.catalog.path(table)
        fields = delta.fields(path)
        there = {field["name"].lower() for field in fields}
        wanted = [name for name in action.names if not action.if_exists or name.lower() in there]
        gone = [_field(fields, name) for name in wanted]
        if not gone:
            return
        partitions = {name.lower() for name in delta.partition_columns(path)}
        for field in gone:
            _free(table, field["name"], "drop", context)
            keys = [one for one in table.constraints if field["name"] in one.columns]
            clustered = field["name"].lower() in {name.lower() for name in table.clustering}
            if keys or clustered or field["name"].lower() in partitions:
                raise errors.invalid_parameter(
                    f"Cannot drop {quoted(field['name'])}: a key, the partitioning or the clustering needs it."
                )
        left = [field for field in fields if field not in gone]
        if not left:
            raise errors.invalid_parameter(f"Cannot drop all columns of {table.name}.")
        what = Commit("DROP COLUMNS", {"columns": [field["name"] for field in gone]})
        _rewrite(table, [(field, field["name"]) for field in left], what, context)
    names = {field["name"] for field in gone}
    context.catalog.edit(
        table.name,
        lambda now: replace(
            now, column_tags={name: tags for name, tags in now.column_tags.items() if name not in names}
        ),
    )


def _needs_mapping(table: Table, what: str) -> None:
    if table.properties.get("delta.columnMapping.mode", "none").lower() in ("name", "id"):
        return
    raise StatementError(
        f"DELTA_UNSUPPORTED_{what}_COLUMN",
        f"{what} COLUMN is not supported for your Delta table: it needs column mapping. "
        f"ALTER TABLE {table.name} SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name') enables it.",
        "0AKDC",
    )


def _free(table: Table, column: str, what: str, context: Context) -> None:
    for field in delta.fields(context.catalog.path(table)):
        text = expression_of(field)
        if text is not None and column.lower() in named_in(text):
            raise StatementError(
                "DELTA_GENERATED_COLUMNS_DEPENDENT_COLUMN_CHANGE",
                f"Cannot {what} column {column} because this column is referenced by the generated column "
                f"{field['name']} ({text}).",
                "42K09",
            )
    if check := constraints.needed_by_check(table, column, context):
        raise StatementError(
            "DELTA_CONSTRAINT_DEPENDENT_COLUMN_CHANGE",
            f"Cannot {what} column {column} because this column is referenced by the CHECK constraint "
            f"{check.name} ({check.expression}).",
            "42K09",
        )


def _rewrite(table: Table, fields: list[tuple[dict[str, Any], str]], what: Commit, context: Context) -> None:
    """Write the rows anew, in one commit, each field from the column that it was."""
    # The caller has the table alone: this is no statement that others could come between.
    with loading.transaction(table, context) as target:
        _write_anew(target, fields, what, context)


def _write_anew(
    target: loading.Target, fields: list[tuple[dict[str, Any], str]], what: Commit, context: Context
) -> None:
    selected = []
    for field, old in fields:
        column = column_of(field)
        value = exp.cast(
            exp.column(exp.to_identifier(old, quoted=True)), column.storage_type, dialect="databricks"
        )
        selected.append(exp.alias_(value, field["name"], quoted=True))
    query = exp.select(*selected).from_(loading.whole(target))
    names = {old: field["name"] for field, old in fields}
    partitions = [names[name] for name in target.before.partition_columns]
    new = [field for field, _ in fields]
    with context.planned(query) as sql, closing(context.engine.stream(sql)) as rows:
        added = delta.stage(target.scratch, delta.Counted(arrow_schema(new), rows), partitions)
    transaction_log.settle(target.scratch, target.path, added)
    transaction_log.commit(
        target.path,
        target.before,
        what,
        added=added,
        removed=[transaction_log.removal(each, data_change=False) for each in target.before.files.values()],
        metadata=_metadata(target.before, new) | {"partitionColumns": partitions},
    )


def _metadata(before: transaction_log.Snapshot, fields: Fields) -> transaction_log.Action:
    return {**before.metadata, "schemaString": json.dumps({"type": "struct", "fields": fields})}


def _change_schema(path: Path, change: Callable[[Fields], Fields], what: Commit) -> None:
    """Commit another schema over the same files."""
    before = transaction_log.read(path)
    transaction_log.commit(path, before, what, metadata=_metadata(before, change(before.fields)))


def change(action: alterations.ChangeColumns, table: Table, context: Context) -> None:
    """ALTER COLUMN."""
    # All of them first: what is refused leaves nothing half done.
    known([one.name for one in action.changes], table, context)
    for one in action.changes:
        with context.writing(table):
            _CHANGES[one.change](one, table, context)
    context.catalog.edit(table.name, lambda now: now)


def _commit(
    one: alterations.ChangeColumn, table: Table, context: Context, edit: Callable[[dict[str, Any]], None]
) -> None:
    def changed(fields: Fields) -> Fields:
        edit(_field(fields, one.name))
        return fields

    _change_schema(context.catalog.path(table), changed, Commit("CHANGE COLUMN", {"column": one.name}))


def _comment(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    comment(table, one.name, one.value, context)


def comment(table: Table, column: str, text: str | None, context: Context) -> None:
    """Comment a column of a table, or take its comment."""
    one = alterations.ChangeColumn(column, "COMMENT", text)

    def edit(field: dict[str, Any]) -> None:
        field["metadata"].pop("comment", None)
        if text is not None:
            field["metadata"]["comment"] = text

    _commit(one, table, context, edit)


def _set_not_null(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    path = context.catalog.path(table)
    column = exp.column(exp.to_identifier(_field(delta.fields(path), one.name)["name"], quoted=True))
    nulls = exp.select("count(*)").from_(exp.to_table(str(table.name), dialect="databricks"))
    number = context.query(nulls.where(exp.Is(this=column, expression=exp.null()))).column(0)[0].as_py()
    if number:
        raise StatementError(
            "DELTA_NEW_NOT_NULL_VIOLATION",
            f"{number} rows in {table.name} violate the new NOT NULL constraint on {one.name}.",
            "23512",
        )
    _commit(one, table, context, lambda field: field.update(nullable=False))


def _drop_not_null(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    if any(
        key.kind == "PRIMARY KEY" and one.name.lower() in map(str.lower, key.columns) for key in table.constraints
    ):
        raise errors.invalid_parameter(f"{quoted(one.name)} is part of the primary key, which has no NULL.")
    _commit(one, table, context, lambda field: field.update(nullable=True))


def _sync_identity(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    """The next value is beyond all that are there."""
    path = context.catalog.path(table)
    identity = identity_of(_field(delta.fields(path), one.name))
    if identity is None:
        raise StatementError(
            "DELTA_IDENTITY_ALTER_TABLE_ALTER_COLUMN_SYNC_IDENTITY_NON_IDENTITY",
            f"ALTER TABLE ALTER COLUMN SYNC IDENTITY cannot be called on non IDENTITY column {one.name}.",
            "42611",
        )
    furthest = exp.Max if identity.step > 0 else exp.Min
    column = exp.column(exp.to_identifier(identity.name, quoted=True))
    query = exp.select(exp.alias_(furthest(this=column), "n")).from_(
        exp.to_table(str(table.name), dialect="databricks")
    )
    found = context.query(query).column(0)[0].as_py()
    if found is None or (found - identity.start) * identity.step < 0:
        return
    if identity.last is not None and (found - identity.last) * identity.step <= 0:
        return
    last = identity.start - (identity.start - found) // identity.step * identity.step
    _change_schema(
        path, lambda fields: [reached(each, identity, last) for each in fields], Commit("SYNC IDENTITY")
    )


def _set_default(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    allow_defaults(table.properties)
    value = one.value or ""
    with context.planned(parse_tree(f"SELECT {value}")) as sql:
        context.engine.schema(sql)
    _commit(one, table, context, lambda field: field["metadata"].update({DEFAULT: value}))


def _drop_default(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    _commit(one, table, context, lambda field: field["metadata"].pop(DEFAULT, None))


def _position(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    position = one.position
    assert position is not None  # noqa: S101 - the reader's promise
    _change_schema(
        context.catalog.path(table),
        lambda fields: _moved(fields, one.name, position),
        Commit("CHANGE COLUMN", {"column": one.name}),
    )


def _type(one: alterations.ChangeColumn, table: Table, context: Context) -> None:
    tree = parse_tree(f"CREATE TABLE t (c {one.value})")
    kind = tree.this.expressions[0].kind
    wanted = delta_field("c", kind)
    fields = delta.fields(context.catalog.path(table))
    old = _field(fields, one.name)
    before, after = column_of(old), column_of(wanted)
    if before.type == after.type:
        return
    if before.generated is not None:
        raise errors.unsupported(f"Another type for {one.name}, which is {before.generated},")
    if before.storage_type == after.storage_type == "string" and widens(before.type, after.type):

        def edit(field: dict[str, Any]) -> None:
            field["metadata"].pop(CHAR_VARCHAR, None)
            field["metadata"].update(wanted["metadata"])

        _commit(one, table, context, edit)
        return
    enabled = table.properties.get("delta.enableTypeWidening", "false").lower() == "true"
    if not enabled or not widens(before.type, after.type):
        raise StatementError(
            "DELTA_UNSUPPORTED_ALTER_TABLE_CHANGE_COL_OP",
            f"ALTER TABLE ALTER COLUMN is not supported for changing column {one.name} of {table.name} from "
            f"{text_from_delta(old['type']).upper()} to {after.type.upper()}"
            + ("." if enabled else ": the property 'delta.enableTypeWidening' is not set."),
            "0AKDC",
        )
    _free(table, old["name"], "change", context)
    changed = [(field | {"type": wanted["type"]} if field is old else field, field["name"]) for field in fields]
    _rewrite(table, changed, Commit("CHANGE COLUMN", {"column": one.name}), context)


_CHANGES: dict[str, Callable[[alterations.ChangeColumn, Table, Context], None]] = {
    "TYPE": _type,
    "COMMENT": _comment,
    "SET NOT NULL": _set_not_null,
    "DROP NOT NULL": _drop_not_null,
    "SET DEFAULT": _set_default,
    "SYNC IDENTITY": _sync_identity,
    "DROP DEFAULT": _drop_default,
    "POSITION": _position,
}
