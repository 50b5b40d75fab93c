"""The databases of a stack beside its own, by what upgrades and rollbacks make of them."""

from collections.abc import Iterable

from dqctl.runtime.ports import MetadataServer

NEXT = "datakitchen_next"
"""Made out of a backup, for a trial; the stack's own one day, or dropped."""

NEXT_MAKING = f"{NEXT}_making"
"""What ``services.backup`` calls it until it is whole."""

BEFORE = "datakitchen_before"
"""The stack's own until the last upgrade."""

OLDER = "datakitchen_older"
"""That of the upgrade before the last, for the moment in which the names change."""

UNDONE = "datakitchen_undone"
"""The stack's own until a rollback, for the moment of the rollback."""

ALL = (NEXT, NEXT_MAKING, BEFORE, OLDER, UNDONE)

_MAINTENANCE = "postgres"


def existing(server: MetadataServer, names: Iterable[str] = ALL) -> frozenset[str]:
    """Which of ``names`` there are."""
    with server.connect(_MAINTENANCE) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s)", [list(names)]
        ).fetchall()
    return frozenset(str(name) for (name,) in rows)
