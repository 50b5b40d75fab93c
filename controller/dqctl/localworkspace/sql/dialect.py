"""Databricks SQL as sqlglot reads and writes it, with what a server needs to know on top."""

import logging
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks
from sqlglot.parsers.databricks import DatabricksParser
from sqlglot.tokens import TokenType

POSITION = "position"

# It warns of every statement that it reads as a mere command; those are refused with an error of their own.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def _placeholder(parser: DatabricksParser) -> exp.Expression:
    marker = exp.Placeholder()
    marker.meta[POSITION] = parser._prev.start
    return marker


class WarehouseTokenizer(Databricks.Tokenizer):
    """Cuts SHOW and its like into tokens, too; sqlglot's own keeps their rest as one string."""

    COMMANDS: ClassVar = set()  # type: ignore[misc]  # sqlglot declares no ClassVar


class WarehouseParser(DatabricksParser):
    """Remembers where each ``?`` stood: the order in a tree is not the order in the text."""

    PLACEHOLDER_PARSERS = {**DatabricksParser.PLACEHOLDER_PARSERS, TokenType.PLACEHOLDER: _placeholder}


class Warehouse(Databricks):
    """The dialect of everything that comes from a client and of everything that goes to the engine."""

    Tokenizer = WarehouseTokenizer
    Parser = WarehouseParser


def to_sql(tree: exp.Expression) -> str:
    """The text that the engine gets."""
    return tree.sql(dialect=Warehouse, comments=False)
