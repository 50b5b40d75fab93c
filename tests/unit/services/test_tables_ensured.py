"""Preparing the tables beside others who do the same, over the real embedded engine."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest

from dqctl.databricks.failures import StatementFailed
from dqctl.localworkspace.contract import Parameter, Session, StatementError
from dqctl.localworkspace.lakehouse import open_lakehouse
from dqctl.records import TABLES
from dqctl.services import tables
from dqctl.tables.sql import Place

PLACE = Place("main", "dq")


class Contested:
    """Statements on a lakehouse; ``before`` is called with each one that is run for its effect."""

    def __init__(self, session: Session, before: Callable[[str], None]) -> None:
        self._session = session
        self._before = before
        self.executed = 0

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        given = [Parameter(name, "STRING", str(value)) for name, value in (parameters or {}).items()]
        try:
            return self._session.execute(statement, given).table
        except StatementError as error:
            raise StatementFailed(str(error), "") from error

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        self.executed += 1
        self._before(statement)
        self.query(statement, parameters)
        return None

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        raise NotImplementedError

    def remove(self, volume_path: str) -> None:
        raise NotImplementedError


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    lakehouse = open_lakehouse(tmp_path)
    opened = lakehouse.open_session(None, None, {})
    yield opened
    opened.close()
    lakehouse.close()


def test_who_loses_the_race_for_every_single_table_ends_with_all_of_them(session: Session) -> None:
    made: set[str] = set()

    def somebody_was_quicker(statement: str) -> None:
        if statement.startswith("CREATE TABLE") and statement not in made:
            made.add(statement)
            session.execute(statement)
            raise StatementFailed("[TABLE_OR_VIEW_ALREADY_EXISTS] it already exists. SQLSTATE: 42P07", "")

    ready = tables.ensure(Contested(session, somebody_was_quicker), PLACE)
    assert len(made) > len(TABLES)
    assert set(ready.columns) >= {table.name for table in TABLES}


def test_what_fails_again_and_again_without_a_step_forward_is_told(session: Session) -> None:
    def refuse(statement: str) -> None:
        if "dq_scores" in statement:
            raise StatementFailed("[X] no. SQLSTATE: 42P07", "")

    warehouse = Contested(session, refuse)
    with pytest.raises(StatementFailed, match="no"):
        tables.ensure(warehouse, PLACE)
    assert warehouse.executed < 20


def test_prepared_already_nothing_is_executed(session: Session) -> None:
    first = tables.ensure(Contested(session, lambda _: None), PLACE)
    again = Contested(session, lambda _: None)
    assert tables.ensure(again, PLACE) == first
    assert again.executed == 0
