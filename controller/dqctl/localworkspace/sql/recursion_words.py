"""What a recursive definition says and sqlglot 30.30 does not read: MAX RECURSION LEVEL."""

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

_LEVEL = "max_recursion_level"
_WORDS = ["MAX", "RECURSION", "LEVEL"]


def without_levels(tokens: Sequence[Token]) -> tuple[list[Token], int | None]:
    """The tokens without ``MAX RECURSION LEVEL n``, and the largest of such numbers."""
    left = list(tokens)
    levels: list[int] = []
    place = 0
    while place + 3 < len(left):
        ahead = left[place : place + 4]
        plain = all(each.token_type == TokenType.VAR for each in ahead[:3])
        if plain and [each.text.upper() for each in ahead[:3]] == _WORDS and ahead[3].text.isdecimal():
            levels.append(int(ahead[3].text))
            del left[place : place + 4]
        else:
            place += 1
    return left, max(levels, default=None)


def bounded(tree: exp.Expr, level: int) -> exp.Expr:
    """Mark a statement whose definitions may go on for ``level`` levels."""
    tree.meta[_LEVEL] = level
    return tree


def level_of(tree: exp.Expr) -> int | None:
    """How many levels a statement allows its definitions; None when it does not say."""
    found: int | None = tree.meta.get(_LEVEL)
    return found
