"""ALTER of tables, views, schemas, catalogs and volumes: one dataclass for each thing that it can do.

sqlglot reads half of them, each in a way of its own; expressions, types and queries in them are left to it.
It is long because it is a list: everything that ALTER can say, with the words that say it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp
from sqlglot.tokenizer_core import Token

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Constraint, Name
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.tokens import Parts, Reader, tokenize

Kind = Literal["TABLE", "VIEW", "SCHEMA", "CATALOG", "VOLUME"]


@dataclass(frozen=True)
class Alter:
    """``ALTER <what> <parts> <action>``."""

    what: Kind
    parts: Parts
    action: object


@dataclass(frozen=True)
class RenameTo:
    """``RENAME TO``."""

    parts: Parts


@dataclass(frozen=True)
class SetOwner:
    """``[SET] OWNER TO``."""

    principal: str


@dataclass(frozen=True)
class SetTags:
    """``[ALTER COLUMN c] SET TAGS``; a value of None takes the tag away."""

    tags: Mapping[str, str | None]
    column: str | None = None


@dataclass(frozen=True)
class SetProperties:
    """``SET TBLPROPERTIES`` and ``SET DBPROPERTIES``."""

    properties: Mapping[str, str]


@dataclass(frozen=True)
class UnsetProperties:
    """``UNSET TBLPROPERTIES``."""

    keys: tuple[str, ...]
    if_exists: bool


@dataclass(frozen=True)
class ClusterBy:
    """``CLUSTER BY``: columns, none, or AUTO."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Position:
    """``FIRST`` (``after`` None) or ``AFTER c``."""

    after: str | None


@dataclass(frozen=True)
class AddColumns:
    """``ADD COLUMNS``: the text of each definition and its place."""

    definitions: tuple[tuple[str, Position | None], ...]


@dataclass(frozen=True)
class DropColumns:
    """``DROP COLUMNS``."""

    names: tuple[str, ...]
    if_exists: bool


@dataclass(frozen=True)
class RenameColumn:
    """``RENAME COLUMN``."""

    name: str
    new: str


@dataclass(frozen=True)
class ChangeColumn:
    """``ALTER COLUMN``: one change of one column. ``value`` is the text of a type, a default or a comment."""

    name: str
    change: Literal[
        "TYPE",
        "COMMENT",
        "SET NOT NULL",
        "DROP NOT NULL",
        "SET DEFAULT",
        "DROP DEFAULT",
        "POSITION",
        "SYNC IDENTITY",
    ]
    value: str | None = None
    position: Position | None = None


@dataclass(frozen=True)
class ChangeColumns:
    """Several changes, in order."""

    changes: tuple[ChangeColumn, ...]


@dataclass(frozen=True)
class AddConstraint:
    """``ADD CONSTRAINT``; a foreign key's ``references`` are the parts of its parent's name."""

    constraint: Constraint
    references: Parts = ()


@dataclass(frozen=True)
class DropConstraint:
    """``DROP CONSTRAINT name``, ``DROP PRIMARY KEY``, ``DROP FOREIGN KEY (columns)``."""

    name: str | None
    kind: Literal["PRIMARY KEY", "FOREIGN KEY"] | None
    columns: tuple[str, ...]
    if_exists: bool
    cascade: bool


@dataclass(frozen=True)
class SetQuery:
    """``ALTER VIEW v AS query``; the query is the text."""

    query: str


@dataclass(frozen=True)
class NoChange:
    """What a local workspace has nothing to do for: no client could see a difference."""


def read_alter(reader: Reader) -> object:
    """The rest of an ALTER; ``StatementError`` for what it cannot do here."""
    what = reader.one_of("TABLE", "VIEW", "SCHEMA", "DATABASE", "CATALOG", "VOLUME")
    if what is None:
        raise errors.unsupported(f"ALTER {reader.value().upper()}")
    kind: Kind = "SCHEMA" if what == "DATABASE" else what  # type: ignore[assignment]  # by one_of
    parts = reader.name()
    for words, read in _ACTIONS:
        if reader.accept(*words):
            action = read(reader)
            reader.end()
            return Alter(kind, parts, action)
    if reader.at_end():
        raise reader.error()
    raise errors.unsupported(f"ALTER {kind} ... {' '.join(token.text for token in reader.rest()[:3]).upper()}")


def _owner(reader: Reader) -> object:
    return SetOwner(reader.identifier())


def _rename_column(reader: Reader) -> object:
    name = reader.identifier()
    reader.expect("TO")
    return RenameColumn(name, reader.identifier())


def _properties(reader: Reader) -> object:
    return SetProperties(reader.properties())


def _unset_properties(reader: Reader) -> object:
    if_exists = reader.accept("IF", "EXISTS")
    reader.expect("(")
    keys = [reader.property_key()]
    while reader.accept(","):
        keys.append(reader.property_key())
    reader.expect(")")
    return UnsetProperties(tuple(keys), if_exists)


def read_tags(reader: Reader) -> dict[str, str | None]:
    """``('key' = 'value', 'key')``."""
    reader.expect("(")
    tags: dict[str, str | None] = {}
    while True:
        key = reader.value()
        tags[key] = reader.value() if reader.accept("=") else ""
        if not reader.accept(","):
            break
    reader.expect(")")
    return tags


def _set_tags(reader: Reader) -> object:
    return SetTags(read_tags(reader))


def _unset_tags(reader: Reader) -> object:
    return SetTags(dict.fromkeys(read_tags(reader)))


def _cluster_by(reader: Reader) -> object:
    if word := reader.one_of("NONE", "AUTO"):
        return ClusterBy(("AUTO",) if word == "AUTO" else ())
    reader.expect("(")
    return ClusterBy(_names(reader))


def _names(reader: Reader) -> tuple[str, ...]:
    """Names up to the closing bracket."""
    names = [reader.identifier()]
    while reader.accept(","):
        names.append(reader.identifier())
    reader.expect(")")
    return tuple(names)


def _add_columns(reader: Reader) -> object:
    pieces = reader.bracketed(angles=True) if reader.accept("(") else [reader.rest()]
    return AddColumns(tuple(_placed(reader, piece) for piece in pieces))


def _placed(reader: Reader, piece: Sequence[Token]) -> tuple[str, Position | None]:
    texts = [token.text.upper() for token in piece]
    if len(piece) > 2 and texts[-1] == "FIRST":
        return reader.text(piece[:-1]), Position(None)
    if len(piece) > 3 and texts[-2] == "AFTER":
        return reader.text(piece[:-2]), Position(piece[-1].text)
    if not piece:
        raise reader.error()
    return reader.text(piece), None


def _drop_columns(reader: Reader) -> object:
    if_exists = reader.accept("IF", "EXISTS")
    if reader.accept("("):
        return DropColumns(_names(reader), if_exists)
    names = [reader.identifier()]
    while reader.accept(","):
        names.append(reader.identifier())
    if reader.accept("."):
        raise errors.unsupported("ALTER TABLE ... DROP COLUMN of a field of a struct")
    return DropColumns(tuple(names), if_exists)


def _change_column(reader: Reader) -> object:
    name = reader.identifier()
    if reader.accept("."):
        raise errors.unsupported("ALTER COLUMN of a field of a struct")
    if reader.accept("SET", "TAGS"):
        return SetTags(read_tags(reader), name)
    if reader.accept("UNSET", "TAGS"):
        return SetTags(dict.fromkeys(read_tags(reader)), name)
    changes = _one_change(reader, name)
    while reader.accept(","):
        changes += _one_change(reader, reader.identifier())
    return ChangeColumns(tuple(changes))


def _one_change(reader: Reader, name: str) -> list[ChangeColumn]:
    if reader.accept("COMMENT"):
        return [ChangeColumn(name, "COMMENT", reader.string())]
    for words in ("SET NOT NULL", "DROP NOT NULL", "DROP DEFAULT", "SYNC IDENTITY"):
        if reader.accept(*words.split()):
            return [ChangeColumn(name, words)]
    if reader.accept("SET", "DEFAULT"):
        return [ChangeColumn(name, "SET DEFAULT", reader.until(","))]
    if reader.accept("TYPE"):
        return [ChangeColumn(name, "TYPE", reader.until(",", angles=True))]
    if position := _position(reader):
        return [ChangeColumn(name, "POSITION", position=position)]
    if reader.one_of("SET", "DROP", "SYNC"):
        raise errors.unsupported(f"ALTER COLUMN ... {reader.value().upper()}")
    return _hive_change(reader, name)


def _hive_change(reader: Reader, name: str) -> list[ChangeColumn]:
    """``CHANGE COLUMN a a INT COMMENT 'x' AFTER b``: the name and the type again."""
    again = reader.identifier()
    if again.lower() != name.lower():
        raise errors.unsupported("CHANGE COLUMN with another name: RENAME COLUMN")
    changes = [ChangeColumn(name, "TYPE", reader.until("COMMENT", "FIRST", "AFTER", ",", angles=True))]
    if reader.accept("COMMENT"):
        changes.append(ChangeColumn(name, "COMMENT", reader.string()))
    if position := _position(reader):
        changes.append(ChangeColumn(name, "POSITION", position=position))
    return changes


def _position(reader: Reader) -> Position | None:
    if reader.accept("FIRST"):
        return Position(None)
    return Position(reader.identifier()) if reader.accept("AFTER") else None


def _add_constraint(reader: Reader) -> object:
    return read_constraint(reader, reader.identifier())


def read_constraint(reader: Reader, name: str) -> AddConstraint:
    """What follows the name of a constraint."""
    if reader.accept("CHECK"):
        reader.expect("(")
        (expression, *more) = reader.bracketed()
        if more or not expression:
            raise reader.error()
        reader.accept("ENFORCED")
        return AddConstraint(Constraint(name, "CHECK", expression=reader.text(expression)))
    if reader.accept("PRIMARY", "KEY"):
        reader.expect("(")
        columns = [_key_column(reader)]
        while reader.accept(","):
            columns.append(_key_column(reader))
        reader.expect(")")
        return AddConstraint(Constraint(name, "PRIMARY KEY", tuple(columns), rely=_key_options(reader)))
    if reader.accept("FOREIGN", "KEY"):
        reader.expect("(")
        own = _names(reader)
        reader.expect("REFERENCES")
        references = reader.name()
        parents = _names(reader) if reader.accept("(") else ()
        rely = _key_options(reader)
        return AddConstraint(
            Constraint(name, "FOREIGN KEY", own, parent=Name("", "", ""), parent_columns=parents, rely=rely),
            references,
        )
    raise reader.error()


def _key_column(reader: Reader) -> str:
    name = reader.identifier()
    reader.accept("TIMESERIES")
    return name


_KEY_OPTIONS = (
    ("NOT", "ENFORCED"), ("DEFERRABLE",), ("INITIALLY", "DEFERRED"), ("MATCH", "FULL"), ("NORELY",),
    ("ON", "UPDATE", "NO", "ACTION"), ("ON", "DELETE", "NO", "ACTION"),
)  # fmt: skip


def _key_options(reader: Reader) -> bool:
    """The options of a key, of which only RELY says something."""
    rely = False
    while True:
        if reader.accept("RELY"):
            rely = True
        elif not any(reader.accept(*words) for words in _KEY_OPTIONS):
            return rely


def _drop_constraint(reader: Reader) -> object:
    if_exists = reader.accept("IF", "EXISTS")
    name = reader.identifier()
    return DropConstraint(name, None, (), if_exists, _cascade(reader))


def _drop_key(kind: Literal["PRIMARY KEY", "FOREIGN KEY"]) -> Callable[[Reader], object]:
    def read(reader: Reader) -> object:
        if_exists = reader.accept("IF", "EXISTS")
        columns = _names(reader) if reader.accept("(") else ()
        return DropConstraint(None, kind, columns, if_exists, _cascade(reader))

    return read


def _cascade(reader: Reader) -> bool:
    return reader.one_of("CASCADE", "RESTRICT") == "CASCADE"


def _query(reader: Reader) -> object:
    left = reader.rest()
    if not left:
        raise reader.error()
    return SetQuery(reader.text(left))


def _nothing(reader: Reader) -> object:
    reader.rest()
    return NoChange()


def constraints_in(definition: exp.Expr) -> AddConstraint:
    """A constraint that stands among the columns of CREATE TABLE, from its tree."""
    text = to_sql(definition.copy())
    reader = Reader(tokenize(text), text)
    name = reader.identifier() if reader.accept("CONSTRAINT") else ""
    return read_constraint(reader, name)


_ACTIONS: tuple[tuple[Parts, Callable[[Reader], object]], ...] = (
    (("RENAME", "TO"), lambda reader: RenameTo(reader.name())),
    (("RENAME", "COLUMN"), _rename_column),
    (("SET", "OWNER", "TO"), _owner),
    (("OWNER", "TO"), _owner),
    (("SET", "TBLPROPERTIES"), _properties),
    (("SET", "DBPROPERTIES"), _properties),
    (("UNSET", "TBLPROPERTIES"), _unset_properties),
    (("SET", "TAGS"), _set_tags),
    (("UNSET", "TAGS"), _unset_tags),
    (("CLUSTER", "BY"), _cluster_by),
    (("ADD", "COLUMNS"), _add_columns),
    (("ADD", "COLUMN"), _add_columns),
    (("DROP", "COLUMNS"), _drop_columns),
    (("DROP", "COLUMN"), _drop_columns),
    (("ALTER", "COLUMN"), _change_column),
    (("CHANGE", "COLUMN"), _change_column),
    (("CHANGE",), _change_column),
    (("ADD", "CONSTRAINT"), _add_constraint),
    (("DROP", "CONSTRAINT"), _drop_constraint),
    (("DROP", "PRIMARY", "KEY"), _drop_key("PRIMARY KEY")),
    (("DROP", "FOREIGN", "KEY"), _drop_key("FOREIGN KEY")),
    (("ADD", "PRIMARY"), lambda reader: _unnamed(reader, "PRIMARY")),
    (("ADD", "FOREIGN"), lambda reader: _unnamed(reader, "FOREIGN")),
    (("AS",), _query),
    (("ENABLE", "PREDICTIVE", "OPTIMIZATION"), _nothing),
    (("DISABLE", "PREDICTIVE", "OPTIMIZATION"), _nothing),
    (("INHERIT", "PREDICTIVE", "OPTIMIZATION"), _nothing),
)


def _unnamed(reader: Reader, first: str) -> object:
    """``ADD PRIMARY KEY (...)``: the name is made up."""
    left = reader.rest()
    text = f"{first} {reader.text(left)}" if left else first
    inner = Reader(tokenize(text), text)
    read = read_constraint(inner, "")
    inner.end()
    return read
