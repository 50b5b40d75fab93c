"""What tests of the state share: a stack with a target, a watched session, the log added up past our code."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from dqctl.databricks.target import Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.progress import Progress, silent
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import state
from dqctl.services.keys import keys_of
from dqctl.services.state_commits import Saved
from dqctl.settings import Settings
from dqctl.testgen.state import saved
from publishing import Watched, delta

# Each key changes in one way more: what came and went is told apart by these.
SUITE = (
    "INSERT INTO testgen.test_suites (id, project_code, test_suite, severity)"
    " VALUES (gen_random_uuid(), 'DEFAULT', %s, NULL)"
)


@dataclass
class Saving:
    """A stack that is saved, and the statements of its last save."""

    settings: Settings
    runtime: Runtime
    statements: list[str] = field(default_factory=list)
    _tables: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, workspace: Path, schema: str, **more: Any) -> "Saving":
        """``schema`` is one of the test's own."""
        wanted = {"workspace": workspace, "schema_name": schema, "state": "auto", **more}
        settings = settings.model_copy(update=wanted)
        return cls(settings, open_runtime(settings, silent))

    def save(
        self,
        happen: Callable[[int, str], None] | None = None,
        *,
        take_over: bool = False,
        full: bool = False,
        progress: Progress = silent,
    ) -> Saved:
        self.statements = []

        def watched(target: Target) -> Watched:
            watched = Watched(Warehouse(target), happen)
            self.statements = watched.statements
            return watched

        return state.save_of(
            self.settings,
            self.runtime,
            "a test",
            take_over=take_over,
            full=full,
            progress=progress,
            open_warehouse=watched,
        )

    def execute(self, *statements: str, values: tuple[object, ...] = ()) -> None:
        """In one transaction of an ordinary session."""
        with self.runtime.metadata() as connection:
            for statement in statements:
                connection.execute(statement.encode(), values or None)

    def add_suite(self, name: str) -> None:
        self.execute(SUITE, values=(name,))

    def log(self) -> list[dict[str, Any]]:
        """All rows of the log, those that no commit has included."""
        return self._mine("dq_state_log")

    def commits(self) -> list[dict[str, Any]]:
        """The commits, the first one first."""
        return sorted(self._mine("dq_state_commits"), key=lambda commit: int(commit["seq"]))

    @property
    def newest(self) -> int:
        """Number of the newest commit."""
        return int(self.commits()[-1]["seq"])

    def forget_places(self) -> None:
        """Look for the tables anew: they were dropped."""
        self._tables.clear()

    def _mine(self, table: str) -> list[dict[str, Any]]:
        if table not in self._tables:
            self._tables[table] = Path(delta(self.settings, table).table_uri.removeprefix("file://"))
        rows = DeltaTable(str(self._tables[table])).to_pyarrow_table().to_pylist()
        return [row for row in rows if row["stack"] == self.settings.stack]

    def assert_whole(self) -> None:
        """The log adds up to the database, value by value; the newest commit says so, and commits are a chain."""
        commits = self.commits()
        assert [commit["seq"] for commit in commits] == list(range(1, len(commits) + 1))
        for before, commit in zip([None, *commits], commits, strict=False):
            assert commit["parent"] == (before and before["commit_id"])
            assert (commit["kind"] == "base") == (commit["base_seq"] == commit["seq"]) == bool(commit["ddl"])
        newest = commits[-1]
        counting = {each["commit_id"] for each in commits if newest["base_seq"] <= each["seq"] <= newest["seq"]}
        found: dict[str, Counter[str]] = {}
        for row in self.log():
            if row["commit_id"] in counting:
                found.setdefault(row["relation"], Counter())[self._opened(row)] += row["change"]
        there = self.database()
        for relation, rows in there.items():
            net = {row: count for row, count in found.get(relation, Counter()).items() if count}
            assert net == dict(rows), relation
        counted = {relation: sum(rows.values()) for relation, rows in there.items()}
        assert {name: rows for name, (rows, _) in json.loads(newest["tables"]).items() if rows} == counted
        with self.runtime.metadata() as connection:
            left = connection.execute(
                "SELECT (SELECT count(*) FROM dqctl.state_changes), (SELECT count(*) FROM dqctl.state_batch),"
                " (SELECT count(*) FROM dqctl.state_book WHERE name = 'pending')"
            ).fetchone()
        assert left == (0, 0, 0)

    def _opened(self, row: Mapping[str, Any]) -> str:
        opened = keys_of(self.runtime.paths).open(row["relation"], row["row"])
        return json.dumps(json.loads(opened), sort_keys=True)

    def database(self) -> dict[str, Counter[str]]:
        """Every row as a JSON object of texts, made by psycopg and not by the code that makes the log."""
        found: dict[str, Counter[str]] = {}
        with self.runtime.metadata() as connection:
            for name in _tables(connection):
                if saved.is_transient(name):
                    continue
                cursor = connection.execute(f"SELECT * FROM {name} LIMIT 0".encode())
                names = [column.name for column in cursor.description or ()]
                texts = ", ".join(f'"{column}"::text' for column in names)
                for row in connection.execute(f"SELECT {texts} FROM {name}".encode()).fetchall():
                    document = json.dumps(dict(zip(names, row, strict=True)), sort_keys=True)
                    found.setdefault(name, Counter())[document] += 1
        return found


def _tables(connection: Any) -> list[str]:
    found = connection.execute(
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('testgen', 'dqctl')"
    ).fetchall()
    return [str(name) for (name,) in found]
