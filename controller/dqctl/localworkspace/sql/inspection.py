"""SHOW and DESCRIBE, read token by token."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.grants import securable
from dqctl.localworkspace.sql.tokens import Parts, Reader


@dataclass(frozen=True)
class Show:
    """``SHOW <what> [IN <parts>] [LIKE <pattern>]``.

    ``kind`` is USER, SYSTEM or ALL functions, or what grants are on; ``principal`` is whose grants; ``key`` the
    one property that is asked for; ``limit`` the most rows.
    """

    what: Literal[
        "CATALOGS", "SCHEMAS", "TABLES", "VIEWS", "COLUMNS", "VOLUMES", "FUNCTIONS", "CREATE TABLE",
        "TBLPROPERTIES", "PARTITIONS", "TABLE EXTENDED", "TABLES DROPPED", "GRANTS",
    ]  # fmt: skip
    parts: Parts
    pattern: str | None = None
    kind: str = ""
    principal: str | None = None
    key: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Describe:
    """``DESCRIBE [<what>] <parts>``: ``extended`` for all that is known, ``as_json`` for programs.

    ``limit`` is the number of versions of a HISTORY, the newest first.
    """

    what: Literal["TABLE", "HISTORY", "DETAIL", "SCHEMA", "CATALOG", "VOLUME", "FUNCTION"]
    parts: Parts
    extended: bool = False
    as_json: bool = False
    column: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class DescribeQuery:
    """``DESCRIBE [QUERY] <query>``: the text of the query."""

    query: str


_PLAIN = ("CATALOGS", "SCHEMAS", "DATABASES", "TABLES", "VIEWS", "COLUMNS", "VOLUMES")
# With these a query begins, and no name of a table.
_QUERIES = ("SELECT", "WITH", "VALUES", "FROM", "(")


def read_show(reader: Reader) -> object:
    """The rest of a SHOW."""
    for words, read in _SHOWS:
        if reader.accept(*words):
            return read(reader)
    return _listing(reader)


def _extended(reader: Reader) -> Show:
    parts = reader.name() if reader.one_of("IN", "FROM") else ()
    reader.expect("LIKE")
    shown = Show("TABLE EXTENDED", parts, reader.string())
    if reader.accept("PARTITION"):
        raise errors.unsupported("SHOW TABLE EXTENDED with PARTITION")
    return _named(reader, shown)


def _dropped(reader: Reader) -> Show:
    parts = reader.name() if reader.one_of("IN", "FROM") else ()
    limit = reader.number() if reader.accept("LIMIT") else None
    return _named(reader, Show("TABLES DROPPED", parts, limit=limit))


def _named(reader: Reader, shown: Show) -> Show:
    reader.end()
    return shown


def _listing(reader: Reader) -> Show:
    reader.accept("ALL")
    what = reader.one_of(*_PLAIN)
    if what is None:
        raise errors.unsupported(f"SHOW {reader.value().upper()}")
    parts: Parts = ()
    if reader.one_of("IN", "FROM"):
        parts = reader.name()
        if what == "COLUMNS" and reader.one_of("IN", "FROM"):
            parts = (*reader.name(), *parts)
    plain = "SCHEMAS" if what == "DATABASES" else what
    return Show(plain, parts, _pattern(reader))  # type: ignore[arg-type]  # by one_of


def _pattern(reader: Reader) -> str | None:
    if reader.at_end():
        return None
    reader.accept("LIKE")
    pattern = reader.string()
    reader.end()
    return pattern


def _properties(reader: Reader) -> Show:
    parts, key = reader.name(), None
    if reader.accept("("):
        key = reader.property_key()
        reader.expect(")")
    return _named(reader, Show("TBLPROPERTIES", parts, key=key))


def _grants(reader: Reader) -> Show:
    principal = None if reader.accept("ON") else reader.identifier()
    if principal is not None:
        reader.expect("ON")
    kind, parts = securable(reader)
    return _named(reader, Show("GRANTS", parts, kind=kind, principal=principal))


def _functions(reader: Reader, kind: str) -> Show:
    parts = reader.name() if reader.one_of("IN", "FROM") else ()
    return Show("FUNCTIONS", parts, _pattern(reader), kind=kind)


def _functions_of(kind: str) -> Callable[[Reader], Show]:
    return lambda reader: _functions(reader, kind)


_SHOWS: tuple[tuple[Parts, Callable[[Reader], Show]], ...] = (
    (("CREATE", "TABLE"), lambda reader: _named(reader, Show("CREATE TABLE", reader.name()))),
    (("TABLE", "EXTENDED"), _extended),
    (("TABLES", "DROPPED"), _dropped),
    (("TBLPROPERTIES",), _properties),
    (("PARTITIONS",), lambda reader: _named(reader, Show("PARTITIONS", reader.name()))),
    (("GRANTS",), _grants),
    (("GRANT",), _grants),
    (("FUNCTIONS",), lambda reader: _functions(reader, "ALL")),
    *(((kind, "FUNCTIONS"), _functions_of(kind)) for kind in ("USER", "SYSTEM", "ALL")),
)


def read_describe(reader: Reader) -> object:
    """The rest of a DESCRIBE."""
    if reader.accept("QUERY") or reader.next_is(*_QUERIES):
        left = reader.rest()
        if not left:
            raise reader.error()
        return DescribeQuery(reader.text(left))
    if reader.accept("FUNCTION"):
        extended = reader.accept("EXTENDED")
        described = Describe("FUNCTION", reader.name(), extended)
        reader.end()
        return described
    what = reader.one_of("HISTORY", "DETAIL", "SCHEMA", "DATABASE", "CATALOG", "VOLUME", "TABLE") or "TABLE"
    extended = reader.one_of("EXTENDED", "FORMATTED") is not None
    parts = reader.name()
    if what == "HISTORY":
        limit = reader.number() if reader.accept("LIMIT") else None
        reader.end()
        return Describe("HISTORY", parts, extended, limit=limit)
    if reader.accept("PARTITION"):
        raise errors.unsupported("DESCRIBE TABLE with PARTITION")
    as_json = reader.accept("AS", "JSON")
    column = None
    if what == "TABLE" and not as_json and not reader.at_end():
        column = reader.identifier()
        as_json = reader.accept("AS", "JSON")
    reader.end()
    if as_json and not (extended and what == "TABLE"):
        raise errors.unsupported_as_json()
    plain = "SCHEMA" if what == "DATABASE" else what
    return Describe(plain, parts, extended, as_json, column)  # type: ignore[arg-type]  # by one_of
