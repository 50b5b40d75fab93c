"""The commands that only the catalog answers, read token by token into one dataclass each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.tokens import Reader

Parts = tuple[str, ...]


@dataclass(frozen=True)
class UseCatalog:
    """``USE CATALOG x``."""

    catalog: str


@dataclass(frozen=True)
class UseSchema:
    """``USE [SCHEMA] [catalog.]schema``."""

    schema: Parts


@dataclass(frozen=True)
class SetParameter:
    """``SET key = value``; ``value`` None asks, ``key`` None asks for all."""

    key: str | None
    value: str | None


@dataclass(frozen=True)
class ResetParameter:
    """``RESET [key]``."""

    key: str | None


@dataclass(frozen=True)
class Show:
    """``SHOW <what> [IN <parts>] [LIKE <pattern>]``."""

    what: Literal["CATALOGS", "SCHEMAS", "TABLES", "VIEWS", "COLUMNS", "VOLUMES", "CREATE TABLE", "TBLPROPERTIES"]
    parts: Parts
    pattern: str | None


@dataclass(frozen=True)
class Describe:
    """``DESCRIBE [<what>] <parts>``; what is TABLE, EXTENDED, HISTORY, DETAIL, SCHEMA, CATALOG or VOLUME."""

    what: str
    parts: Parts


@dataclass(frozen=True)
class CreateCatalog:
    """``CREATE CATALOG``."""

    name: str
    if_not_exists: bool
    comment: str | None


@dataclass(frozen=True)
class CreateSchema:
    """``CREATE SCHEMA``."""

    parts: Parts
    if_not_exists: bool
    comment: str | None


@dataclass(frozen=True)
class CreateVolume:
    """``CREATE VOLUME``."""

    parts: Parts
    if_not_exists: bool
    comment: str | None


@dataclass(frozen=True)
class Drop:
    """``DROP <what> [IF EXISTS] <parts> [CASCADE]``."""

    what: Literal["CATALOG", "SCHEMA", "TABLE", "VIEW", "VOLUME"]
    parts: Parts
    if_exists: bool
    cascade: bool


@dataclass(frozen=True)
class Comment:
    """``COMMENT ON <what> <parts> IS <text>``."""

    what: Literal["CATALOG", "SCHEMA", "TABLE", "COLUMN", "VOLUME"]
    parts: Parts
    text: str | None


@dataclass(frozen=True)
class Stage:
    """``PUT``, ``GET`` and ``REMOVE``: the client moves the file itself."""

    operation: Literal["PUT", "GET", "REMOVE"]
    volume_path: str
    local_file: str | None
    overwrite: bool


@dataclass(frozen=True)
class ListFiles:
    """``LIST '/Volumes/...'``."""

    volume_path: str


@dataclass(frozen=True)
class Truncate:
    """``TRUNCATE TABLE``."""

    parts: Parts


@dataclass(frozen=True)
class Maintain:
    """``OPTIMIZE``, ``VACUUM``, ``ANALYZE``, ``REFRESH``, ``MSCK``, ``CACHE``: nothing that a reader could see."""

    what: str


@dataclass(frozen=True)
class Authorize:
    """``GRANT``, ``REVOKE``, ``ALTER ... OWNER TO``: accepted; a local workspace has one user."""

    what: str


@dataclass(frozen=True)
class Explain:
    """``EXPLAIN <query>``; the query is the text after ``start``."""

    start: int


def read_command(reader: Reader) -> object | None:
    """The command that begins here; None when the statement is not one of these."""
    for words, read in _COMMANDS:
        if reader.accept(*words):
            return read(reader)
    return None


def _use(reader: Reader) -> object:
    if reader.accept("CATALOG"):
        command: object = UseCatalog(reader.identifier())
    else:
        reader.one_of("SCHEMA", "DATABASE", "NAMESPACE")
        command = UseSchema(reader.name())
    reader.end()
    return command


def _set(reader: Reader) -> object | None:
    if reader.accept("CATALOG"):
        command: object = UseCatalog(reader.identifier())
        reader.end()
        return command
    if reader.accept("TIME", "ZONE"):
        value = " ".join(token.text for token in reader.rest())
        return SetParameter("TIMEZONE", value or None)
    if reader.at_end() or reader.accept("-", "v"):
        return SetParameter(None, None)
    if reader.one_of("VAR", "VARIABLE"):
        return None
    key = reader.identifier()
    while reader.accept("."):
        key += f".{reader.identifier()}"
    if reader.at_end():
        return SetParameter(key, None)
    reader.expect("=")
    return SetParameter(key, "".join(token.text for token in reader.rest()))


def _reset(reader: Reader) -> object:
    if reader.at_end():
        return ResetParameter(None)
    key = ".".join(reader.name())
    reader.end()
    return ResetParameter(key)


def _show(reader: Reader) -> object:
    if reader.accept("CREATE", "TABLE"):
        command = Show("CREATE TABLE", reader.name(), None)
        reader.end()
        return command
    reader.accept("ALL")
    what = reader.one_of(
        "CATALOGS", "SCHEMAS", "DATABASES", "TABLES", "VIEWS", "COLUMNS", "VOLUMES", "TBLPROPERTIES"
    )
    if what is None:
        raise errors.unsupported(f"SHOW {reader.value().upper()}")
    parts: Parts = ()
    if what == "TBLPROPERTIES":
        parts = reader.name()
    elif reader.one_of("IN", "FROM"):
        parts = reader.name()
        if what == "COLUMNS" and reader.one_of("IN", "FROM"):
            parts = (*reader.name(), *parts)
    pattern = None
    if not reader.at_end() and what != "TBLPROPERTIES":
        reader.accept("LIKE")
        pattern = reader.string()
    reader.end()
    return Show("SCHEMAS" if what == "DATABASES" else what, parts, pattern)  # type: ignore[arg-type]  # by one_of


def _describe(reader: Reader) -> object | None:
    if refused := reader.one_of("QUERY", "FUNCTION"):
        raise errors.unsupported(f"DESCRIBE {refused}")
    what = reader.one_of("HISTORY", "DETAIL", "SCHEMA", "DATABASE", "CATALOG", "VOLUME", "TABLE") or "TABLE"
    if reader.accept("EXTENDED") and what == "TABLE":
        what = "EXTENDED"
    parts = reader.name()
    if reader.accept("AS", "JSON"):
        return None
    reader.end()
    return Describe("SCHEMA" if what == "DATABASE" else what, parts)


def _create(read: Callable[[Parts, bool, str | None], object]) -> Callable[[Reader], object]:
    def command(reader: Reader) -> object:
        if_not_exists = reader.accept("IF", "NOT", "EXISTS")
        parts = reader.name()
        comment = None
        while not reader.at_end():
            # MANAGED LOCATION and DBPROPERTIES say nothing to a local workspace.
            if reader.accept("COMMENT"):
                comment = reader.string()
            else:
                reader.value()
        return read(parts, if_not_exists, comment)

    return command


def _drop(what: Literal["CATALOG", "SCHEMA", "TABLE", "VIEW", "VOLUME"]) -> Callable[[Reader], object]:
    def command(reader: Reader) -> object:
        if_exists = reader.accept("IF", "EXISTS")
        parts = reader.name()
        cascade = reader.accept("CASCADE")
        reader.one_of("RESTRICT", "PURGE")
        reader.end()
        return Drop(what, parts, if_exists, cascade)

    return command


def _comment(reader: Reader) -> object:
    what = reader.one_of("CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "COLUMN", "VOLUME")
    if what is None:
        raise reader.error()
    parts = [reader.identifier()]
    while reader.accept("."):
        parts.append(reader.identifier())
    reader.expect("IS")
    text = None if reader.accept("NULL") else reader.string()
    reader.end()
    plain = {"DATABASE": "SCHEMA", "VIEW": "TABLE"}.get(what, what)
    return Comment(plain, tuple(parts), text)  # type: ignore[arg-type]  # by one_of


def _put(reader: Reader) -> object:
    local_file = reader.string()
    reader.expect("INTO")
    path = reader.string()
    overwrite = reader.accept("OVERWRITE")
    reader.end()
    return Stage("PUT", path, local_file, overwrite)


def _get(reader: Reader) -> object:
    path = reader.string()
    reader.expect("TO")
    local_file = reader.string()
    reader.end()
    return Stage("GET", path, local_file, True)


def _remove(reader: Reader) -> object:
    path = reader.string()
    reader.end()
    return Stage("REMOVE", path, None, False)


def _list(reader: Reader) -> object:
    path = reader.string()
    reader.end()
    return ListFiles(path)


def _explain(reader: Reader) -> object:
    reader.one_of("EXTENDED", "FORMATTED", "CODEGEN", "COST")
    left = reader.rest()
    if not left:
        raise reader.error()
    return Explain(left[0].start)


def _truncate(reader: Reader) -> object:
    parts = reader.name()
    reader.end()
    return Truncate(parts)


def _ignored(kind: type[Maintain] | type[Authorize], what: str) -> Callable[[Reader], object]:
    def command(reader: Reader) -> object:
        reader.rest()
        return kind(what)

    return command


_COMMANDS: tuple[tuple[Parts, Callable[[Reader], object | None]], ...] = (
    (("USE",), _use),
    (("SET",), _set),
    (("RESET",), _reset),
    (("SHOW",), _show),
    (("DESCRIBE",), _describe),
    (("DESC",), _describe),
    (("CREATE", "CATALOG"), _create(lambda parts, if_not, text: CreateCatalog(parts[-1], if_not, text))),
    (("CREATE", "SCHEMA"), _create(CreateSchema)),
    (("CREATE", "DATABASE"), _create(CreateSchema)),
    (("CREATE", "VOLUME"), _create(CreateVolume)),
    (("DROP", "CATALOG"), _drop("CATALOG")),
    (("DROP", "SCHEMA"), _drop("SCHEMA")),
    (("DROP", "DATABASE"), _drop("SCHEMA")),
    (("DROP", "TABLE"), _drop("TABLE")),
    (("DROP", "VIEW"), _drop("VIEW")),
    (("DROP", "VOLUME"), _drop("VOLUME")),
    (("COMMENT", "ON"), _comment),
    (("PUT",), _put),
    (("GET",), _get),
    (("REMOVE",), _remove),
    (("LIST",), _list),
    (("EXPLAIN",), _explain),
    (("TRUNCATE", "TABLE"), _truncate),
    *(
        ((word,), _ignored(Maintain, word))
        for word in ("OPTIMIZE", "VACUUM", "ANALYZE", "REFRESH", "MSCK", "CACHE")
    ),
    *(((word,), _ignored(Authorize, word)) for word in ("GRANT", "REVOKE", "DENY")),
)
