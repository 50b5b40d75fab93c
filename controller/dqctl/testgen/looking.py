"""Whether a version of TestGen can work with a database: looked at by its own code, at no cost on any target."""

from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex

from dqctl.clock import Deadline
from dqctl.errors import TestGenFailed
from dqctl.testgen import upgrades
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.driver import ask
from dqctl.testgen.ports import Runtime

_SECONDS = 180.0  # for one start of TestGen; it takes two


@dataclass(frozen=True)
class Look:
    """What TestGen found: its models are ``models`` many, ``secrets`` fingerprints of what it decrypts by column.

    ``lost`` counts what it cannot decrypt.
    """

    models: int
    secrets: Mapping[str, tuple[str, ...]]
    lost: Mapping[str, int]


def look(runtime: Runtime, database: str | None = None, *, key: str | None = None) -> Look:
    """Read a row of each model and decrypt every secret of ``database`` (default: the stack's own).

    Fingerprints of the same ``key`` can be compared. Raises ``TestGenFailed`` when a model cannot be read.
    """
    (answer,) = ask(
        runtime,
        [{"verb": "look", "key": key or token_hex(32)}],
        deadline=Deadline(_SECONDS),
        environment={"TG_METADATA_DB_NAME": database} if database else None,
    )
    return Look(
        int(answer["models"]), {name: tuple(of) for name, of in answer["secrets"].items()}, dict(answer["lost"])
    )


def check(runtime: Runtime, rows: Mapping[str, int]) -> None:
    """That the stack's own database is of its TestGen's version, has these rows by table, and can be worked with.

    Raises ``TestGenFailed`` when it is not so.
    """
    with runtime.metadata() as connection:
        found = upgrades.picture(connection)
    expected = capabilities(runtime.version)
    if expected.known and found.revision != expected.schema_revision:
        raise TestGenFailed(
            f"the metadata has schema revision {found.revision}, TestGen {runtime.version} works with "
            f"{expected.schema_revision}",
            "dqctl doctor looks for the reason",
        )
    if different := [table for table, count in rows.items() if found.rows.get(table) != count]:
        raise TestGenFailed(
            f"tables have other rows than a moment before: {', '.join(sorted(different))}",
            "something else works with the metadata database; dqctl doctor looks for it",
        )
    look(runtime)
