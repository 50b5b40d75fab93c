"""``INSERT INTO t REPLACE ON (condition) query``, which sqlglot 30.30 does not read; dbt loads with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from dqctl.localworkspace import errors

_REPLACE_ON = "replace_on"


@dataclass(frozen=True)
class ReplaceOn:
    """Which rows of the table go: those for which a row of the query fulfils ``text``.

    ``target`` and ``source`` are the aliases under which it knows the two; None is the table's name, or none.
    """

    text: str
    target: str | None
    source: str | None


def without_replace_on(statement: str, tokens: Sequence[Token]) -> tuple[list[Token], ReplaceOn | None]:
    """The tokens of a plain INSERT, and the clause that was among them."""
    place = _place(tokens)
    if place is None:
        return list(tokens), None
    if place + 2 >= len(tokens) or tokens[place + 2].token_type != TokenType.L_PAREN:
        raise errors.unsupported("INSERT with REPLACE ON and a condition that is not in parentheses")
    end = _closing(tokens, place + 2)
    before, target = _without_alias(tokens[:place])
    rest, source = list(tokens[end + 1 :]), None
    if rest and rest[0].token_type == TokenType.L_PAREN:
        close = _closing(rest, 0)
        if _text(rest, close + 1) == "AS":
            del rest[close + 1]
        if len(rest) == close + 2:
            source = rest.pop().text
    text = statement[tokens[place + 2].end + 1 : tokens[end].start]
    return [*before, *rest], ReplaceOn(text, target, source)


def replacing(tree: exp.Expr, clause: ReplaceOn, condition: exp.Expr) -> exp.Expr:
    """Mark an INSERT that replaces; ``condition`` is the clause's, parsed."""
    tree.meta[_REPLACE_ON] = (clause, condition)
    return tree


def replaces_on(tree: exp.Expr) -> tuple[ReplaceOn, exp.Expr] | None:
    """The clause of an INSERT, if it has one."""
    found: tuple[ReplaceOn, exp.Expr] | None = tree.meta.get(_REPLACE_ON)
    return found


def _place(tokens: Sequence[Token]) -> int | None:
    """Where REPLACE ON stands: outside of all parentheses, and before the query."""
    if _text(tokens, 0) not in ("INSERT", "WITH"):
        return None
    depth, inserts = 0, False
    for index, token in enumerate(tokens):
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        word = "" if depth else _text(tokens, index)
        inserts = inserts or word == "INSERT"
        if inserts and word in ("SELECT", "VALUES"):
            return None
        if inserts and word == "REPLACE" and _text(tokens, index + 1) == "ON":
            return index
    return None


def _without_alias(tokens: Sequence[Token]) -> tuple[list[Token], str | None]:
    """``INSERT INTO [TABLE] name [[AS] alias] [BY NAME]`` without the alias, and the alias."""
    left = list(tokens)
    by_name = left[-2:] if _text(left, len(left) - 2) == "BY" and _text(left, len(left) - 1) == "NAME" else []
    left = left[: len(left) - len(by_name)]
    alias = None
    if _text(left, len(left) - 2) == "AS":
        alias = left.pop().text
        left.pop()
    elif (
        len(left) > 2
        and left[-2].token_type != TokenType.DOT
        and _text(left, len(left) - 2) not in ("INTO", "TABLE")
    ):
        if left[-1].token_type == TokenType.R_PAREN:
            raise errors.unsupported("INSERT with REPLACE ON and a list of columns")
        alias = left.pop().text
    return [*left, *by_name], alias


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index].token_type == TokenType.L_PAREN) - (tokens[index].token_type == TokenType.R_PAREN)
        if not depth:
            return index
    raise errors.syntax_error("Syntax error at or near end of input.")


def _text(tokens: Sequence[Token], index: int) -> str:
    if not 0 <= index < len(tokens) or tokens[index].token_type in (TokenType.STRING, TokenType.IDENTIFIER):
        return ""
    return tokens[index].text.upper()
