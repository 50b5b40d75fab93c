"""What TestGen has: read from its metadata by SQL, in milliseconds where its own programs take seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import rows

from dqctl.testgen.capabilities import Capabilities, capabilities
from dqctl.testgen.ports import Runtime
from dqctl.testgen.systems import verdicts


class Kind(StrEnum):
    """What a file declares: what a system consists of, from the top down, and alerts."""

    SYSTEM = "system"
    CONNECTION = "connection"
    TABLE_GROUP = "table_group"
    SUITE = "suite"
    # dqctl's own, of the whole stack: TestGen knows nothing of them.
    ALERT_ROUTE = "alert_route"
    ALERT_RULE = "alert_rule"

    @property
    def word(self) -> str:
        """The kind in a sentence."""
        return self.value.replace("_", " ")


@dataclass(frozen=True)
class History:
    """What hangs on a part, and goes with it."""

    profiles: int = 0
    tests: int = 0
    test_runs: int = 0

    def __add__(self, other: "History") -> "History":
        """Both together."""
        return History(self.profiles + other.profiles, self.tests + other.tests, self.test_runs + other.test_runs)


@dataclass(frozen=True)
class Part:
    """One system, connection, table group or suite in TestGen.

    ``system`` is the project's code, ``parent`` the name of what it hangs below (None for connections, which
    hang below the system). ``values`` are its columns, without secrets, as Python values, and
    a suite's ``fail_on``.
    """

    kind: Kind
    system: str
    name: str
    parent: str | None
    id: str
    values: Mapping[str, Any]
    history: History = History()


_QUERIES = {
    Kind.SYSTEM: "SELECT *, project_code AS part_name, NULL AS parent, project_code AS part_id FROM projects",
    Kind.CONNECTION: (
        "SELECT *, connection_name AS part_name, NULL AS parent, connection_id::text AS part_id FROM connections"
    ),
    Kind.TABLE_GROUP: (
        "SELECT g.*, g.table_groups_name AS part_name, c.connection_name AS parent, g.id::text AS part_id,"
        " (SELECT count(*) FROM profiling_runs r WHERE r.table_groups_id = g.id) AS profiles"
        " FROM table_groups g JOIN connections c USING (connection_id)"
    ),
    Kind.SUITE: (
        "SELECT s.*, s.test_suite AS part_name, g.table_groups_name AS parent, s.id::text AS part_id,"
        " (SELECT count(*) FROM test_definitions d WHERE d.test_suite_id = s.id) AS tests,"
        " (SELECT count(*) FROM test_runs r WHERE r.test_suite_id = s.id) AS test_runs"
        " FROM test_suites s JOIN table_groups g ON g.id = s.table_groups_id"
    ),
}

_ADDED = ("part_name", "parent", "part_id", "profiles", "tests", "test_runs")
_YES_NO = ("export_to_observability", "profile_use_sampling")
# Text up to 5.92, numbers in 5.134.
_NUMBERS = ("profile_sample_percent", "profiling_delay_days")


def describe(runtime: Runtime) -> tuple[Part, ...]:
    """Everything that TestGen has, parents before their children, by name.

    Monitor and contract suites are TestGen's own business and left out.
    """
    version = capabilities(runtime.version)
    with runtime.metadata() as connection:
        return tuple(part for kind in _QUERIES for part in _parts(connection, version, kind))


def _parts(connection: "psycopg.Connection[tuple[Any, ...]]", version: Capabilities, kind: Kind) -> list[Part]:
    where = f" WHERE {version.regular_suites}" if kind is Kind.SUITE else ""
    own = verdicts.read(connection) if kind is Kind.SUITE else {}
    with connection.cursor(row_factory=rows.dict_row) as cursor:
        found = cursor.execute(f"{_QUERIES[kind]}{where} ORDER BY project_code, part_name").fetchall()
    return [
        Part(
            kind=kind,
            system=row["project_code"],
            name=row["part_name"],
            parent=row["parent"],
            id=row["part_id"],
            values={
                column: _value(column, value)
                for column, value in row.items()
                # Bytes are secrets, encrypted.
                if column not in _ADDED and not isinstance(value, bytes | memoryview)
            }
            | ({verdicts.FAIL_ON: own.get(row["id"])} if kind is Kind.SUITE else {}),
            history=History(row.get("profiles", 0), row.get("tests", 0), row.get("test_runs", 0)),
        )
        for row in found
    ]


def _value(column: str, value: Any) -> Any:
    if column in _YES_NO:
        return value == "Y"
    if column in _NUMBERS:
        return int(value) if value not in (None, "") else None
    return None if value == "" else value
