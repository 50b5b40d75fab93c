"""The systems file: version 1."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from dqctl.testgen.systems.alerts import Alerts
from dqctl.testgen.systems.flavors import Connection
from dqctl.testgen.systems.strict import ConnectionName, Strict, SuiteName, SystemName, TableGroupName, text
from dqctl.testgen.systems.tables import Suite, TableGroup


class RemovedParts(Strict):
    """Parts of a system that are to go, with their history. What is not there any more is gone already."""

    connections: tuple[ConnectionName, ...] = ()
    table_groups: tuple[TableGroupName, ...] = ()
    suites: tuple[SuiteName, ...] = ()


class RemovedSystems(Strict):
    """Systems that are to go, with all that they have."""

    systems: tuple[SystemName, ...] = ()


def _at_least_one(connections: tuple[Connection, ...]) -> tuple[Connection, ...]:
    # Field(min_length=1) counts those that are valid: beside every mistake in the only one, it would claim that
    # there is none (pydantic 2.14).
    if not connections:
        raise PydanticCustomError("no_connection", "a system has at least one connection")
    return connections


class System(Strict):
    """A system. Its name is TestGen's project code; names of its parts are unique within it."""

    name: SystemName
    renamed_from: SystemName | None = None
    title: Annotated[str, text(50)] | None = None
    connections: Annotated[tuple[Connection, ...], AfterValidator(_at_least_one)]
    remove: RemovedParts = RemovedParts()

    @property
    def table_groups(self) -> tuple[TableGroup, ...]:
        """All table groups, of all connections."""
        return tuple(group for connection in self.connections for group in connection.table_groups)

    @property
    def suites(self) -> tuple[Suite, ...]:
        """All suites, of all table groups."""
        return tuple(suite for group in self.table_groups for suite in group.suites)

    @model_validator(mode="after")
    def _consistent(self) -> "System":
        _check_names("connection", self.connections, self.remove.connections)
        _check_names("table group", self.table_groups, self.remove.table_groups)
        _check_names("suite", self.suites, self.remove.suites)
        for connection in self.connections:
            for group in connection.table_groups:
                if not (group.schema_name or connection.schema_name):
                    raise PydanticCustomError(
                        "no_schema",
                        "table group {name} has no schema, and neither has its connection",
                        {"name": group.name},
                    )
        return self


class Declaration(Strict):
    """A systems file. Without ``alerts`` those of the stack are left alone."""

    version: Literal[1]
    systems: tuple[System, ...] = ()
    remove: RemovedSystems = RemovedSystems()
    alerts: Alerts | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Declaration":
        _check_names("system", self.systems, self.remove.systems)
        return self


def _check_names(
    kind: str, declared: "Iterable[System | Connection | TableGroup | Suite]", removed: tuple[str, ...]
) -> None:
    parts = tuple(declared)
    names = [part.name for part in parts]
    former = [part.renamed_from for part in parts if part.renamed_from]
    for name, count in (Counter(names) + Counter(former)).items():
        if count > 1:
            what = (
                "is declared twice"
                if former.count(name) == 0
                else "is both declared and renamed, or renamed twice"
            )
            raise PydanticCustomError("name", "{kind} {name} {what}", {"kind": kind, "name": name, "what": what})
    for name in removed:
        if name in names or name in former:
            raise PydanticCustomError(
                "name", "{kind} {name} is both declared and removed", {"kind": kind, "name": name}
            )
