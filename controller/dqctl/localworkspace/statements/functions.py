"""CREATE FUNCTION, as far as its body is one SQL expression."""

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Function, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.names import parts_of, qualify
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.statements.results import nothing


def create_function(create: exp.Create, context: Context) -> Result:
    """Keep a function; its calls become its body."""
    declared, returned = create.this, create.expression
    if not isinstance(declared, exp.UserDefinedFunction) or not isinstance(returned, exp.Return):
        raise errors.unsupported("CREATE FUNCTION without RETURN and an expression in SQL")
    comment, returns = None, None
    for one in create.args["properties"].expressions if create.args.get("properties") else ():
        if isinstance(one, exp.ReturnsProperty) and isinstance(one.this, exp.DataType):
            returns = one.this.sql("databricks").lower()
        elif isinstance(one, exp.SchemaCommentProperty):
            comment = one.name
        elif not isinstance(one, (exp.StabilityProperty, exp.SqlReadWriteProperty)):
            raise errors.unsupported(f"CREATE FUNCTION with {one.sql('databricks')}")
    parameters = []
    for one in declared.expressions:
        if not isinstance(one, exp.ColumnDef) or one.kind is None or one.args.get("constraints"):
            raise errors.unsupported(f"The parameter {one.sql('databricks')}")
        parameters.append((one.name, one.kind.sql("databricks").lower()))
    name = context.namespace.full(parts_of(declared.this))
    body = qualify(returned.this.copy(), context.namespace)
    text = f"({to_sql(body)})" if isinstance(body, exp.Query) else to_sql(body)
    function = Function(name, tuple(parameters), returns, text, comment)
    _try(function, context)
    context.catalog.put(function, replace_existing=bool(create.args.get("replace")))
    return nothing()


def _try(function: Function, context: Context) -> None:
    """``StatementError`` when the body is none that the engine takes."""
    given = ", ".join(f"CAST(NULL AS {kind}) AS `{name}`" for name, kind in function.parameters)
    source = f" FROM (SELECT {given}) AS {quoted(function.name.name)}" if given else ""
    with context.planned(parse_tree(f"SELECT {function.body}{source}")) as sql:
        context.engine.schema(sql)
