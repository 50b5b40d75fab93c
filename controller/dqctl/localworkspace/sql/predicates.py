"""The condition of REPLACE WHERE, in the dialect of delta-rs (DataFusion's SQL)."""

from collections.abc import Sequence

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import quoted
from dqctl.localworkspace.types import Column

# What means the same in both dialects; anything else is refused rather than guessed.
_ALLOWED = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between,
    exp.Is, exp.Null, exp.Literal, exp.Boolean, exp.Column, exp.Identifier, exp.Cast, exp.DataType,
    exp.DataTypeParam, exp.Neg, exp.Like,
)  # fmt: skip


def for_storage(condition: exp.Expr, columns: Sequence[Column]) -> str:
    """The text for delta-rs; ``StatementError`` when the condition holds more than columns and literals."""
    known = {column.name.lower(): column.name for column in columns}
    condition = condition.copy()
    for node in condition.walk():
        if not isinstance(node, _ALLOWED) or (isinstance(node, exp.Like) and node.args.get("escape")):
            raise errors.unsupported(f"REPLACE WHERE with {node.sql('databricks')}")
        if isinstance(node, exp.Column):
            if node.name.lower() not in known:
                raise errors.unresolved_column(quoted(node.name))
            # DataFusion folds what is not quoted, and knows the bare name only.
            node.set("this", exp.to_identifier(known[node.name.lower()], quoted=True))
            for qualifier in ("table", "db", "catalog"):
                node.set(qualifier, None)
    return condition.sql(dialect="postgres")
