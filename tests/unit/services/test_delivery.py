from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from dqctl import records
from dqctl.clock import Clock
from dqctl.databricks.failures import StatementFailed, Unreachable
from dqctl.records import Table
from dqctl.services import delivery
from dqctl.services.delivery import Delivery, batches
from dqctl.tables.loader import Content, Loaded, Loader
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import StoredRun

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Reader:
    """Generations with so many definitions each."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.all = sizes

    def sizes(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        return {run_id: {"dq_test_definitions": self.all[run_id]} for run_id in run_ids}

    @contextmanager
    def stored(self, run_ids: Sequence[str]) -> Iterator[tuple[StoredRun, ...]]:
        yield tuple(self._stored(run_id) for run_id in run_ids)

    def _stored(self, run_id: str) -> StoredRun:
        def csv(table: Table) -> Iterator[bytes]:
            if table is records.TEST_DEFINITIONS:
                nothing = "," * (len(table.columns) - 3)
                for number in range(self.all[run_id]):
                    yield f"lab,{run_id},{number}{nothing}\n".encode()

        return StoredRun({"stack": "lab", "run_id": run_id, "kind": "generate", "status": "completed"}, csv)


class Books:
    def __init__(self) -> None:
        self.entries: list[dict[str, str]] = []
        self.places: set[tuple[str, str]] = set()

    def record(self, home: str, target: str, checksums: Mapping[str, str]) -> None:
        self.entries.append(dict(checksums))
        self.places.add((home, target))


class Loading:
    """Takes all rows of runs; ``bad`` ones fail, and what it does takes ``seconds``."""

    def __init__(self, bad: Mapping[str, Exception] | None = None) -> None:
        self.bad = bad or {}
        self.asked: list[list[str]] = []
        self.time = 0.0

    def load(self, contents: Sequence[Content]) -> tuple[Loaded, ...]:
        run_ids = [content.run["run_id"] for content in contents]
        self.asked.append(run_ids)
        for run_id in run_ids:
            if run_id in self.bad:
                raise self.bad[run_id]
        loaded = []
        for content in contents:
            rows = 0
            for batch in content.batches(records.TEST_DEFINITIONS):
                rows += batch.num_rows
                self.time += 1.0
            loaded.append(Loaded(content.run["run_id"], {"dq_test_definitions": rows}, f"sum of {rows}"))
        return tuple(loaded)


def deliver(reader: Reader, loading: Loading) -> tuple[Delivery, Books, list[str]]:
    said: list[str] = []
    books = Books()
    clock = Clock(now=lambda: NOW, monotonic=lambda: loading.time)
    made = Delivery(reader, cast("Ledger", books), "there", "home", said.append, clock)
    made.deliver(cast("Loader", loading), list(reader.all))
    return made, books, said


def test_runs_are_taken_together_until_they_are_many_or_big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BATCH_RUNS", 3)
    monkeypatch.setattr(delivery, "BATCH_ROWS", 10)
    sizes = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 9, "f": 1, "g": 50, "h": 0}
    found = list(batches(list(sizes), {run_id: {"t": rows} for run_id, rows in sizes.items()}))
    assert found == [["a", "b", "c"], ["d", "e"], ["f"], ["g"], ["h"]]


def test_a_bad_run_is_found_by_halving_and_the_others_are_delivered() -> None:
    reader = Reader(dict.fromkeys("abcdefgh", 1))
    loading = Loading({"f": StatementFailed("no luck")})
    made, books, _ = deliver(reader, loading)
    assert made.failed == {"f": "no luck"}
    assert sorted(run.run_id for run in made.done) == list("abcdegh")
    assert loading.asked == [list("abcdefgh"), list("abcd"), list("efgh"), list("ef"), ["e"], ["f"], list("gh")]
    assert [list(entry) for entry in books.entries] == [list("abcd"), ["e"], list("gh")]


def test_nobody_there_is_not_the_fault_of_a_run() -> None:
    loading = Loading({"b": Unreachable("nobody answers")})
    with pytest.raises(Unreachable):
        deliver(Reader({"a": 1, "b": 1}), loading)
    assert loading.asked == [["a", "b"]]


def test_a_value_that_has_no_room_is_the_fault_of_its_run() -> None:
    class Odd(Reader):
        def _stored(self, run_id: str) -> StoredRun:
            found = super()._stored(run_id)

            def csv(table: Table) -> Iterator[bytes]:
                for block in found.csv(table):
                    yield block if run_id != "b" else b'"not enough columns"\n'

            return StoredRun(found.run, csv)

    made, _, _ = deliver(Odd({"a": 1, "b": 1}), Loading())
    assert list(made.failed) == ["b"]
    assert [run.run_id for run in made.done] == ["a"]


def test_what_goes_on_is_said_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BATCH_ROWS", 4)
    _, _, said = deliver(Reader({"a": 4, "b": 4, "c": 4}), Loading())
    assert said[0] == "publishing 3 finished runs"
    assert "publishing 3 finished runs: 1 done, 4 of about 12 rows, 1 rows/s, about 8 s left" in said
    assert "publishing 3 finished runs: 2 done, 8 of about 12 rows, 1 rows/s, about 4 s left" in said


def test_what_dqctl_knows_goes_into_the_run_and_the_ledger() -> None:
    seen: list[Any] = []

    class Looking(Loading):
        def load(self, contents: Sequence[Content]) -> tuple[Loaded, ...]:
            seen.extend(content.run for content in contents)
            return super().load(contents)

    made, books, _ = deliver(Reader({"a": 2}), Looking())
    assert seen[0]["published_at"] == NOW
    assert seen[0]["dqctl_version"]
    assert books.entries == [{"a": "sum of 2"}]
    assert books.places == {("home", "there")}
    assert made.done[0].rows == {"dq_test_definitions": 2, "dq_runs": 1}
