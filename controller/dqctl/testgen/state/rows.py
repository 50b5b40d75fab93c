"""A row of any table as one text, exact and the same whatever the session: what is saved, compared and restored.

It is a flat JSON object in the order of the columns; every value is PostgreSQL's own text of it as a JSON string,
or null. ``row_to_json`` would not do: it writes SQL NULL and JSON's null alike (SQLAlchemy stores the latter for
None), and forgets where an array begins.
"""

# ruff: noqa: S608 - SQL text out of names of the catalog, quoted here

from collections.abc import Sequence

from dqctl.testgen.state.saved import Connection, Relation

# Those that PostgreSQL's text of a value depends on.
SETTINGS = {
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}

_DIGITS = 15  # hexadecimal, of the MD5 of a row's text: as many as fit into a bigint


def settle(connection: Connection) -> None:
    """Have texts made in one way until the transaction ends."""
    for name, value in SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])


def quoted(relation: str) -> str:
    """The name of a table, with its schema, quoted."""
    return ".".join(map(_identifier, relation.split(".")))


def document(columns: Sequence[str], row: str) -> str:
    """SQL: the text of a row, where ``row`` is the alias of its table, or ``(x)`` of a composite value x."""
    names = ", ".join(_literal(name) for name in columns)
    values = ", ".join(f"{row}.{_identifier(name)}::text" for name in columns)
    return f"json_object(ARRAY[{names}]::text[], ARRAY[{values}]::text[])::text"


def number(digest: str) -> str:
    """SQL: the number that a row adds to the checksum of its table, of the MD5 of its text."""
    return f"('x' || substr({digest}, 1, {_DIGITS}))::bit({_DIGITS * 4})::bigint"


def number_of(digest: str) -> int:
    """The same number of a digest that is here."""
    return int(digest[:_DIGITS], 16)


def checksum(relation: Relation) -> str:
    """SQL: how many rows a table has, and its checksum; to run under ``settle``."""
    digest = f"md5({document(relation.columns, 't')})"
    return f"SELECT count(*), coalesce(sum({number(digest)}), 0) FROM {quoted(relation.name)} t"


def contents(connection: Connection, found: Sequence[Relation]) -> dict[str, tuple[int, int]]:
    """Rows and checksum of every table, computed anew in a transaction that is open."""
    settle(connection)
    sums = {}
    for relation in found:
        row = connection.execute(checksum(relation).encode()).fetchone()
        assert row  # noqa: S101 - an aggregate has one
        sums[relation.name] = (int(row[0]), int(row[1]))
    return sums


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
