"""Databricks SQL as sqlglot reads and writes it, kept as close to the client's text as it goes."""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks
from sqlglot.generators.databricks import DatabricksGenerator
from sqlglot.parsers.databricks import DatabricksParser
from sqlglot.tokenizer_core import TokenType

POSITION = "position"

# It warns of every statement that it reads as a mere command; those are refused with an error of their own.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


class WarehouseTokenizer(Databricks.Tokenizer):
    """Cuts SHOW and its like into tokens, too; sqlglot's own keeps their rest as one string."""

    COMMANDS: ClassVar[set[TokenType]] = set()


def _placeholder(parser: DatabricksParser) -> exp.Expr:
    """A ``?``, with the place where it stood: the order in a tree is not the order in the text."""
    marker = exp.Placeholder()
    marker.meta[POSITION] = parser._prev.start
    return marker


class WarehouseParser(DatabricksParser):
    """Takes a function for what its name says.

    sqlglot reads functions into a vocabulary of its own and writes them back in its favourite spelling. That loses
    things (30.30: ``to_date(x, 'yyyy-MM-dd')`` comes back as ``to_date(x)``, which parses more), so there is no
    vocabulary here: a call stays the call that the client wrote. Nor are there constructors in brackets, for which
    ``array(1)[0]`` would be taken.
    """

    FUNCTIONS: ClassVar[dict[str, Callable[..., Any]]] = {}
    ARRAY_CONSTRUCTORS: ClassVar[dict[str, Any]] = {}
    # DESCRIBE as a relation; as a statement it is read token by token (``inspection``).
    DESCRIBE_STYLES: ClassVar[set[str]] = {*DatabricksParser.DESCRIBE_STYLES, "DETAIL"}
    PLACEHOLDER_PARSERS: ClassVar = {**DatabricksParser.PLACEHOLDER_PARSERS, TokenType.PLACEHOLDER: _placeholder}


class WarehouseGenerator(DatabricksGenerator):
    """Writes operators as operators, and every WITH where it stands.

    Hive knows WITH at the top alone, so that sqlglot (30.30) moves all of them there: two of the same name, as
    views bring them along, would be one.
    """

    EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()

    TRANSFORMS: ClassVar = {
        **DatabricksGenerator.TRANSFORMS,
        exp.RegexpLike: lambda self, node: self.binary(node, "RLIKE"),
    }


class Warehouse(Databricks):
    """The dialect of everything that comes from a client and of everything that goes to the engine."""

    Tokenizer = WarehouseTokenizer
    Parser = WarehouseParser
    Generator = WarehouseGenerator


def to_sql(tree: exp.Expr) -> str:
    """The text that the engine gets. The tree is spent: the generator changes it."""
    return tree.sql(dialect=Warehouse, comments=False, normalize_functions=False, copy=False)
