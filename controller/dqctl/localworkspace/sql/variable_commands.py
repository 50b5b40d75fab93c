"""The commands for session variables, and EXECUTE IMMEDIATE, which can fill them."""

from dataclasses import dataclass

from dqctl.localworkspace.sql.tokens import Reader


@dataclass(frozen=True)
class DeclareVariable:
    """``DECLARE [OR REPLACE] [VARIABLE] names [type] [DEFAULT value]``; type and value as they were written."""

    names: tuple[str, ...]
    replace: bool
    type: str | None
    default: str | None


@dataclass(frozen=True)
class SetVariables:
    """``SET VAR a = x, b = y``: a value for each; or ``SET VAR (a, b) = (query)``: the query for all of them."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    query: str | None = None


@dataclass(frozen=True)
class DropVariable:
    """``DROP TEMPORARY VARIABLE``."""

    name: str
    if_exists: bool


@dataclass(frozen=True)
class ExecuteImmediate:
    """``EXECUTE IMMEDIATE text [INTO names] [USING value [AS name], ...]``; values as they were written."""

    text: str
    into: tuple[str, ...]
    using: tuple[tuple[str, str | None], ...]


def read_declare(reader: Reader) -> object:
    """The rest of a DECLARE."""
    replace = reader.accept("OR", "REPLACE")
    reader.accept("VARIABLE")
    names = [_name(reader)]
    while reader.accept(","):
        names.append(_name(reader))
    kind = None if reader.next_is("DEFAULT", "=") else reader.until("DEFAULT", "=", angles=True)
    default = None
    if reader.one_of("DEFAULT", "="):
        default = reader.until()
    reader.end()
    if kind is None and default is None:
        raise reader.error()
    return DeclareVariable(tuple(names), replace, kind, default)


def read_set_variables(reader: Reader) -> object:
    """The rest of a SET VAR."""
    if reader.accept("("):
        names = [_name(reader)]
        while reader.accept(","):
            names.append(_name(reader))
        reader.expect(")")
        reader.expect("=")
        return SetVariables(tuple(names), (), reader.until())
    names, values = [], []
    while True:
        names.append(_name(reader))
        reader.expect("=")
        values.append(reader.until(","))
        if not reader.accept(","):
            break
    reader.end()
    return SetVariables(tuple(names), tuple(values))


def read_drop_variable(reader: Reader) -> object:
    """The rest of a DROP TEMPORARY VARIABLE."""
    if_exists = reader.accept("IF", "EXISTS")
    name = _name(reader)
    reader.end()
    return DropVariable(name, if_exists)


def read_execute_immediate(reader: Reader) -> object:
    """The rest of an EXECUTE IMMEDIATE."""
    text = reader.until("INTO", "USING")
    into: list[str] = []
    if reader.accept("INTO"):
        bracket = reader.accept("(")
        into.append(_name(reader))
        while reader.accept(","):
            into.append(_name(reader))
        if bracket:
            reader.expect(")")
    using: list[tuple[str, str | None]] = []
    if reader.accept("USING"):
        pieces = reader.bracketed() if reader.accept("(") else reader.pieces()
        for piece in pieces:
            one = Reader(piece, reader.source)
            value = one.until("AS")
            using.append((value, one.identifier() if one.accept("AS") else None))
            one.end()
    reader.end()
    return ExecuteImmediate(text, tuple(into), tuple(using))


def _name(reader: Reader) -> str:
    """A variable's name: ``x``, ``session.x`` or ``system.session.x``."""
    parts = tuple(part.lower() for part in reader.name())
    if parts[:-1] not in ((), ("session",), ("system", "session")):
        raise reader.error()
    return parts[-1]
