"""The systems that TestGen has, and finding one by the name that a person types."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from uuid import UUID

from dqctl.errors import UsageError
from dqctl.testgen.ports import Runtime
from dqctl.testgen.systems.described import Kind, Part, describe
from dqctl.testgen.systems.strict import nearest

_LIST = "dqctl systems list shows what there is; dqctl apply -f systems.yaml adds to it"


@dataclass(frozen=True)
class Suite:
    """A test suite. ``path`` is its unmistakable name, system/suite."""

    id: UUID
    name: str
    system: str
    table_group_id: UUID
    table_group: str
    description: str | None
    severity: str | None
    tests: int
    test_runs: int

    @property
    def path(self) -> str:
        """``system/suite``."""
        return f"{self.system}/{self.name}"


@dataclass(frozen=True)
class TableGroup:
    """A table group with its suites."""

    id: UUID
    name: str
    connection: str
    schema: str
    tables: str | None
    include: str | None
    exclude: str | None
    profiles: int
    suites: tuple[Suite, ...]


@dataclass(frozen=True)
class Connection:
    """A connection, without what is secret about it. ``database`` is the catalog of a Databricks connection."""

    name: str
    flavor: str
    host: str
    http_path: str | None
    database: str
    max_threads: int


@dataclass(frozen=True)
class System:
    """A system with everything in it. ``name`` is TestGen's project code."""

    name: str
    title: str
    connections: tuple[Connection, ...]
    table_groups: tuple[TableGroup, ...]

    @property
    def suites(self) -> tuple[Suite, ...]:
        """All suites, of all table groups."""
        return tuple(suite for group in self.table_groups for suite in group.suites)


def list_systems(runtime: Runtime) -> tuple[System, ...]:
    """All systems by name; TestGen's own empty project is none."""
    parts = describe(runtime)
    of = {kind: [part for part in parts if part.kind is kind] for kind in Kind}
    systems = (_system(part, of) for part in of[Kind.SYSTEM])
    return tuple(system for system in systems if system.connections)


def resolve_system(runtime: Runtime, name: str) -> System:
    """The system called ``name``; ``UsageError`` naming the nearest when there is none."""
    systems = list_systems(runtime)
    for system in systems:
        if system.name == name:
            return system
    known = [system.name for system in systems]
    raise UsageError(f"there is no system {name}{nearest(name, known)}", _LIST)


def resolve_suites(
    runtime: Runtime, names: Sequence[str] = (), *, systems: Sequence[str] = (), everything: bool = False
) -> tuple[Suite, ...]:
    """The suites called ``names``, each once: those of ``systems``, or of all there are.

    A name is ``suite`` or ``system/suite``, or a pattern of either (``*``, ``?``, ``[...]``). Without names it is
    all suites of ``systems``; with ``everything`` all suites. Raises ``UsageError`` for a name that is unknown or
    stands for suites of several systems, a pattern that fits none, and when there is nothing to resolve.
    """
    found = list_systems(runtime)
    if everything and (names or systems):
        raise UsageError("both suites and --all are given", "name suites or systems, or use --all")
    if not (everything or names or systems):
        raise UsageError("no test suite is given", "name suites (dqctl systems list shows them), or use --all")
    for name in systems:
        if name not in (known := [system.name for system in found]):
            raise UsageError(f"there is no system {name}{nearest(name, known)}", _LIST)
    suites = [suite for system in found if system.name in systems or not systems for suite in system.suites]
    if not suites:
        where = f"{', '.join(systems)} has no test suite" if systems else "there is no test suite yet"
        raise UsageError(where, "declare one and run dqctl apply -f systems.yaml")
    chosen = [each for name in names for each in _suites(name, suites)] if names else suites
    return tuple({suite.id: suite for suite in chosen}.values())


_WILD = re.compile(r"[*?\[]")


def _suites(name: str, suites: Sequence[Suite]) -> list[Suite]:
    if not _WILD.search(name) or any(name in (suite.name, suite.path) for suite in suites):
        return [_suite(name, suites)]
    found = [suite for suite in suites if fnmatchcase(suite.name, name) or fnmatchcase(suite.path, name)]
    if not found:
        raise UsageError(f"no suite fits {name}", _LIST)
    return found


def _suite(name: str, known: Sequence[Suite]) -> Suite:
    found = [suite for suite in known if name in (suite.name, suite.path)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"suite {name} exists in several systems", f"say which: {', '.join(suite.path for suite in found)}"
        )
    words = sorted({word for suite in known for word in (suite.name, suite.path)})
    raise UsageError(f"there is no suite {name}{nearest(name, words)}", _LIST)


def _system(part: Part, of: dict[Kind, list[Part]]) -> System:
    code = part.system
    suites = [_suite_of(suite) for suite in of[Kind.SUITE] if suite.system == code]
    return System(
        name=code,
        title=part.values.get("project_name") or code,
        connections=tuple(_connection(c) for c in of[Kind.CONNECTION] if c.system == code),
        table_groups=tuple(_table_group(g, suites) for g in of[Kind.TABLE_GROUP] if g.system == code),
    )


def _connection(part: Part) -> Connection:
    values = part.values
    return Connection(
        name=part.name,
        flavor=values["sql_flavor_code"] or values["sql_flavor"],
        host=values["project_host"] or "",
        http_path=values["http_path"],
        database=values["project_db"] or "",
        max_threads=values["max_threads"],
    )


def _table_group(part: Part, suites: list[Suite]) -> TableGroup:
    values = part.values
    return TableGroup(
        id=UUID(part.id),
        name=part.name,
        connection=part.parent or "",
        schema=values["table_group_schema"],
        tables=values["profiling_table_set"],
        include=values["profiling_include_mask"],
        exclude=values["profiling_exclude_mask"],
        profiles=part.history.profiles,
        suites=tuple(suite for suite in suites if str(suite.table_group_id) == part.id),
    )


def _suite_of(part: Part) -> Suite:
    values = part.values
    return Suite(
        id=UUID(part.id),
        name=part.name,
        system=part.system,
        table_group_id=values["table_groups_id"],
        table_group=part.parent or "",
        description=values["test_suite_description"],
        severity=values["severity"],
        tests=part.history.tests,
        test_runs=part.history.test_runs,
    )
