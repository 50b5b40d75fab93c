"""A session variable, as the session keeps it."""

from dataclasses import dataclass

from sqlglot import exp

from dqctl.localworkspace.contract import Parameter
from dqctl.localworkspace.sql.parameters import literal


@dataclass(frozen=True)
class Variable:
    """``type`` and ``default`` as they were written; ``value`` has a type of its own."""

    type: str
    value: Parameter
    default: str | None

    def tree(self) -> exp.Expr:
        """The value, for the place of the variable's name."""
        return exp.cast(literal(self.value), self.type, dialect="databricks")
