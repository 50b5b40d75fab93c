"""What has to be done so that TestGen has what is declared. Pure: nothing is read or written here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import SecretStr

from dqctl.errors import UsageError
from dqctl.testgen.systems.described import History, Kind, Part
from dqctl.testgen.systems.wanted import Unwanted, Wanted

# Connection id: column: fingerprint of the secret that is stored there (None: nothing that can be read).
Fingerprints = Mapping[str, Mapping[str, str | None]]
HIDDEN = "********"


class Change(StrEnum):
    """What is done to a part."""

    CREATE = "create"
    UPDATE = "update"
    RENAME = "rename"
    REMOVE = "remove"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Difference:
    """A column that differs. Secrets are hidden on both sides."""

    column: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Action:
    """One thing to do. ``loses`` is what a removal takes along, besides the parts themselves."""

    change: Change
    kind: Kind
    system: str
    name: str
    parent: str | None = None
    renamed_from: str | None = None
    differences: tuple[Difference, ...] = ()
    loses: History | None = None


@dataclass(frozen=True)
class Plan:
    """All actions in the order in which they are carried out; what TestGen has beyond the file is left alone."""

    actions: tuple[Action, ...]
    left_alone: tuple[str, ...]

    @property
    def changes(self) -> tuple[Action, ...]:
        """The actions that change something."""
        return tuple(action for action in self.actions if action.change is not Change.UNCHANGED)


Key = tuple[Kind, str, str]


def plan(
    wanted: tuple[Wanted, ...],
    unwanted: tuple[Unwanted, ...],
    existing: tuple[Part, ...],
    stored: Fingerprints,
    fingerprint: Callable[[SecretStr], str],
) -> Plan:
    """The plan that makes ``existing`` into what is ``wanted``.

    ``stored`` holds the fingerprints of the connections' secrets, ``fingerprint`` makes one of a wanted secret.
    Raises ``UsageError`` for what cannot be done: a rename onto a name that is taken, a part that would have to
    move, a name that TestGen has twice.
    """
    now = _by_key(existing)
    renames: list[Action] = []
    for part in (part for part in wanted if part.renamed_from and part.kind is Kind.SYSTEM):
        now = _renamed(now, part, renames)
    removals: list[Action] = []
    for gone in unwanted:
        now = _removed(now, gone, removals)
    system_renames = tuple(renames)
    renames.clear()
    for part in (part for part in wanted if part.renamed_from and part.kind is not Kind.SYSTEM):
        now = _renamed(now, part, renames)
    rest = tuple(_settled(now, part, stored, fingerprint) for part in wanted)
    return Plan((*system_renames, *removals, *renames, *rest), _left_alone(now, wanted))


def _by_key(existing: tuple[Part, ...]) -> dict[Key, Part]:
    found: dict[Key, Part] = {}
    for part in existing:
        key = (part.kind, part.system, part.name)
        if key in found:
            # Nothing in TestGen keeps names of connections and suites unique.
            raise UsageError(
                f"TestGen has two {part.kind.word}s called {part.name} in {part.system}",
                "rename or remove one of them in TestGen's UI",
            )
        found[key] = part
    return found


def _renamed(now: dict[Key, Part], part: Wanted, actions: list[Action]) -> dict[Key, Part]:
    old = (part.kind, part.renamed_from if part.kind is Kind.SYSTEM else part.system, part.renamed_from)
    new = (part.kind, part.system, part.name)
    if old not in now:
        return now  # done already, or to be created
    if new in now:
        raise UsageError(
            f"{part.kind.word} {part.renamed_from} cannot be renamed: there is a {part.name} already",
            "drop renamed_from if the rename is done, or remove one of the two",
        )
    actions.append(
        Action(Change.RENAME, part.kind, part.system, part.name, part.parent, renamed_from=part.renamed_from)
    )
    if part.kind is Kind.SYSTEM:
        return _by_key(
            tuple(
                replace(p, system=part.name, name=part.name if p.kind is Kind.SYSTEM else p.name)
                if p.system == part.renamed_from
                else p
                for p in now.values()
            )
        )
    below = {Kind.CONNECTION: Kind.TABLE_GROUP, Kind.TABLE_GROUP: Kind.SUITE}.get(part.kind)
    return _by_key(
        tuple(
            replace(p, name=part.name)
            if (p.kind, p.system, p.name) == old
            else replace(p, parent=part.name)
            if p.kind is below and p.system == part.system and p.parent == part.renamed_from
            else p
            for p in now.values()
        )
    )


def _removed(now: dict[Key, Part], gone: Unwanted, actions: list[Action]) -> dict[Key, Part]:
    part = now.get((gone.kind, gone.system, gone.name))
    if part is None:
        return now  # gone already
    lost = _with_children(now, part)
    loses = sum((p.history for p in lost), History())
    actions.append(Action(Change.REMOVE, part.kind, part.system, part.name, part.parent, loses=loses))
    return {key: p for key, p in now.items() if p not in lost}


def _with_children(now: dict[Key, Part], part: Part) -> list[Part]:
    if part.kind is Kind.SYSTEM:
        return [p for p in now.values() if p.system == part.system]
    below = {Kind.CONNECTION: Kind.TABLE_GROUP, Kind.TABLE_GROUP: Kind.SUITE}.get(part.kind)
    children = [p for p in now.values() if p.kind is below and p.system == part.system and p.parent == part.name]
    return [part, *(p for child in children for p in _with_children(now, child))]


def _settled(
    now: dict[Key, Part], part: Wanted, stored: Fingerprints, fingerprint: Callable[[SecretStr], str]
) -> Action:
    there = now.get((part.kind, part.system, part.name))
    if there is None:
        differences = tuple(Difference(c, None, v) for c, v in part.values.items() if v is not None) + tuple(
            Difference(c, None, HIDDEN) for c in part.secrets
        )
        return Action(Change.CREATE, part.kind, part.system, part.name, part.parent, differences=differences)
    if there.parent != part.parent:
        raise UsageError(
            f"{part.kind.word} {part.name} hangs below {there.parent} in TestGen, not below {part.parent}",
            "parts cannot move, their history refers to where they are: use another name, and remove the old one",
        )
    known = stored.get(there.id, {})
    differences = tuple(
        Difference(column, there.values.get(column), value)
        for column, value in part.values.items()
        if there.values.get(column) != value
    ) + tuple(
        Difference(column, HIDDEN, HIDDEN)
        for column, secret in part.secrets.items()
        if known.get(column) != fingerprint(secret)
    )
    change = Change.UPDATE if differences else Change.UNCHANGED
    return Action(change, part.kind, part.system, part.name, part.parent, differences=differences)


def _left_alone(now: dict[Key, Part], wanted: tuple[Wanted, ...]) -> tuple[str, ...]:
    declared = {(part.kind, part.system, part.name) for part in wanted}
    systems = {part.system for part in wanted}
    return tuple(
        f"{part.kind.word} {part.system}/{part.name}"
        for key, part in now.items()
        if part.system in systems and key not in declared
    )
