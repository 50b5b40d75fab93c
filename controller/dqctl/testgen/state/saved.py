"""What of the metadata database is saved: every table but those that are named here, each with its reason.

Packaged tables (test types, templates) are saved too: they change with an upgrade only, and a restore then needs
nothing but the saved state.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import psycopg

SCHEMAS = ("testgen", "dqctl")

TRANSIENT: Mapping[str, str] = {
    "testgen.stg_*": "Filled and emptied within one job of TestGen.",
    "testgen.oauth2_authorization_codes": "Codes of sign-ins under way, valid for minutes.",
    "testgen.oauth2_tokens": "Sessions of people and programs: after a restore they sign in again.",
    "dqctl.state_*": "What this saving itself keeps.",
    "dqctl.foreground": "Claims of jobs that a command runs; none runs after a restore.",
    "dqctl.turns": "Which process of a command has taken which job; it ends with the command.",
    "dqctl.rotations": "Decides which secrets of this stack's files count; a restored stack has files of its own.",
    "dqctl.alert_receivers": "How receivers of alerts answered last; the next look says it anew.",
}
"""Tables that are not saved, by name or pattern, and why."""

# Raised when rows or triggers are made in another way: the next save is a base then.
_FORM = 1

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Relation:
    """One table that is saved: its name with the schema, and its columns in the table's order.

    ``captured`` is whether all changes of it are written down (``capture``); ``form`` changes with its columns.
    """

    name: str
    columns: tuple[str, ...]
    captured: bool
    form: str


def is_transient(name: str) -> bool:
    """Whether the table ``name``, with its schema, is left out."""
    return any(fnmatchcase(name, pattern) for pattern in TRANSIENT)


def relations(connection: Connection) -> tuple[Relation, ...]:
    """The tables that are saved, by name; one statement."""
    found = connection.execute(_RELATIONS, [list(SCHEMAS)]).fetchall()
    return tuple(
        Relation(name, tuple(columns), bool(captured), form)
        for name, columns, captured, form in found
        if not is_transient(name)
    )


def fingerprint(found: Sequence[Relation], version: str) -> str:
    """What changes with the tables' shape, or with TestGen's ``version``: rows of before do not fit any more."""
    shape = "\n".join(f"{relation.name} {relation.form}" for relation in found)
    return hashlib.sha256(f"{_FORM} {version}\n{shape}".encode()).hexdigest()[:32]


def sequences(connection: Connection) -> Mapping[str, tuple[int, bool]]:
    """Where the sequences are: by name the last value, and whether it was given out."""
    names = [str(name) for (name,) in connection.execute(_SEQUENCES, [list(SCHEMAS)]).fetchall()]
    if not names:
        return {}
    # Names of the catalog, quoted by PostgreSQL itself.
    each = " UNION ALL ".join(f"SELECT last_value, is_called FROM {name}" for name in names)  # noqa: S608
    values = connection.execute(each.encode()).fetchall()
    return {name: (int(value), bool(called)) for name, (value, called) in zip(names, values, strict=True)}


# relnatts counts columns that were dropped too: one that came and went has left rows that do not fit.
# A table's triggers are whole when all four are there, enabled for ordinary sessions.
_RELATIONS = """
    SELECT n.nspname || '.' || c.relname,
           array_agg(a.attname::text ORDER BY a.attnum),
           (SELECT count(*) = 4 FROM pg_trigger t
            WHERE t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A')
              AND t.tgfoid = to_regproc('dqctl.state_capture')::oid),
           md5(c.relnatts || string_agg(
               concat_ws(' ', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated),
               E'\\n' ORDER BY a.attnum))
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    GROUP BY n.nspname, c.relname, c.oid
    ORDER BY 1
"""
_SEQUENCES = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relkind = 'S'
    ORDER BY 1
"""
