"""The commands that only the catalog answers, read token by token into one dataclass each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.alterations import read_alter
from dqctl.localworkspace.sql.grants import read_permit
from dqctl.localworkspace.sql.inspection import read_describe, read_show
from dqctl.localworkspace.sql.tokens import Parts, Reader
from dqctl.localworkspace.sql.variable_commands import (
    read_declare,
    read_drop_variable,
    read_execute_immediate,
    read_set_variables,
)


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
class CreateCatalog:
    """``CREATE CATALOG``."""

    name: str
    if_not_exists: bool
    comment: str | None


@dataclass(frozen=True)
class CreateSchema:
    """``CREATE SCHEMA``; ``properties`` are its DBPROPERTIES."""

    parts: Parts
    if_not_exists: bool
    comment: str | None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CreateVolume:
    """``CREATE VOLUME``."""

    parts: Parts
    if_not_exists: bool
    comment: str | None


@dataclass(frozen=True)
class Drop:
    """``DROP <what> [IF EXISTS] <parts> [CASCADE]``; with ``purge`` it cannot come back."""

    what: Literal["CATALOG", "SCHEMA", "TABLE", "VIEW", "VOLUME", "FUNCTION"]
    parts: Parts
    if_exists: bool
    cascade: bool
    purge: bool = False


@dataclass(frozen=True)
class Undrop:
    """``UNDROP <what> <parts>``, or ``WITH ID <id>``."""

    what: Literal["CATALOG", "SCHEMA", "TABLE"]
    parts: Parts
    id: str | None


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
        return read_set_variables(reader)
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


def _create(what: Literal["CATALOG", "SCHEMA", "VOLUME"]) -> Callable[[Reader], object]:
    def command(reader: Reader) -> object:
        if_not_exists = reader.accept("IF", "NOT", "EXISTS")
        parts = (reader.identifier(),) if what == "CATALOG" else reader.name()
        comment, properties = None, {}
        while not reader.at_end():
            if reader.accept("COMMENT"):
                comment = reader.string()
            elif what == "SCHEMA" and reader.accept("WITH", "DBPROPERTIES"):
                properties = reader.properties()
            elif reader.accept("MANAGED", "LOCATION") or reader.accept("LOCATION"):
                # Where managed tables are kept is the local workspace's own business.
                raise errors.unsupported(f"CREATE {what} with LOCATION")
            elif not (what == "CATALOG" and reader.accept("DEFAULT", "COLLATION", "UTF8_BINARY")):
                raise reader.error()
        if what == "CATALOG":
            return CreateCatalog(parts[0], if_not_exists, comment)
        if what == "VOLUME":
            return CreateVolume(parts, if_not_exists, comment)
        return CreateSchema(parts, if_not_exists, comment, properties)

    return command


def _refuse(what: str) -> Callable[[Reader], object]:
    def command(_: Reader) -> object:
        raise errors.unsupported(what)

    return command


def _drop(
    what: Literal["CATALOG", "SCHEMA", "TABLE", "VIEW", "VOLUME", "FUNCTION"],
) -> Callable[[Reader], object]:
    def command(reader: Reader) -> object:
        if_exists = reader.accept("IF", "EXISTS")
        parts = reader.name()
        word = reader.one_of("CASCADE", "RESTRICT", "PURGE")
        reader.end()
        return Drop(what, parts, if_exists, word == "CASCADE", word == "PURGE")

    return command


def _undrop(reader: Reader) -> object:
    what = reader.one_of("TABLE", "SCHEMA", "CATALOG")
    if what is None:
        raise errors.unsupported(f"UNDROP {reader.value().upper()}")
    parts: Parts = ()
    identity = reader.string() if reader.accept("WITH", "ID") else None
    if identity is None:
        parts = reader.name()
    reader.end()
    return Undrop(what, parts, identity)  # type: ignore[arg-type]  # by one_of


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


def _ignored(kind: type[Maintain], what: str) -> Callable[[Reader], object]:
    def command(reader: Reader) -> object:
        reader.rest()
        return kind(what)

    return command


_COMMANDS: tuple[tuple[Parts, Callable[[Reader], object | None]], ...] = (
    (("USE",), _use),
    (("SET",), _set),
    (("RESET",), _reset),
    (("SHOW",), read_show),
    (("DESCRIBE",), read_describe),
    (("DESC",), read_describe),
    (("ALTER",), read_alter),
    (("CREATE", "CATALOG"), _create("CATALOG")),
    (("CREATE", "SCHEMA"), _create("SCHEMA")),
    (("CREATE", "DATABASE"), _create("SCHEMA")),
    (("CREATE", "VOLUME"), _create("VOLUME")),
    (("CREATE", "EXTERNAL", "VOLUME"), _refuse("CREATE EXTERNAL VOLUME")),
    (("CREATE", "GOVERNED", "TAG"), _refuse("CREATE GOVERNED TAG")),
    (("DROP", "GOVERNED", "TAG"), _refuse("DROP GOVERNED TAG")),
    (("CREATE", "FOREIGN", "CATALOG"), _refuse("CREATE FOREIGN CATALOG")),
    (("UNDROP",), _undrop),
    (("DROP", "FUNCTION"), _drop("FUNCTION")),
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
    # Keys of a catalog of Hive's: there is nothing that could be out of step.
    (("REPAIR", "TABLE"), _ignored(Maintain, "REPAIR")),
    (("GRANT",), lambda reader: read_permit(reader, revoke=False)),
    (("REVOKE",), lambda reader: read_permit(reader, revoke=True)),
    (("DENY",), _refuse("DENY")),
    (("DECLARE",), read_declare),
    (("DROP", "TEMPORARY", "VARIABLE"), read_drop_variable),
    (("EXECUTE", "IMMEDIATE"), read_execute_immediate),
    (("CALL",), _refuse("CALL")),
)
