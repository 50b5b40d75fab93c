"""What statements that write say and sqlglot 30.30 does not read: WITH SCHEMA EVOLUTION."""

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from dqctl.localworkspace import errors

_EVOLUTION = "schema_evolution"
_WORDS = ("WITH", "SCHEMA", "EVOLUTION")


def without_evolution(tokens: Sequence[Token]) -> tuple[list[Token], bool]:
    """The tokens without ``WITH SCHEMA EVOLUTION`` after INSERT or MERGE, and whether it was there.

    ``StatementError`` for ``REPLACE ON``, which is not there either.
    """
    left = list(tokens)
    depth, writes, evolves = 0, False, False
    for index, token in enumerate(tokens):
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth:
            continue
        words = _words(tokens, index)
        if words[0] in ("INSERT", "MERGE") and not writes:
            writes = True
            if _words(tokens, index + 1) == _WORDS:
                del left[index + 1 : index + 4]
                evolves = True
        elif writes and words[:2] == ("REPLACE", "ON"):
            raise errors.unsupported("INSERT with REPLACE ON")
        elif words[0] == "SELECT":
            break
    return left, evolves


def _words(tokens: Sequence[Token], start: int) -> tuple[str, ...]:
    found = [
        "" if each.token_type in (TokenType.STRING, TokenType.IDENTIFIER) else each.text.upper()
        for each in tokens[start : start + 3]
    ]
    return (*found, "", "", "")[:3]


def evolving(tree: exp.Expr) -> exp.Expr:
    """Mark a statement that may add columns to its table."""
    tree.meta[_EVOLUTION] = True
    return tree


def evolves(tree: exp.Expr) -> bool:
    """Whether the statement may add columns to its table."""
    return bool(tree.meta.get(_EVOLUTION))
