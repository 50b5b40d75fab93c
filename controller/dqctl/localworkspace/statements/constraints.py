"""Constraints: CHECK holds for rows that are there and, by ``loading``, for all that are written; keys inform."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import delta, errors, transaction_log
from dqctl.localworkspace.catalog import Constraint, Name, Table, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql.alterations import AddConstraint, DropConstraint
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.table_properties import check_key, checks_of, configured, constraints_of
from dqctl.localworkspace.transaction_log import Commit


def add(command: AddConstraint, table: Table, context: Context) -> None:
    """ALTER TABLE ... ADD CONSTRAINT."""
    with context.writing(table):
        table = context.catalog.table(table.name)
        columns = delta.columns(context.catalog.path(table))
        there = constraints_of(context.catalog, table)
        constraint = named(command, table, there, [column.name for column in columns], context)
        if constraint.kind == "CHECK":
            _hold(constraint, table, context)
            _put_check(constraint, table, context)
            return
        if constraint.kind == "PRIMARY KEY":
            for column in columns:
                if column.name in constraint.columns and column.nullable:
                    raise errors.invalid_parameter(
                        f"Cannot create the primary key {quoted(constraint.name)} because its column "
                        f"{quoted(column.name)} is nullable: ALTER TABLE ... ALTER COLUMN ... SET NOT NULL first."
                    )
        context.catalog.edit(table.name, lambda now: replace(now, constraints=(*now.constraints, constraint)))


def _put_check(constraint: Constraint, table: Table, context: Context) -> None:
    path = context.catalog.path(table)
    before = transaction_log.read(path)
    wanted = before.configuration | {check_key(constraint.name): constraint.expression or ""}
    metadata, protocol = configured(before, wanted)
    what = Commit("ADD CONSTRAINT", {"name": constraint.name, "expr": constraint.expression})
    transaction_log.commit(path, before, what, metadata=metadata, protocol=protocol)
    context.catalog.edit(table.name, lambda now: now)


def named(
    command: AddConstraint, table: Table, there: Sequence[Constraint], columns: Sequence[str], context: Context
) -> Constraint:
    """The constraint with full names; ``StatementError`` when the table cannot have it beside those ``there``."""
    found = command.constraint
    if found.kind == "CHECK":
        name = found.name or f"chk_{len(there)}"
        constraint = replace(found, name=name)
    else:
        own = _own_columns(found.columns, columns)
        constraint = replace(found, columns=own, name=found.name or f"{table.name.name}_pk")
        if found.kind == "FOREIGN KEY":
            constraint = _foreign(command, constraint, table, context)
        elif any(one.kind == "PRIMARY KEY" for one in there):
            raise StatementError(
                "TABLE_ALREADY_HAS_PRIMARY_KEY", f"{table.name} has a primary key already.", "42710"
            )
    if any(one.name.lower() == constraint.name.lower() for one in there):
        raise StatementError(
            "DELTA_CONSTRAINT_ALREADY_EXISTS",
            f"Constraint {quoted(constraint.name)} already exists. Please delete the old constraint first.",
            "42710",
        )
    return constraint


def _own_columns(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    there = {name.lower(): name for name in columns}
    for name in names:
        if name.lower() not in there:
            raise errors.unresolved_column(quoted(name))
    return tuple(there[name.lower()] for name in names)


def _foreign(command: AddConstraint, constraint: Constraint, table: Table, context: Context) -> Constraint:
    parent = context.catalog.table(context.namespace.full(command.references))
    key = next((one for one in parent.constraints if one.kind == "PRIMARY KEY"), None)
    columns = constraint.parent_columns or (key.columns if key else ())
    if key is None or {one.lower() for one in columns} != {one.lower() for one in key.columns}:
        raise errors.invalid_parameter(
            f"A foreign key refers to the primary key of its parent, and ({', '.join(columns)}) is none of "
            f"{parent.name}."
        )
    if len(columns) != len(constraint.columns):
        raise errors.invalid_parameter("A foreign key has as many columns as the key that it refers to.")
    name = command.constraint.name or f"{table.name.name}_{parent.name.name}_fk"
    return replace(constraint, name=name, parent=parent.name, parent_columns=columns)


def drop(command: DropConstraint, table: Table, context: Context) -> None:
    """ALTER TABLE ... DROP CONSTRAINT, DROP PRIMARY KEY, DROP FOREIGN KEY."""

    def wanted(one: Constraint) -> bool:
        if command.name is not None:
            return one.name.lower() == command.name.lower()
        same = {name.lower() for name in one.columns} == {name.lower() for name in command.columns}
        return one.kind == command.kind and (same or not command.columns)

    with context.writing(table):
        _drop([one for one in constraints_of(context.catalog, table) if wanted(one)], command, table, context)


def _drop(found: Sequence[Constraint], command: DropConstraint, table: Table, context: Context) -> None:
    if not found:
        if command.if_exists:
            return
        what = quoted(command.name) if command.name else command.kind
        raise StatementError(
            "DELTA_CONSTRAINT_DOES_NOT_EXIST",
            f"Cannot drop nonexistent constraint {what} from table {table.name}.",
            "42704",
        )
    if any(one.kind == "PRIMARY KEY" for one in found):
        _drop_children(table.name, context, cascade=command.cascade)
    for check in (one for one in found if one.kind == "CHECK"):
        path = context.catalog.path(table)
        before = transaction_log.read(path)
        key = check_key(check.name)
        metadata, _ = configured(
            before, {name: text for name, text in before.configuration.items() if name != key}
        )
        dropped = Commit("DROP CONSTRAINT", {"name": check.name, "expr": check.expression})
        transaction_log.commit(path, before, dropped, metadata=metadata)
    context.catalog.edit(
        table.name, lambda now: replace(now, constraints=tuple(one for one in now.constraints if one not in found))
    )


def _drop_children(parent: Name, context: Context, *, cascade: bool) -> None:
    for child in context.catalog.tables():
        kept = tuple(one for one in child.constraints if one.parent != parent)
        if kept == child.constraints:
            continue
        if not cascade:
            raise errors.invalid_parameter(
                f"The primary key of {parent} is referred to by {child.name}: use CASCADE."
            )
        context.catalog.edit(child.name, lambda now, kept=kept: replace(now, constraints=kept))  # type: ignore[misc]  # a default that binds


def _hold(constraint: Constraint, table: Table, context: Context) -> None:
    """``StatementError`` when the condition is none, or does not hold for a row that is there."""
    relation = exp.to_table(str(table.name), dialect="databricks")
    condition = condition_of(constraint)
    with context.planned(exp.select(exp.alias_(condition.copy(), "c")).from_(relation.copy())) as sql:
        (kind,) = context.engine.schema(sql).types
    if not pa.types.is_boolean(kind):
        raise StatementError(
            "DELTA_NON_BOOLEAN_CHECK_CONSTRAINT",
            f"CHECK constraint {constraint.name} ({constraint.expression}) should be a boolean expression.",
            "42621",
        )
    number = context.query(exp.select("count(*)").from_(relation).where(_broken(condition))).column(0)[0].as_py()
    if number:
        raise StatementError(
            "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION",
            f"{number} rows in {table.name} violate the new CHECK constraint ({constraint.expression}).",
            "23512",
        )


def condition_of(constraint: Constraint) -> exp.Expr:
    """The tree of a CHECK."""
    query = parse_tree(f"SELECT {constraint.expression}")
    (condition,) = query.expressions
    if query.find(exp.Subquery, exp.From) is not None or not isinstance(condition, exp.Expr):
        raise errors.invalid_parameter("A CHECK constraint cannot hold a subquery.")
    return condition


def _broken(condition: exp.Expr) -> exp.Expr:
    """Where the condition is not true: NULL is a violation, too."""
    return exp.Not(
        this=exp.Anonymous(this="coalesce", expressions=[exp.Paren(this=condition.copy()), exp.false()])
    )


def needed_by_check(table: Table, column: str, context: Context) -> Constraint | None:
    """A CHECK that names ``column``, which can then neither go nor get another name."""
    for one in checks_of(context.catalog, table):
        if any(each.name.lower() == column.lower() for each in condition_of(one).find_all(exp.Column)):
            return one
    return None
