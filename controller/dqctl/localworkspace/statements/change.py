"""UPDATE, DELETE and TRUNCATE: the files that may be concerned are written anew, in one commit."""

from contextlib import ExitStack

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Table, quoted
from dqctl.localworkspace.concurrency import Read
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.statements import committing, loading
from dqctl.localworkspace.statements.loading import ACTION, DELETED, KEPT, UPDATED, Tally, Target
from dqctl.localworkspace.statements.results import counts, nothing
from dqctl.localworkspace.transaction_log import Commit


def update(statement: exp.Update, context: Context) -> Result:
    """UPDATE."""
    if statement.args.get("from_"):
        raise errors.syntax_error("Syntax error at or near 'FROM'.")
    table = loading.table_of(statement.this, context)
    condition = _condition(statement, table)
    alias = _alias(statement.this, table)
    with ExitStack() as stack:
        target = stack.enter_context(loading.transaction(table, context))
        values = _assignments(statement, target, alias)
        target = loading.changing(target, values)
        # What is made of other columns is made anew.
        values |= {name: exp.null() for name in target.expressions if name not in values}
        relation, files = stack.enter_context(loading.part(target, condition))
        relation.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        changed = exp.select(
            *(
                values.get(
                    column.name, exp.column(exp.to_identifier(column.name, quoted=True), table=_quoted(alias))
                )
                for column in target.columns
            )
        ).from_(relation)
        kept = exp.select(*loading.outputs(target)).from_(relation.copy())
        if condition is not None:
            changed = changed.where(condition.copy())
            kept = kept.where(loading.does_not_hold(condition))
        sql = _aligned(loading.planned(changed, context, stack), target, UPDATED)
        if condition is not None:
            sql += f" UNION ALL {_aligned(loading.planned(kept, context, stack), target, KEPT)}"
        tally = Tally()
        try:
            added = loading.write(sql, target, context, tally)
        except Exception as error:
            raise loading.stored(error, statement) from error
        what = Commit(
            "UPDATE",
            {"predicate": [condition.sql("databricks")] if condition is not None else []},
            {
                "numRemovedFiles": len(files), "numAddedFiles": len(added),
                "numUpdatedRows": tally.rows[UPDATED], "numCopiedRows": tally.rows[KEPT],
            },
        )  # fmt: skip
        removed = list(files.values())
        read = Read(condition, files)
        committing.commit_changes(target, what, tally, context, added=added, removed=removed, read=read)
    return counts({"num_affected_rows": tally.rows[UPDATED]})


def _quoted(alias: str) -> exp.Identifier:
    return exp.to_identifier(alias, quoted=True)


def _aligned(sql: str, target: Target, action: int) -> str:
    names = ", ".join(f"`_{index}`" for index in range(len(target.columns)))
    values = ", ".join(
        f"{loading.cast(f'`_{index}`', column)} AS {quoted(column.name)}"
        for index, column in enumerate(target.columns)
    )
    return f"SELECT {values}, {action} AS {ACTION} FROM ({sql}) AS `_rows`({names})"  # noqa: S608 - quoted names


def _assignments(statement: exp.Update, target: Target, alias: str) -> dict[str, exp.Expr]:
    values: dict[str, exp.Expr] = {}
    for each in statement.expressions:
        if not isinstance(each, exp.EQ) or not isinstance(each.left, exp.Column):
            raise errors.syntax_error(f"Syntax error at or near '{each.sql('databricks')}'.")
        name = loading.column_of(each.left, target, alias)
        if name in values:
            raise StatementError(
                "DUPLICATE_ASSIGNMENTS",
                f"The columns or variables {quoted(name)} appear more than once as assignment targets.",
                "42701",
            )
        value = each.right
        if loading.is_default(value):
            value = loading.expression(target.default(name))
        loading.localize(value, target.table, alias)
        values[name] = value
    return values


def delete(statement: exp.Delete, context: Context) -> Result:
    """DELETE FROM."""
    if statement.args.get("using"):
        raise errors.syntax_error("Syntax error at or near 'USING'.")
    table = loading.table_of(statement.this, context)
    condition = _condition(statement, table)
    if condition is None:
        return counts({"num_affected_rows": _empty(table, "DELETE", context)})
    alias = _alias(statement.this, table)
    with ExitStack() as stack:
        target = stack.enter_context(loading.transaction(table, context))
        if not target.columns:
            raise errors.without_columns(str(table.name))
        relation, files = stack.enter_context(loading.part(target, condition))
        relation.set("alias", exp.TableAlias(this=_quoted(alias)))
        rest = exp.select(*loading.outputs(target)).from_(relation).where(loading.does_not_hold(condition))
        before = loading.rows_of(relation.copy(), list(files.values()), context)
        sql = _aligned(loading.planned(rest, context, stack), target, KEPT)
        tally = Tally()
        added = loading.write(sql, loading.keeping(target), context, tally)
        tally.rows[DELETED] = before - tally.rows[KEPT]
        what = Commit(
            "DELETE",
            {"predicate": [condition.sql("databricks")]},
            {
                "numRemovedFiles": len(files), "numAddedFiles": len(added),
                "numDeletedRows": tally.rows[DELETED], "numCopiedRows": tally.rows[KEPT],
            },
        )  # fmt: skip
        removed = list(files.values())
        read = Read(condition, files)
        committing.commit_changes(target, what, tally, context, added=added, removed=removed, read=read)
    return counts({"num_affected_rows": tally.rows[DELETED]})


def truncate(command: commands.Truncate, context: Context) -> Result:
    """TRUNCATE TABLE."""
    table = context.catalog.table(context.namespace.full(command.parts))
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    _empty(table, "TRUNCATE", context)
    return nothing()


def _empty(table: Table, operation: str, context: Context) -> int:
    """Take all rows away, without a look at them, and say how many there were."""
    with loading.transaction(table, context) as target:
        files = list(target.before.files.values())
        rows = loading.rows_of(loading.whole(target), files, context)
        if files:
            parameters = {"predicate": ["true"]} if operation == "DELETE" else {}
            metrics = {"numRemovedFiles": len(files), "numDeletedRows": rows, "numAddedFiles": 0}
            committing.commit(target, Commit(operation, parameters, metrics), context, removed=files, read=Read())
    return rows


def _alias(relation: exp.Table, table: Table) -> str:
    return relation.alias or table.name.name


def _condition(statement: exp.Expr, table: Table) -> exp.Expr | None:
    where = statement.args.get("where")
    if where is None:
        return None
    condition: exp.Expr = where.this
    if (call := loading.random_call(condition)) is not None:
        raise StatementError(
            "INVALID_NON_DETERMINISTIC_EXPRESSIONS",
            "The operator expects a deterministic expression, but the actual expression is "
            f"{call.sql('databricks')}.",
            "42K0E",
        )
    loading.localize(condition, table, _alias(statement.this, table))
    return condition
