"""What a declaration wants TestGen to have, as rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from dqctl.errors import UsageError
from dqctl.testgen.capabilities import Capabilities
from dqctl.testgen.systems.declaration import Declaration, System
from dqctl.testgen.systems.described import Kind
from dqctl.testgen.systems.flavors import WorkspaceAccess
from dqctl.testgen.systems.references import Sources


@dataclass(frozen=True)
class Wanted:
    """One part that shall be there. ``values`` and ``secrets`` are columns; others are left alone."""

    kind: Kind
    system: str
    name: str
    parent: str | None
    renamed_from: str | None
    values: Mapping[str, Any]
    secrets: Mapping[str, SecretStr] = field(default_factory=dict)


@dataclass(frozen=True)
class Unwanted:
    """One part that shall go. ``system`` is the system's present name."""

    kind: Kind
    system: str
    name: str


def wanted(
    declaration: Declaration, sources: Sources, access: WorkspaceAccess | None, version: Capabilities
) -> tuple[Wanted, ...]:
    """All parts, parents before children; resolves every secret that is referred to.

    Raises ``UsageError`` for a secret that is not there, a workspace that is not set, or a setting that this
    version of TestGen does not have.
    """
    return tuple(part for system in declaration.systems for part in _system(system, sources, access, version))


def unwanted(declaration: Declaration) -> tuple[Unwanted, ...]:
    """All parts that the declaration removes, children before parents."""
    parts = [
        Unwanted(kind, system.name, name)
        for system in declaration.systems
        for kind, names in (
            (Kind.SUITE, system.remove.suites),
            (Kind.TABLE_GROUP, system.remove.table_groups),
            (Kind.CONNECTION, system.remove.connections),
        )
        for name in names
    ]
    return (*parts, *(Unwanted(Kind.SYSTEM, name, name) for name in declaration.remove.systems))


def _system(
    system: System, sources: Sources, access: WorkspaceAccess | None, version: Capabilities
) -> list[Wanted]:
    parts = [
        Wanted(
            Kind.SYSTEM,
            system.name,
            system.name,
            None,
            system.renamed_from,
            {"project_name": system.title or system.name},
        )
    ]
    for connection in system.connections:
        columns = connection.columns(sources, access)
        parts.append(
            Wanted(
                Kind.CONNECTION,
                system.name,
                connection.name,
                None,
                connection.renamed_from,
                columns.plain,
                columns.secret,
            )
        )
    for connection in system.connections:
        parts += [
            Wanted(
                Kind.TABLE_GROUP,
                system.name,
                group.name,
                connection.name,
                group.renamed_from,
                group.columns(connection.schema_name),
            )
            for group in connection.table_groups
        ]
    for group in system.table_groups:
        for suite in group.suites:
            if suite.generation_sets is not None and not version.several_generation_sets:
                raise UsageError(
                    f"suite {suite.name} has generation_sets, which TestGen {version.version} does not know",
                    "remove them from the file, or upgrade TestGen",
                )
            parts.append(
                Wanted(Kind.SUITE, system.name, suite.name, group.name, suite.renamed_from, suite.columns())
            )
    return parts
