"""Statements of several sessions that write one table: what goes together does, what does not is refused."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.faults import Effect, Fault, FaultScript, Kind
from dqctl.localworkspace.lakehouse import LocalLakehouse
from lakehouse_client import Client

SECONDS = 240.0


class Held:
    """A statement in a thread of its own that waits before its commit until it is let go."""

    def __init__(self, script: FaultScript, client: Client, statement: str) -> None:
        self._script = script
        self._failures: list[BaseException] = []
        hits = len(script.hits())
        self.fault = script.add(Fault(Effect.DELAY, Kind.COMMIT, seconds=86_400)).id

        def run() -> None:
            try:
                client.execute(statement)
            except BaseException as error:  # noqa: BLE001 - looked at by whoever lets it go
                self._failures.append(error)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        end = time.monotonic() + SECONDS
        while len(script.hits()) == hits:
            assert self._thread.is_alive(), self._failures
            assert time.monotonic() < end
            time.sleep(0.01)

    def outcome(self) -> StatementError | None:
        """Let it commit, and what it failed with."""
        self._script.remove(self.fault)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        if not self._failures:
            return None
        assert isinstance(self._failures[0], StatementError), self._failures
        return self._failures[0]


@pytest.fixture
def script(lakehouse: LocalLakehouse) -> Iterator[FaultScript]:
    """Faults of the lakehouse; what they hold is let go when the test ends."""
    before, found = lakehouse.before_commit, FaultScript()
    lakehouse.before_commit = found.hold
    yield found
    lakehouse.before_commit = before
    found.clear()


@pytest.fixture
def hold(script: FaultScript, connect: Callable[..., Client]) -> Callable[[str], Held]:
    return lambda statement: Held(script, connect(), statement)


def filled(client: Client, name: str = "t", how: str = "") -> None:
    """A table of two files with a row each."""
    client.execute(f"CREATE TABLE {name} (id INT, n INT) {how}")
    client.execute(f"INSERT INTO {name} VALUES (1, 10)")
    client.execute(f"INSERT INTO {name} VALUES (2, 20)")


def content(client: Client, name: str = "t") -> list[tuple[Any, ...]]:
    return client.rows(f"SELECT id, n FROM {name} ORDER BY id, n")


def in_turn(client: Client, how: str, *statements: str) -> list[tuple[Any, ...]]:
    """What is there after statements about ``t`` that nobody comes between."""
    filled(client, "t", how)
    for statement in statements:
        client.execute(statement)
    found = content(client)
    client.execute("DROP TABLE t")
    return found


INSERT = "INSERT INTO t VALUES (1, 5)"
UPDATE_1 = "UPDATE t SET n = n + 1 WHERE id = 1"
UPDATE_2 = "UPDATE t SET n = n * 2 WHERE id IN (2, 7)"
UPDATE_ALL = "UPDATE t SET n = n + 100"
DELETE_1 = "DELETE FROM t WHERE id = 1"
DELETE_ALL = "DELETE FROM t"
MERGE = ("MERGE INTO t USING (SELECT 1 AS id, 7 AS n) s ON t.id = s.id"
         " WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT *")  # fmt: skip
MERGE_1 = MERGE.replace("t.id = s.id", "t.id = s.id AND t.id = 1")
OVERWRITE = "INSERT OVERWRITE t VALUES (3, 30)"
REPLACE_1 = "INSERT INTO t REPLACE WHERE id = 1 VALUES (1, 11)"
REPLACE_2 = "INSERT INTO t REPLACE WHERE id = 2 VALUES (2, 22)"
ITSELF = "INSERT INTO t SELECT id + 10, n FROM t"
OPTIMIZE = "OPTIMIZE t"

APPEND, READ = "DELTA_CONCURRENT_APPEND", "DELTA_CONCURRENT_DELETE_READ"
PAIRS = [
    # The one that commits last, the one that commits while that is at work, and what the last one fails with.
    (INSERT, INSERT, None),
    (INSERT, UPDATE_ALL, None),
    (INSERT, DELETE_ALL, None),
    (INSERT, OPTIMIZE, None),
    (UPDATE_ALL, INSERT, None),
    (DELETE_1, INSERT, None),
    (MERGE, INSERT, None),
    (OPTIMIZE, INSERT, None),
    (UPDATE_1, UPDATE_1, f"{APPEND}.WITHOUT_HINT"),
    (UPDATE_1, UPDATE_2, None),
    (UPDATE_2, UPDATE_1, None),
    (UPDATE_ALL, UPDATE_1, f"{APPEND}.WHOLE_TABLE_READ"),
    (UPDATE_1, UPDATE_ALL, f"{APPEND}.WITHOUT_HINT"),
    (UPDATE_1, DELETE_1, f"{READ}.WITHOUT_HINT"),
    (UPDATE_ALL, DELETE_1, f"{READ}.WHOLE_TABLE_READ"),
    (DELETE_1, UPDATE_2, None),
    (DELETE_1, UPDATE_1, f"{APPEND}.WITHOUT_HINT"),
    (DELETE_ALL, DELETE_1, "DELTA_CONCURRENT_DELETE_DELETE.WITHOUT_HINT"),
    (DELETE_ALL, UPDATE_1, f"{APPEND}.WHOLE_TABLE_READ"),
    (MERGE, MERGE, f"{APPEND}.WHOLE_TABLE_READ"),
    (MERGE, DELETE_1, f"{READ}.WHOLE_TABLE_READ"),
    (MERGE, UPDATE_2, f"{APPEND}.WHOLE_TABLE_READ"),
    (MERGE_1, UPDATE_2, None),
    (UPDATE_2, MERGE_1, None),
    (OVERWRITE, UPDATE_1, f"{APPEND}.WHOLE_TABLE_READ"),
    (OVERWRITE, DELETE_1, "DELTA_CONCURRENT_DELETE_DELETE.WITHOUT_HINT"),
    (REPLACE_1, REPLACE_2, None),
    (REPLACE_1, REPLACE_1, f"{APPEND}.WITHOUT_HINT"),
    (ITSELF, INSERT, None),
    (ITSELF, UPDATE_1, f"{APPEND}.WHOLE_TABLE_READ"),
    (ITSELF, ITSELF, f"{APPEND}.WHOLE_TABLE_READ"),
    (OPTIMIZE, UPDATE_1, f"{READ}.WHOLE_TABLE_READ"),
    (UPDATE_1, OPTIMIZE, f"{READ}.WITHOUT_HINT"),
    (OPTIMIZE, OPTIMIZE, f"{READ}.WHOLE_TABLE_READ"),
]


# What goes together is found in the log, whatever the engine; a real Spark takes half a minute for some of them.
ON_SPARK = (
    (INSERT, INSERT),
    (UPDATE_1, UPDATE_1),
    (UPDATE_1, UPDATE_2),
    (DELETE_ALL, DELETE_1),
    (OPTIMIZE, UPDATE_1),
)
ON_ENGINES = [("sail", *pair) for pair in PAIRS] + [
    pytest.param("spark", *pair, marks=pytest.mark.spark) for pair in PAIRS if pair[:2] in ON_SPARK
]


@pytest.mark.feature("SQL", "Conflicting changes of one table fail, others succeed (WriteSerializable, by file)")
@pytest.mark.parametrize(("engine", "last", "first", "expected"), ON_ENGINES, indirect=["engine"])
def test_what_conflicts_fails_and_the_rest_is_as_if_they_took_turns(
    client: Client, hold: Callable[[str], Held], last: str, first: str, expected: str | None
) -> None:
    filled(client)
    held = hold(last)
    client.execute(first)
    error = held.outcome()
    assert (error and error.error_class) == expected
    found = content(client)
    client.execute("DROP TABLE t")
    if error is None:
        assert found in (in_turn(client, "", first, last), in_turn(client, "", last, first))
    else:
        assert error.sqlstate == "2D521"
        assert found == in_turn(client, "", first)


@pytest.mark.feature("SQL", "delta.isolationLevel = Serializable")
def test_a_serializable_table_minds_appends_too(client: Client, hold: Callable[[str], Held]) -> None:
    filled(client, how="TBLPROPERTIES ('delta.isolationLevel' = 'Serializable')")
    held = hold(UPDATE_1)
    client.execute(INSERT)
    error = held.outcome()
    assert error is not None
    assert error.error_class == f"{APPEND}.WITHOUT_HINT"
    held = hold(UPDATE_2)
    client.execute(INSERT)
    assert held.outcome() is None
    levels = client.execute("DESCRIBE HISTORY t").table.column("isolationLevel").to_pylist()
    assert levels[0] == "Serializable"


@pytest.mark.feature("SQL", "Changes of different partitions do not conflict")
def test_partitions_keep_changes_apart(client: Client, hold: Callable[[str], Held]) -> None:
    filled(client, how="PARTITIONED BY (id)")
    held = hold("MERGE INTO t USING (SELECT 1 AS id) s ON t.id = s.id AND t.id = 1 WHEN MATCHED THEN DELETE")
    client.execute(UPDATE_2)
    assert held.outcome() is None
    assert content(client) == [(2, 40)]
    held = hold(UPDATE_2)
    client.execute(UPDATE_2)
    error = held.outcome()
    assert error is not None
    assert error.error_class == f"{APPEND}.WITH_PARTITION_HINT"
    assert "committed at version" in str(error)
    assert '{"id": "2"}' in str(error)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t SET TBLPROPERTIES ('delta.appendOnly' = 'false')",
        "ALTER TABLE t ADD COLUMNS (more STRING)",
        "ALTER TABLE t ADD CONSTRAINT few CHECK (n < 1000)",
        "INSERT WITH SCHEMA EVOLUTION INTO t SELECT 4 AS id, 40 AS n, 'x' AS more",
        "CREATE OR REPLACE TABLE t (id INT, n INT)",
    ],
)
@pytest.mark.feature("SQL", "A change of a table's metadata fails what is under way")
def test_whoever_began_before_a_change_of_metadata_fails(
    client: Client, hold: Callable[[str], Held], change: str
) -> None:
    filled(client)
    held = hold(INSERT)
    client.execute(change)
    error = held.outcome()
    assert error is not None
    assert (error.error_class, error.sqlstate) == ("DELTA_METADATA_CHANGED", "2D521")
    client.execute(INSERT.replace("INTO t", "INTO t (id, n)"))


def test_a_table_that_is_dropped_or_renamed_meanwhile(client: Client, hold: Callable[[str], Held]) -> None:
    filled(client)
    held = hold(INSERT)
    client.execute("ALTER TABLE t RENAME TO u")
    assert held.outcome() is None
    assert content(client, "u") == [(1, 5), (1, 10), (2, 20)]
    held = hold("DELETE FROM u")
    client.execute("DROP TABLE u")
    error = held.outcome()
    assert error is not None
    assert error.error_class == "TABLE_OR_VIEW_NOT_FOUND"


def place_of(client: Client, name: str = "t") -> Path:
    return Path(client.execute(f"DESCRIBE DETAIL {name}").table.column("location")[0].as_py())


def test_what_fails_leaves_no_file_and_vacuum_spares_what_is_under_way(
    client: Client, hold: Callable[[str], Held]
) -> None:
    filled(client, how="TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 0 hours')")
    place = place_of(client)
    leftover = place / "_staging-of-a-killed-process"
    leftover.mkdir()
    held = hold(INSERT)
    client.execute("VACUUM t")
    assert not leftover.exists()
    assert held.outcome() is None
    assert content(client) == [(1, 5), (1, 10), (2, 20)]
    files = set(place.glob("*.parquet"))
    held = hold(UPDATE_1)
    client.execute(UPDATE_1)
    assert held.outcome() is not None
    assert len(set(place.glob("*.parquet")) - files) == 1
    assert not list(place.glob("_staging*"))


def test_a_statement_that_is_cancelled_before_its_commit_changes_nothing(
    client: Client, connect: Callable[..., Client], script: FaultScript
) -> None:
    filled(client)
    other = connect()
    held = Held(script, other, UPDATE_ALL)
    other.session.cancel()
    error = held.outcome()
    assert error is not None
    assert error.error_class == "OPERATION_CANCELED"
    assert content(client) == [(1, 10), (2, 20)]


def test_all_of_a_statement_reads_the_version_that_it_began_with(
    client: Client, hold: Callable[[str], Held], script: FaultScript
) -> None:
    """Its own table under its name, in a subquery: what is committed after it began is not there for it."""
    filled(client)
    client.execute("CREATE VIEW most AS SELECT max(n) AS n FROM t")
    held = hold("UPDATE t SET n = (SELECT max(n) FROM t) + (SELECT n FROM most) WHERE id = 1")
    client.execute("INSERT INTO t VALUES (9, 1000)")
    assert held.outcome() is None
    assert content(client) == [(1, 40), (2, 20), (9, 1000)]


@pytest.mark.feature("SQL", "Concurrent appends all succeed")
def test_eight_append_at_once(client: Client, connect: Callable[..., Client]) -> None:
    client.execute("CREATE TABLE t (id INT, n INT)")
    assert run_at_once(connect, [f"INSERT INTO t VALUES ({number}, 0)" for number in range(8)]) == list(range(8))
    assert content(client) == [(number, 0) for number in range(8)]
    versions = client.execute("DESCRIBE HISTORY t").table.column("version").to_pylist()
    assert versions == list(range(8, -1, -1))


def run_at_once(connect: Callable[..., Client], statements: list[str]) -> list[int]:
    """The places of the statements that succeeded; the others met a conflict."""
    ready, clients = threading.Barrier(len(statements)), [connect() for _ in statements]
    succeeded: list[int] = []
    failures: list[BaseException] = []

    def run(place: int) -> None:
        try:
            ready.wait(SECONDS)
            clients[place].execute(statements[place])
            succeeded.append(place)
        except StatementError as error:
            if error.sqlstate != "2D521":
                failures.append(error)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(statements))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not failures, failures
    return sorted(succeeded)


Rows = list[tuple[int, int]]


def statement_and_model(chance: random.Random) -> tuple[str, Callable[[Rows], Rows]]:
    """A statement, and what it makes of the rows of its table."""
    kind, wanted, number = (
        chance.choice(["insert", "update", "delete", "merge", "copy"]),
        chance.randint(1, 3),
        chance.randint(2, 9),
    )

    def merged(rows: Rows) -> Rows:
        if any(one == wanted for one, _ in rows):
            return [(one, n + number if one == wanted else n) for one, n in rows]
        return [*rows, (wanted, number)]

    return {
        "insert": (f"INSERT INTO t VALUES ({wanted}, {number})", lambda rows: [*rows, (wanted, number)]),
        "update": (
            f"UPDATE t SET n = n * {number} WHERE id = {wanted}",
            lambda rows: [(one, n * number if one == wanted else n) for one, n in rows],
        ),
        "delete": (f"DELETE FROM t WHERE id = {wanted}", lambda rows: [row for row in rows if row[0] != wanted]),
        "merge": (
            f"MERGE INTO t USING (SELECT {wanted} AS id, {number} AS n) s ON t.id = s.id"
            " WHEN MATCHED THEN UPDATE SET n = t.n + s.n WHEN NOT MATCHED THEN INSERT *",
            merged,
        ),
        "copy": (
            f"INSERT INTO t SELECT id, n + {number} FROM t WHERE id = {wanted}",
            lambda rows: [*rows, *((one, n + number) for one, n in rows if one == wanted)],
        ),
    }[kind]  # fmt: skip


@pytest.mark.feature("SQL", "Concurrent statements come out as if they had taken turns")
def test_what_succeeds_is_what_some_order_one_by_one_would_have_made(
    client: Client, connect: Callable[..., Client]
) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - a seed that a failure shows
    chance = random.Random(seed)  # noqa: S311 - as above
    for _ in range(4):
        client.execute("CREATE OR REPLACE TABLE t (id INT, n INT)")
        client.execute("INSERT INTO t VALUES (1, 10)")
        client.execute("INSERT INTO t VALUES (2, 20), (3, 30)")
        wanted = [statement_and_model(chance) for _ in range(5)]
        succeeded = run_at_once(connect, [statement for statement, _ in wanted])
        assert succeeded, seed
        outcomes = []
        for order in itertools.permutations(succeeded):
            rows: Rows = [(1, 10), (2, 20), (3, 30)]
            for place in order:
                rows = wanted[place][1](rows)
            outcomes.append(sorted(rows))
        assert content(client) in outcomes, (seed, [wanted[place][0] for place in succeeded])
