"""Values that are hard to carry, through the real loader into a real local workspace, read back with deltalake."""

import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from contents import as_content
from dqctl import records
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import NotPublished
from dqctl.records import Row, RunContent, Table, Type
from dqctl.services import tables
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.tables import loader, shipment
from dqctl.tables.loader import Loader
from dqctl.tables.sql import Place
from publishing import Watched, delta, running

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

STRINGS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.sampled_from(
        ["", " ", "null", "NULL", "'", '"', "\\", "\\'", "\\u0041", "\n\r\t", "%s", "{}", "[null]", ":rows", "?",
         "é\u0301😀\ufeff\u2028", "`", "--", "/* */", "';DROP TABLE x;--", "\x01\x1f\x7f\x85", "NaN", "a" * 70_000]
    ),
)  # fmt: skip
VALUES: dict[Type, st.SearchStrategy[Any]] = {
    Type.STRING: STRINGS,
    Type.BIGINT: st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -(2**63), 2**63 - 1]),
    Type.DOUBLE: st.floats()
    | st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1]),
    Type.BOOLEAN: st.booleans(),
    Type.TIMESTAMP: st.datetimes(timezones=st.just(UTC))
    | st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
    **{
        kind: st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n, scale=scale: Decimal(f"{n}E-{scale}"))
        for kind, scale in ((Type.DECIMAL_38_0, 0), (Type.DECIMAL_38_6, 6), (Type.DECIMAL_38_8, 8))
    },
}
_runs = itertools.count(1)


def rows_of(table: Table) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries({c.name: st.none() | VALUES[c.type] for c in table.columns if not c.required})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with running(tmp_path_factory.mktemp("workspace")) as data_dir:
        yield Settings(home=data_dir.parent, workspace=Path(data_dir), schema_name="odd-values")


@pytest.mark.thorough(but="by a file")
@pytest.mark.parametrize("inline", [True, False], ids=["inside the statement", "by a file"])
@given(
    profile=st.lists(rows_of(records.PROFILE_COLUMNS), max_size=4),
    systems=st.lists(rows_of(records.SYSTEMS), max_size=4),
)
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_value_survives(
    caplog: pytest.LogCaptureFixture, place: Settings, inline: bool, profile: list[Row], systems: list[Row]
) -> None:
    run_id = f"00000000-0000-4000-8000-{next(_runs):012d}"
    base = {"stack": "odd-stack", "run_id": run_id}
    content = RunContent(
        {**base, "kind": "profile", "status": "completed", "error_message": "\\'\n"},
        {
            **{table.name: () for table in records.RUN_CONTENT},
            "dq_profile_columns": tuple({**base, "id": str(n), **row} for n, row in enumerate(profile)),
            "dq_systems": tuple({**base, "id": str(n), **row} for n, row in enumerate(systems)),
        },
    )
    with pytest.MonkeyPatch.context() as patch, Warehouse(find_target(place)) as warehouse:
        if not inline:
            patch.setattr(shipment, "INLINE_BYTES", -1)
        where = Place(place.catalog, place.schema_name)
        ready = tables.ensure(warehouse, where)
        Loader(warehouse, where, ready.columns).load([as_content(content)])
    assert "computes another digest" not in caplog.text
    for table in (records.PROFILE_COLUMNS, records.SYSTEMS):
        found = {row["id"]: row for row in stored(place, table) if row["run_id"] == run_id}
        assert len(found) == len(content.rows[table.name])
        for row in content.rows[table.name]:
            for column in table.columns:
                assert same(found[row["id"]][column.name], row.get(column.name)), (table.name, column.name)
    (run,) = [row for row in stored(place, records.RUNS) if row["run_id"] == run_id]
    assert (run["error_message"], run["test_ct"]) == ("\\'\n", None)
    assert run["row_counts"] == f'{{"dq_anomalies": 0, "dq_profile_columns": {len(profile)}, "dq_scores": 0, ' + (
        f'"dq_systems": {len(systems)}}}'
    )


def stored(place: Settings, table: Table) -> list[Row]:
    return list(delta(place, table.name).to_pyarrow_table().to_pylist())


def same(found: Any, sent: Any) -> bool:
    if isinstance(sent, float) and math.isnan(sent):
        return isinstance(found, float) and math.isnan(found)
    return bool(found == sent) and (found is None) == (sent is None)


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("UPDATE {table} SET severity = 'Fail ' WHERE id = '7'", "not the values that were sent"),
        ("UPDATE {table} SET dq_prevalence = 0.30000000000000004 WHERE id = '7'", "not the values that were sent"),
        (
            "UPDATE {table} SET result_code = NULL, dq_record_ct = 1 WHERE id = '7'",
            "not the values that were sent",
        ),
        ("UPDATE {table} SET test_time = test_time + INTERVAL 1 MICROSECOND WHERE id = '7'", "not the values"),
        ("DELETE FROM {table} WHERE id = '7'", "has 2999 of 3000 rows"),
        ("INSERT INTO {table} SELECT * FROM {table} WHERE id = '7'", "has 3001 of 3000 rows"),
        ("UPDATE {table} SET id = '8' WHERE id = '7'", "not the values that were sent"),
    ],
    ids=["text", "double", "null", "microsecond", "lost", "doubled", "one twice for another"],
)
def test_the_digest_of_the_engine_finds_what_is_wrong_with_many_rows(
    place: Settings, tampering: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "READ_BACK_ROWS", 0)
    monkeypatch.setattr(shipment, "INLINE_BYTES", 100_000)
    run_id = f"00000000-0000-4000-9000-{next(_runs):012d}"
    base = {"stack": "odd-stack", "run_id": run_id, "severity": "Fail", "dq_prevalence": 0.3, "result_code": 1}
    rows = tuple({**base, "id": str(n), "test_time": datetime(2026, 1, 2, tzinfo=UTC)} for n in range(3000))
    content = RunContent(
        {**base, "kind": "test", "status": "completed"},
        {**{table.name: () for table in records.RUN_CONTENT}, "dq_test_results": rows},
    )
    where = Place(place.catalog, place.schema_name)
    name = where.table("dq_test_results")

    def tamper(number: int, text: str) -> None:
        if text.startswith("SELECT 'dq_test_results' AS t, v"):
            watched.warehouse.execute(f"{tampering.format(table=name)} AND run_id = '{run_id}'")

    with Watched(Warehouse(find_target(place)), tamper) as watched:
        ready = tables.ensure(watched, where)
        with pytest.raises(NotPublished, match=f"dq_test_results .*{said}"):
            Loader(watched, where, ready.columns).load([as_content(content)])
        watched.happen = None
        Loader(watched, where, ready.columns).load([as_content(content)])
