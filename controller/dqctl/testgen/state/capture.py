"""Writing down every change of a saved table where it happens: by triggers, into ``dqctl.state_changes``.

A change is a row that came (+1) or went (-1), as PostgreSQL's text of the whole row; an update is both. It is in
the transaction that makes it, so it is there if and only if the change is. TRUNCATE leaves a mark (0) in place of
rows: what was there cannot be told any more, and the next save holds everything.

Not TestGen's processes, not its version and not its owner matter: whoever changes a table, by hand or by a
migration, fires them. Only sessions with ``session_replication_role = replica`` do not.
"""

# ruff: noqa: S608 - SQL text out of names of the catalog, quoted in rows

from collections.abc import Sequence

from dqctl.testgen.ledger import Ledger
from dqctl.testgen.state import rows
from dqctl.testgen.state.saved import Connection, Relation, relations

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_LOCK_TIMEOUT = "30s"

_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    "CREATE TABLE IF NOT EXISTS dqctl.state_changes (relation text NOT NULL, change smallint NOT NULL, row text)",
    "CREATE TABLE IF NOT EXISTS dqctl.state_batch"
    " (relation text NOT NULL, change bigint NOT NULL, row text NOT NULL, digest text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS dqctl.state_book (name text PRIMARY KEY, entry jsonb NOT NULL)",
)

# ``went.*`` is the row even where a column is called as its table.
# As its owner: TestGen's own roles need no right on schema dqctl. The row's text must not depend on the session.
_FUNCTION = f"""
    CREATE OR REPLACE FUNCTION dqctl.state_capture() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    {" ".join(f"SET {name} = '{value}'" for name, value in rows.SETTINGS.items())}
    AS $$
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            INSERT INTO dqctl.state_changes (relation, change)
            VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 0);
            RETURN NULL;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            INSERT INTO dqctl.state_changes (relation, change, row)
            SELECT TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, -1, (went.*)::text FROM went;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO dqctl.state_changes (relation, change, row)
            SELECT TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 1, (came.*)::text FROM came;
        END IF;
        RETURN NULL;
    END $$
"""
_TRIGGERS = {
    "insert": "AFTER INSERT ON {} REFERENCING NEW TABLE AS came",
    "update": "AFTER UPDATE ON {} REFERENCING OLD TABLE AS went NEW TABLE AS came",
    "delete": "AFTER DELETE ON {} REFERENCING OLD TABLE AS went",
    "truncate": "AFTER TRUNCATE ON {}",
}


def end(connection: Connection) -> None:
    """Write nothing down any more; the next save holds everything. For a migration, which may write every row."""
    connection.execute("DROP FUNCTION IF EXISTS dqctl.state_capture() CASCADE")


def is_made(connection: Connection) -> bool:
    """Whether changes are written down at all."""
    return connection.execute("SELECT to_regclass('dqctl.state_book') IS NOT NULL").fetchone() == (True,)


def ensure(connection: Connection) -> tuple[Relation, ...]:
    """Have every change of a saved table written down from now on; the tables that are saved.

    Raises ``psycopg.errors.LockNotAvailable`` when somebody keeps a table locked for half a minute.
    """
    Ledger(connection).ensure()  # it is saved: a table that comes later would cost a base
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for statement in (*_TABLES, _FUNCTION):
            connection.execute(statement.encode())
        _capture([relation for relation in relations(connection) if not relation.captured], connection)
        return relations(connection)


def _capture(found: Sequence[Relation], connection: Connection) -> None:
    for relation in found:
        table = rows.quoted(relation.name)
        for event, when in _TRIGGERS.items():
            name = f"dqctl_state_{event}"
            connection.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}".encode())
            connection.execute(
                f"CREATE TRIGGER {name} {when.format(table)}"
                " FOR EACH STATEMENT EXECUTE FUNCTION dqctl.state_capture()".encode()
            )
