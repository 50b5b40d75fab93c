"""What dqctl itself knows of a suite: ``dqctl.suites``, beside TestGen's schema in its metadata database.

TestGen has no column for it. It is kept here, by the suite's id, so that a run finds it when the systems file is
not at hand (cron's machine may have none), and so that it is saved, restored, backed up and renamed with it:
what makes a night fail must not change because a database was lost.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import psycopg

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    "CREATE TABLE IF NOT EXISTS dqctl.suites (suite_id uuid PRIMARY KEY, fail_on text NOT NULL)",
)

FAIL_ON = "fail_on"
"""The key of a suite's values that is no column of TestGen's."""


def read(connection: "psycopg.Connection[tuple[Any, ...]]") -> Mapping[UUID, str]:
    """What makes a run of a suite fail, by the suite's id; suites that nothing was said of are left out."""
    if connection.execute("SELECT to_regclass('dqctl.suites')").fetchone() == (None,):
        return {}
    return dict(connection.execute("SELECT suite_id, fail_on FROM dqctl.suites").fetchall())


def write(connection: "psycopg.Connection[tuple[Any, ...]]", wanted: Mapping[tuple[str, str], str | None]) -> None:
    """Set or (None) forget it, by system and suite; suites that are gone are forgotten, too."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for statement in _CREATE:
            connection.execute(statement)
        connection.execute(
            "DELETE FROM dqctl.suites d WHERE NOT EXISTS (SELECT FROM test_suites s WHERE s.id = d.suite_id)"
        )
        for (system, suite), fail_on in wanted.items():
            of_suite = "SELECT id FROM test_suites WHERE project_code = %s AND test_suite = %s"
            if fail_on is None:
                connection.execute(f"DELETE FROM dqctl.suites WHERE suite_id IN ({of_suite})", [system, suite])  # noqa: S608 - our own text
            else:
                connection.execute(
                    f"INSERT INTO dqctl.suites (suite_id, fail_on) SELECT id, %s FROM ({of_suite}) s"  # noqa: S608 - our own text
                    " ON CONFLICT (suite_id) DO UPDATE SET fail_on = EXCLUDED.fail_on",
                    [fail_on, system, suite],
                )
