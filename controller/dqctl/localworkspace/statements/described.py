"""``SELECT ... FROM (DESCRIBE HISTORY t)``: what DESCRIBE answers, as a relation of a query."""

from contextlib import ExitStack

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.inspection import Describe, DescribeQuery
from dqctl.localworkspace.sql.relations import held
from dqctl.localworkspace.sql.statement import parse
from dqctl.localworkspace.statements.describe import describe, describe_query


def put_in(tree: exp.Expr, context: Context, stack: ExitStack) -> None:
    """Have the rows of each DESCRIBE inside of ``tree`` in its place, as long as ``stack`` is open.

    ``StatementError`` as of the DESCRIBE itself, and for one in a view, whose rows would be those of its making.
    """
    for node in list(tree.find_all(exp.Describe)):
        if isinstance(tree, exp.Create) and tree.kind == "VIEW":
            raise errors.unsupported("DESCRIBE in the query of a view")
        rows = _answer(node.copy(), context).table
        node.replace(exp.select("*").from_(held(stack.enter_context(context.engine.relation(rows)))))


def _answer(node: exp.Describe, context: Context) -> Result:
    command = parse(to_sql(node))
    if isinstance(command, DescribeQuery):
        return describe_query(command, context)
    if isinstance(command, Describe):
        return describe(command, context)
    raise errors.unsupported("DESCRIBE of this kind in a query")
