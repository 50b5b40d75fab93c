"""What a Delta log says of its table beside columns and rows: properties and CHECK constraints.

There other programs look for them, and RESTORE and CLONE find them. A property that promises something of the
files which is not done here (column mapping, deletion vectors) would mislead them: the catalog's entry keeps it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dqctl.localworkspace import delta
from dqctl.localworkspace.catalog import Catalog, Constraint, Table
from dqctl.localworkspace.generated import features_of
from dqctl.localworkspace.protocol import joined, with_feature
from dqctl.localworkspace.transaction_log import Action, Snapshot

_CHECK = "delta.constraints."
# In lower case; those that end with a period stand for all that begin so.
_PROMISES = (
    "delta.checkpointpolicy", "delta.columnmapping.", "delta.enablechangedatafeed", "delta.enabledeletionvectors",
    "delta.enableicebergcompatv1", "delta.enableicebergcompatv2",
    "delta.enableincommittimestamps", "delta.enablerowtracking", "delta.enabletypewidening", "delta.feature.",
    "delta.minreaderversion", "delta.minwriterversion", "delta.universalformat.",
)  # fmt: skip


def is_promise(key: str) -> bool:
    """Whether a property says of a table's files what is not so."""
    lowered = key.lower()
    return any(lowered.startswith(one) if one.endswith(".") else lowered == one for one in _PROMISES)


def for_log(properties: Mapping[str, str]) -> dict[str, str]:
    """Those that the log has."""
    return {key: value for key, value in properties.items() if not is_promise(key)}


def for_entry(properties: Mapping[str, str]) -> dict[str, str]:
    """Those that the catalog's entry has."""
    return {key: value for key, value in properties.items() if is_promise(key)}


def properties_of(catalog: Catalog, table: Table) -> dict[str, str]:
    """All properties of a table or view but its constraints."""
    if table.is_view:
        return dict(table.properties)
    log = delta.configuration(catalog.path(table))
    return {key: value for key, value in log.items() if not key.startswith(_CHECK)} | dict(table.properties)


def checks_of(catalog: Catalog, table: Table) -> tuple[Constraint, ...]:
    """The CHECK constraints of a table."""
    return () if table.is_view else checks_in(delta.configuration(catalog.path(table)))


def checks_in(configuration: Mapping[str, str]) -> tuple[Constraint, ...]:
    """The CHECK constraints that a log's configuration holds."""
    return tuple(
        Constraint(key.removeprefix(_CHECK), "CHECK", expression=text)
        for key, text in configuration.items()
        if key.startswith(_CHECK)
    )


def constraints_of(catalog: Catalog, table: Table) -> tuple[Constraint, ...]:
    """All constraints of a table: those that are enforced, then keys, which the catalog has."""
    return (*checks_of(catalog, table), *table.constraints)


def configuration_of(properties: Mapping[str, str], checks: Iterable[Constraint]) -> dict[str, str]:
    """The log's configuration of a table with these."""
    return for_log(properties) | {check_key(one.name): one.expression or "" for one in checks}


def check_key(name: str) -> str:
    """The property that is the CHECK of this name."""
    return f"{_CHECK}{name.lower()}"


def is_check(key: str) -> bool:
    """Whether a property is a CHECK."""
    return key.lower().startswith(_CHECK)


def configured(before: Snapshot, configuration: Mapping[str, str]) -> tuple[Action, Action | None]:
    """The metadata action for another configuration, and the protocol action if that asks for one."""
    wanted = protocol_for(before.protocol, configuration)
    return (
        {**before.metadata, "configuration": dict(configuration)},
        None if wanted == before.protocol else wanted,
    )


def protocol_for(
    protocol: Action,
    configuration: Mapping[str, str],
    fields: Iterable[Mapping[str, Any]] = (),
    other: Action | None = None,
) -> Action:
    """``protocol``, joined with ``other``, with what configuration and columns ask of writers."""
    found = protocol if other is None or other == protocol else joined(protocol, other)
    checks = ["checkConstraints"] if any(map(is_check, configuration)) else []
    for feature in (*checks, *features_of(fields)):
        found = with_feature(found, feature)
    return found
