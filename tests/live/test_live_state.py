"""What only a real workspace can settle about the saved state: that of several commits at once one is made."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from dqctl.databricks.target import Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.services import tables
from dqctl.tables import encode, state
from dqctl.tables.loader import Loader
from dqctl.tables.sql import Place
from dqctl.tables.state_tables import STATE_COMMITS, STATE_LOG, STATE_TABLES

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

CONTROLLERS = 4


def test_of_commits_at_the_same_time_one_becomes_visible(target: Target, warehouse: Warehouse) -> None:
    # Concurrent MERGEs under isolation level Serializable.
    place = Place(target.catalog, target.schema)
    ready = tables.ensure(warehouse, place, more=STATE_TABLES)

    def save(number: int, seq: int, parent: str | None) -> str:
        commit_id = str(uuid4())
        with Warehouse(target) as own:
            row = {
                "stack": "live",
                "commit_id": commit_id,
                "seq": seq,
                "relation": "testgen.projects",
                "change": 1,
            }
            rows = [{**row, "row": f'{{"controller": "{number}"}}', "digest": f"{number:032x}"}]
            loader = Loader(own, place, ready.columns)
            batches = [("", encode.to_arrow(STATE_LOG, rows))]
            sent = loader.send(STATE_LOG, lambda: batches, {"stack": "live", "commit_id": commit_id})
            commit = {"stack": "live", "seq": seq, "commit_id": commit_id, "parent": parent, "kind": "base"}
            rest = {"base_seq": seq, "saved_at": datetime.now(UTC), "log_rows": 1}
            state.commit(own, place, {**commit, **rest}, sent)
        return commit_id

    parent = None
    for seq in (1, 2, 3):
        with ThreadPoolExecutor(CONTROLLERS) as controllers:
            made = set(controllers.map(save, range(CONTROLLERS), [seq] * CONTROLLERS, [parent] * CONTROLLERS))
        newest = state.newest(warehouse, place, "live")
        assert newest
        assert newest.seq == seq
        assert newest.commit_id in made
        parent = newest.commit_id
    found = warehouse.query(f"SELECT count(*) AS n FROM {place.table(STATE_COMMITS.name)}")
    assert found.to_pylist() == [{"n": 3}]
