"""Which function carries out which kind of statement."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.sql import alterations, commands, grants, inspection, maintenance, variable_commands
from dqctl.localworkspace.sql.statement import Explanation
from dqctl.localworkspace.statements import (
    alter,
    change,
    copy_into,
    describe,
    described,
    functions,
    insert,
    merge,
    permissions,
    recursion,
    schemas,
    session,
    show,
    tables,
    upkeep,
    variables,
    versions,
    volumes,
)
from dqctl.localworkspace.statements.results import nothing

Handler = Callable[[Any, Context], Result]


def route(statement: object, context: Context) -> Result:
    """Carry out a parsed statement; ``StatementError`` for a kind that is not known here."""
    try:
        with ExitStack() as stack:
            if isinstance(statement, exp.Expr):
                described.put_in(statement, context, stack)
                recursion.put_in(statement, context, stack)
            return _carry_out(statement, context)
    except errors.AlreadyExistsError:
        # Not a look beforehand: another session may make the thing between the look and the making.
        if _if_not_exists(statement):
            return nothing()
        raise


def _if_not_exists(statement: object) -> bool:
    if isinstance(statement, exp.Create):
        return bool(statement.args.get("exists"))
    if isinstance(statement, maintenance.CloneTable):
        return statement.if_not_exists
    if isinstance(statement, commands.CreateCatalog | commands.CreateSchema | commands.CreateVolume):
        return statement.if_not_exists
    return False


def _carry_out(statement: object, context: Context) -> Result:
    if isinstance(statement, exp.Query):
        return Result(context.query(statement))
    if isinstance(statement, exp.Create):
        return _create(statement, context)
    handler = _HANDLERS.get(type(statement))
    if handler is None:
        what = statement.key.upper() if isinstance(statement, exp.Expr) else type(statement).__name__
        raise errors.unsupported(f"The statement {what}")
    return handler(statement, context)


def _create(statement: exp.Create, context: Context) -> Result:
    kind = str(statement.args.get("kind")).upper()
    if kind == "TABLE":
        return tables.create_table(statement, context)
    if kind == "VIEW":
        return tables.create_view(statement, context)
    if kind == "FUNCTION":
        return functions.create_function(statement, context)
    raise errors.unsupported(f"CREATE {kind}")


def _values(statement: exp.Values, context: Context) -> Result:
    return Result(context.query(exp.select("*").from_(statement)))


def _explain(statement: Explanation, context: Context) -> Result:
    if not isinstance(statement.query, exp.Query):
        raise errors.unsupported("EXPLAIN of anything but a query")
    with context.planned(statement.query) as sql:
        return Result(context.engine.query(f"EXPLAIN {sql}"))


def _ignored(_: object, __: Context) -> Result:
    return nothing()


_HANDLERS: dict[type, Handler] = {
    commands.UseCatalog: session.use_catalog,
    commands.UseSchema: session.use_schema,
    commands.SetParameter: session.set_parameter,
    commands.ResetParameter: session.reset_parameter,
    variable_commands.DeclareVariable: variables.declare,
    variable_commands.SetVariables: variables.set_variables,
    variable_commands.DropVariable: variables.drop_variable,
    inspection.Show: show.show,
    inspection.Describe: describe.describe,
    inspection.DescribeQuery: describe.describe_query,
    alterations.Alter: alter.alter,
    grants.Permit: permissions.permit,
    commands.Undrop: schemas.undrop,
    commands.CreateCatalog: schemas.create_catalog,
    commands.CreateSchema: schemas.create_schema,
    commands.CreateVolume: volumes.create_volume,
    commands.Drop: schemas.drop,
    commands.Comment: schemas.comment,
    commands.Stage: volumes.stage,
    commands.ListFiles: volumes.list_files,
    commands.Truncate: change.truncate,
    commands.Maintain: _ignored,
    Explanation: _explain,
    maintenance.Analyze: upkeep.analyze,
    maintenance.CloneTable: versions.clone,
    maintenance.Optimize: upkeep.optimize,
    maintenance.Restore: versions.restore,
    maintenance.Vacuum: upkeep.vacuum,
    exp.Copy: copy_into.copy_into,
    exp.Delete: change.delete,
    exp.Insert: insert.insert,
    exp.Merge: merge.merge,
    exp.Update: change.update,
    exp.Values: _values,
}
