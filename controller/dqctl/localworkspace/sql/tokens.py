"""Reading a statement token by token: for the commands that no grammar of sqlglot covers."""

from collections.abc import Sequence

from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.dialect import Warehouse


def tokenize(statement: str) -> list[Token]:
    """The tokens of one statement, without comments and final semicolons; ``StatementError`` if there are none."""
    try:
        tokens = Warehouse().tokenize(statement)
    except TokenError as error:
        raise errors.syntax_error(f"Syntax error: {error}") from error
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise errors.syntax_error("Syntax error, unexpected empty statement.")
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise errors.syntax_error("Syntax error at or near ';': one statement at a time.")
    return tokens


class Reader:
    """A cursor over tokens. What does not fit is PARSE_SYNTAX_ERROR at the token where it stops fitting."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._index = 0

    def accept(self, *words: str) -> bool:
        """Take these words if they come next, in this order and in any case."""
        ahead = self._tokens[self._index : self._index + len(words)]
        if len(ahead) < len(words):
            return False
        for token, word in zip(ahead, words, strict=True):
            if token.token_type in (TokenType.STRING, TokenType.IDENTIFIER) or token.text.upper() != word:
                return False
        self._index += len(words)
        return True

    def one_of(self, *words: str) -> str | None:
        """Take one of these words if it comes next, and say which."""
        return next((word for word in words if self.accept(word)), None)

    def expect(self, *words: str) -> None:
        """Take these words, which must come next."""
        if not self.accept(*words):
            raise self.error()

    def string(self) -> str:
        """Take a string literal, or several in a row, which are one."""
        found = []
        while (token := self._peek()) and token.token_type in (TokenType.STRING, TokenType.RAW_STRING):
            found.append(token.text)
            self._index += 1
        if not found:
            raise self.error()
        return "".join(found)

    def identifier(self) -> str:
        """Take one part of a name: quoted with anything in it, or a plain word."""
        token = self._peek()
        plain = token is not None and token.text.replace("_", "a").replace("$", "a").isalnum()
        if token is None or token.token_type in (TokenType.STRING, TokenType.RAW_STRING):
            raise self.error()
        if token.token_type != TokenType.IDENTIFIER and not plain:
            raise self.error()
        self._index += 1
        return token.text

    def name(self) -> tuple[str, ...]:
        """Take a name of one to three parts."""
        parts = [self.identifier()]
        while self.accept("."):
            parts.append(self.identifier())
        if len(parts) > 3:
            raise self.error()
        return tuple(parts)

    def value(self) -> str:
        """Take a literal or a word, as text."""
        token = self._peek()
        if token is None:
            raise self.error()
        self._index += 1
        return token.text

    def rest(self) -> Sequence[Token]:
        """Take everything that is left."""
        left = self._tokens[self._index :]
        self._index = len(self._tokens)
        return left

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._index >= len(self._tokens)

    def end(self) -> None:
        """Nothing may be left."""
        if not self.at_end():
            raise self.error()

    def error(self) -> Exception:
        """Why reading stops here."""
        token = self._peek()
        where = (
            f"at or near '{token.text}' (line {token.line}, position {token.col})" if token else "at end of input"
        )
        return errors.syntax_error(f"Syntax error {where}.")

    def _peek(self) -> Token | None:
        return self._tokens[self._index] if self._index < len(self._tokens) else None
