"""Reading a statement token by token: for the commands that no grammar of sqlglot covers."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

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
    return _spelled_out(_called(tokens))


def _called(tokens: list[Token]) -> list[Token]:
    """``window(ts, '1 day')`` is a function, also after GROUP BY, where sqlglot begins a WINDOW clause."""
    for place, (word, opened) in enumerate(pairwise(tokens)):
        if word.token_type == TokenType.WINDOW and opened.token_type == TokenType.L_PAREN:
            tokens[place] = Token(TokenType.VAR, word.text, word.line, word.col, word.start, word.end)
    return tokens


def _spelled_out(tokens: list[Token]) -> list[Token]:
    """``IDENTIFIER('a.b')`` is the name that it spells, wherever it stands; see ``identifiers``."""
    place = 0
    while place + 3 < len(tokens):
        word, opened, text, closed = tokens[place : place + 4]
        call = word.token_type == TokenType.VAR and word.text.upper() == "IDENTIFIER"
        if call and (opened.text, closed.text) == ("(", ")") and text.token_type == TokenType.STRING:
            tokens[place : place + 4] = _name_of(text.text, word, closed)
        place += 1
    return tokens


def _name_of(text: str, first: Token, last: Token) -> list[Token]:
    """The tokens of a name, and of nothing else, in the place of those from ``first`` to ``last``."""
    reader = Reader(Warehouse().tokenize(text))
    parts = reader.name()
    reader.end()
    found: list[Token] = []
    for part in parts:
        kinds = [(TokenType.DOT, ".")] if found else []
        for kind, spelled in (*kinds, (TokenType.IDENTIFIER, part)):
            found.append(Token(kind, spelled, line=first.line, col=first.col, start=first.start, end=last.end))
    return found


Parts = tuple[str, ...]

_BRACKETS = {"(": 1, ")": -1}
# Around the arguments of a type; in an expression they compare.
_ANGLES = {**_BRACKETS, "<": 1, ">": -1}


def _words(token: Token) -> Iterator[Token]:
    """The words of a token: the tokenizer makes one of PRIMARY KEY, CLUSTER BY and their like."""
    if token.token_type in (TokenType.STRING, TokenType.IDENTIFIER, TokenType.RAW_STRING) or " " not in token.text:
        yield token
        return
    for word in re.finditer(r"\S+", token.text):
        start = token.start + word.start()
        yield Token(
            TokenType.VAR, word[0], line=token.line, col=token.col, start=start, end=start + len(word[0]) - 1
        )


class Reader:
    """A cursor over tokens. What does not fit is PARSE_SYNTAX_ERROR at the token where it stops fitting."""

    def __init__(self, tokens: Sequence[Token], source: str = "") -> None:
        self._tokens = [word for token in tokens for word in _words(token)]
        self.source = source
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

    def next_is(self, *words: str) -> bool:
        """Whether one of these words comes next, or nothing does."""
        before = self._index
        found = self.at_end() or self.one_of(*words) is not None
        self._index = before
        return found

    def number(self) -> int:
        """Take a whole number."""
        token = self._peek()
        if token is None or not token.text.isdecimal():
            raise self.error()
        return int(self.value())

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

    def text(self, tokens: Sequence[Token]) -> str:
        """What the client wrote from the first to the last of these."""
        return self.source[tokens[0].start : tokens[-1].end + 1]

    def until(self, *words: str, angles: bool = False) -> str:
        """Take everything before one of these words outside of all brackets, as the client wrote it."""
        begin, depth, brackets = self._index, 0, _ANGLES if angles else _BRACKETS
        while (token := self._peek()) is not None:
            plain = token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER)
            if plain and depth == 0 and token.text.upper() in words:
                break
            depth += brackets.get(token.text, 0) if plain else 0
            self._index += 1
        if begin == self._index:
            raise self.error()
        return self.text(self._tokens[begin : self._index])

    def pieces(self) -> list[Sequence[Token]]:
        """Take everything that is left, cut at its commas."""
        pieces: list[Sequence[Token]] = []
        while True:
            begin = self._index
            self.until(",")
            pieces.append(self._tokens[begin : self._index])
            if not self.accept(","):
                return pieces

    def bracketed(self, *, angles: bool = False) -> list[Sequence[Token]]:
        """Take everything up to the bracket that closes the one just taken, cut at its commas."""
        pieces: list[Sequence[Token]] = []
        begin, depth, brackets = self._index, 0, _ANGLES if angles else _BRACKETS
        while (token := self._peek()) is not None:
            plain = token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER)
            if plain and token.text in (",", ")") and depth == 0:
                pieces.append(self._tokens[begin : self._index])
                begin = self._index + 1
                if token.text == ")":
                    self._index += 1
                    return pieces
            depth += brackets.get(token.text, 0) if plain else 0
            self._index += 1
        raise self.error()

    def properties(self) -> dict[str, str]:
        """Take ``('key' = 'value', a.b = 3)``."""
        self.expect("(")
        found: dict[str, str] = {}
        while True:
            key = self.property_key()
            self.accept("=")
            found[key] = self.string() if self._is_string() else self._plain_value()
            if not self.accept(","):
                break
        self.expect(")")
        return found

    def property_key(self) -> str:
        """Take a property's name: a string, or words between points."""
        if self._is_string():
            return self.string()
        key = self.identifier()
        while self.accept("."):
            key += f".{self.identifier()}"
        return key

    def _plain_value(self) -> str:
        sign = "-" if self.accept("-") else ""
        return sign + self.value().lower()

    def _is_string(self) -> bool:
        token = self._peek()
        return token is not None and token.token_type in (TokenType.STRING, TokenType.RAW_STRING)

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
