"""The commands that look after a table's versions and files: RESTORE, CLONE, OPTIMIZE, VACUUM, ANALYZE."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.tokens import Reader

Parts = tuple[str, ...]


@dataclass(frozen=True)
class AsOf:
    """``VERSION AS OF n``, or ``TIMESTAMP AS OF t``: exactly one of the two is set."""

    version: int | None = None
    timestamp: str | None = None


@dataclass(frozen=True)
class Restore:
    """``RESTORE TABLE t TO ...``."""

    parts: Parts
    to: AsOf


@dataclass(frozen=True)
class CloneTable:
    """``CREATE TABLE t SHALLOW|DEEP CLONE source [AS OF ...]``."""

    parts: Parts
    source: Parts
    shallow: bool
    replace: bool
    if_not_exists: bool
    as_of: AsOf | None
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimize:
    """``OPTIMIZE t [ZORDER BY (columns)]``."""

    parts: Parts
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vacuum:
    """``VACUUM t [RETAIN n HOURS] [DRY RUN]``."""

    parts: Parts
    hours: float | None
    dry_run: bool


@dataclass(frozen=True)
class Analyze:
    """``ANALYZE TABLE t COMPUTE STATISTICS``, ``REFRESH TABLE t``: the table has to be there, and that is all."""

    parts: Parts


def read_maintenance(reader: Reader) -> object | None:
    """The command that begins here; None when the statement is not one of these."""
    for words, read in _COMMANDS:
        if reader.accept(*words):
            return read(reader)
    return None


def _restore(reader: Reader) -> Restore:
    reader.accept("TABLE")
    parts = reader.name()
    reader.accept("TO")
    to = _as_of(reader)
    if to is None:
        raise reader.error()
    reader.end()
    return Restore(parts, to)


def _analyze(reader: Reader) -> Analyze:
    parts = reader.name()
    if not reader.accept("COMPUTE"):
        raise errors.unsupported("ANALYZE TABLE in this form")
    reader.rest()
    return Analyze(parts)


def _refresh(reader: Reader) -> Analyze:
    parts = reader.name()
    reader.end()
    return Analyze(parts)


def _refused(what: str) -> Callable[[Reader], object]:
    def read(_: Reader) -> object:
        raise errors.unsupported(what)

    return read


def _as_of(reader: Reader) -> AsOf | None:
    if reader.accept("VERSION", "AS", "OF"):
        text = reader.value()
        if not text.isdecimal():
            raise errors.syntax_error(f"Syntax error at or near '{text}': a version is a number.")
        return AsOf(version=int(text))
    if reader.accept("TIMESTAMP", "AS", "OF"):
        reader.accept("TIMESTAMP")
        return AsOf(timestamp=reader.string())
    return None


def _clone(reader: Reader) -> CloneTable | None:
    replace = reader.accept("OR", "REPLACE")
    if not reader.accept("TABLE"):
        return None
    if_not_exists = reader.accept("IF", "NOT", "EXISTS")
    parts = reader.name()
    kind = reader.one_of("SHALLOW", "DEEP")
    if not reader.accept("CLONE"):
        return None
    source = reader.name()
    as_of = _as_of(reader)
    properties: dict[str, str] = {}
    if reader.accept("TBLPROPERTIES"):
        reader.expect("(")
        while True:
            key = reader.value()
            while reader.accept("."):
                key += f".{reader.value()}"
            reader.accept("=")
            properties[key] = reader.value()
            if not reader.accept(","):
                break
        reader.expect(")")
    if reader.accept("LOCATION"):
        raise errors.unsupported("CLONE with LOCATION")
    reader.end()
    return CloneTable(parts, source, kind == "SHALLOW", replace, if_not_exists, as_of, properties)


def _optimize(reader: Reader) -> Optimize:
    parts = reader.name()
    reader.accept("FULL")
    if reader.accept("WHERE"):
        raise errors.unsupported("OPTIMIZE with WHERE")
    order: list[str] = []
    if reader.accept("ZORDER", "BY"):
        bracket = reader.accept("(")
        order.append(reader.identifier())
        while reader.accept(","):
            order.append(reader.identifier())
        if bracket:
            reader.expect(")")
    reader.end()
    return Optimize(parts, tuple(order))


def _vacuum(reader: Reader) -> Vacuum:
    parts = reader.name()
    reader.one_of("FULL", "LITE")
    hours = None
    if reader.accept("RETAIN"):
        try:
            hours = float(reader.value())
        except ValueError:
            raise reader.error() from None
        reader.expect("HOURS")
    dry_run = reader.accept("DRY", "RUN")
    reader.end()
    return Vacuum(parts, hours, dry_run)


_COMMANDS: tuple[tuple[Parts, Callable[[Reader], object | None]], ...] = (
    (("RESTORE",), _restore),
    (("OPTIMIZE",), _optimize),
    (("VACUUM",), _vacuum),
    (("ANALYZE", "TABLE"), _analyze),
    (("REFRESH", "TABLE"), _refresh),
    (("CREATE",), _clone),
    (("REORG",), _refused("REORG TABLE")),
)
