"""Keeping secrets out of everything that is written.

A secret is a type (``pydantic.SecretStr``) from the first line that touches it. This module is the second
net: every value that was ever unwrapped is registered, and ``redact`` takes it out of logs, tracebacks,
foreign output and reports, in the spellings in which it can turn up.
"""

import base64
import json
import logging
import threading
import urllib.parse
from collections.abc import Iterable

from pydantic import SecretStr

MASK = "********"

# Shorter values would blank out innocent text ("a", "on").
_SHORTEST = 4
# A weak password ("testgen", "postgres") is also a word that stands in paths and programs for other reasons.
_NO_WORD = 12


class _Known:
    """Every spelling of every secret, the longest first: one may be a part of another."""

    def __init__(self) -> None:
        self.spellings: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add(self, spellings: Iterable[str]) -> None:
        with self._lock:
            if new := set(spellings).difference(self.spellings):
                self.spellings = tuple(sorted((*self.spellings, *new), key=len, reverse=True))


_known = _Known()


def register(*values: SecretStr | str | None) -> None:
    """Remember secret values, in every spelling in which they may be written."""
    for value in values:
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if plain and len(plain) >= _SHORTEST:
            _known.add(_spellings(plain))


def reveal(secret: SecretStr) -> str:
    """The plain value, registered so that it never shows; the one way to unwrap a secret."""
    register(secret)
    return secret.get_secret_value()


def redact(text: str) -> str:
    """``text`` without any registered secret."""
    for spelling in _known.spellings:
        if spelling in text:
            text = text.replace(spelling, MASK)
    return text


def holds_secret(text: str) -> bool:
    """Whether a registered secret stands in ``text``; only those that are too long to stand there by chance."""
    return any(len(spelling) >= _NO_WORD and spelling in text for spelling in _known.spellings)


def _spellings(plain: str) -> Iterable[str]:
    yield plain
    yield urllib.parse.quote(plain)
    yield urllib.parse.quote(plain, safe="")
    yield urllib.parse.quote_plus(plain)
    yield json.dumps(plain)[1:-1]
    yield json.dumps(plain, ensure_ascii=False)[1:-1]
    yield repr(plain)[1:-1]
    yield plain.replace("'", "''")
    yield base64.b64encode(plain.encode()).decode()


class RedactingFormatter(logging.Formatter):
    """Formats as its parent does, traceback included, then redacts the whole."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without secrets."""
        return redact(super().format(record))
