import json
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

import pyarrow as pa
import pytest

from contents import as_content
from dqctl import records
from dqctl.errors import NotPublished
from dqctl.records import Column, Row, RunContent, Table, Type
from dqctl.tables import digest, encode, loader, shipment
from dqctl.tables.loader import Content, Loader
from dqctl.tables.migrations import MANAGED
from dqctl.tables.shipment import INLINE_BYTES
from dqctl.tables.sql import Place

RUN_ID = "6f1c2f0e-0000-4000-8000-000000000001"
COLUMNS = {table.name: table.column_names for table in MANAGED}


OTHER = Table(
    "dq_other",
    "",
    (Column("stack", Type.STRING, ""), Column("call", Type.STRING, ""), Column("number", Type.BIGINT, "")),
    key=("stack", "call", "number"),
    cluster_by=("stack",),
)


class Recorder:
    """A warehouse that writes down what it is asked, and answers the check with ``arrives``."""

    def __init__(self, arrives: Mapping[str, tuple[Mapping[str, Any], ...]], skew: int = 0) -> None:
        self.arrives = arrives
        self.skew = skew
        self.statements: list[str] = []
        self.parameters: list[Mapping[str, Any] | None] = []
        self.files: dict[str, bytes] = {}
        self.removed: list[str] = []

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        self.statements.append(statement)
        assert parameters is None
        rows: list[dict[str, Any]] = []
        for table in (*records.RUN_CONTENT, OTHER):
            there = self.arrives.get(table.name, ())
            if f"SELECT '{table.name}' AS t, v FROM (SELECT array(CAST(count(*)" in statement:
                found = digest.of(digest.numbers(table, encode.to_arrow(table, there)))
                rows.append({"t": table.name, "v": [str(found.rows), str(found.total + self.skew)]})
            elif f"SELECT '{table.name}' AS t, array(" in statement:
                texts = json.loads(encode.to_json(table, there))
                rows += [{"t": table.name, "v": text} for text in texts]
        return pa.Table.from_pylist(rows, pa.schema([("t", pa.string()), ("v", pa.list_(pa.string()))]))

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        self.statements.append(statement)
        self.parameters.append(parameters)
        return None

    def put(self, content: bytes | IO[bytes], volume_path: str) -> None:
        self.files[volume_path] = content if isinstance(content, bytes) else content.read()

    def remove(self, volume_path: str) -> None:
        self.removed.append(volume_path)


def generation(count: int, message: str = "x") -> RunContent:
    run = {"stack": "lab", "run_id": RUN_ID, "kind": "generate", "status": "completed"}
    base = {"stack": "lab", "run_id": RUN_ID}
    definitions = tuple({**base, "id": str(n), "custom_query": message} for n in range(count))
    return RunContent(
        run,
        {
            **{table.name: () for table in records.RUN_CONTENT},
            "dq_test_definitions": definitions,
            "dq_systems": ({**base, "id": "s"},),
        },
    )


def load(content: RunContent, warehouse: Recorder, columns: Mapping[str, tuple[str, ...]] = COLUMNS) -> None:
    Loader(warehouse, Place("main", "dq"), columns).load([as_content(content)])


def test_few_rows_travel_inside_one_statement_with_one_parameter() -> None:
    content = generation(2, "it's ?")
    warehouse = Recorder(content.rows)
    load(content, warehouse)
    first = warehouse.statements[0]
    assert first.startswith(
        "INSERT INTO `main`.`dq`.`dq_test_definitions` "
        f"REPLACE WHERE stack = 'lab' AND run_id IN ('{RUN_ID}')\n"
        "SELECT r[0] AS `stack`, r[1] AS `run_id`, r[2] AS `id`, "
    )
    assert first.endswith(" FROM (SELECT explode(from_json(:rows, 'array<array<string>>')) AS r)")
    assert "CAST(r[12] AS BIGINT)" not in first.split("`skip_errors`")[1]
    assert "it's" not in first
    assert list(warehouse.parameters[0] or {}) == ["rows"]
    assert not warehouse.files


def test_the_run_becomes_visible_last_and_after_the_check() -> None:
    content = generation(1)
    warehouse = Recorder(content.rows)
    load(content, warehouse)
    targets = [statement.split()[2] for statement in warehouse.statements if statement.startswith("INSERT")]
    assert targets == ["`main`.`dq`.`dq_test_definitions`", "`main`.`dq`.`dq_systems`", "`main`.`dq`.`dq_runs`"]
    assert warehouse.statements[-2].startswith("SELECT 'dq_test_definitions' AS t, array(")


def test_many_rows_go_through_a_file_in_the_volume_and_leave_none_behind() -> None:
    content = generation(3, "y" * (INLINE_BYTES // 2))
    warehouse = Recorder(content.rows)
    load(content, warehouse)
    path = f"/Volumes/main/dq/dqctl_staging/lab/{RUN_ID}/dq_test_definitions.parquet"
    assert list(warehouse.files) == warehouse.removed == [path]
    assert warehouse.statements[0] == "CREATE VOLUME IF NOT EXISTS `main`.`dq`.`dqctl_staging`"
    assert warehouse.statements[1].startswith("INSERT INTO `main`.`dq`.`dq_test_definitions` REPLACE WHERE ")
    assert warehouse.statements[1].endswith(f" FROM read_files('{path}', format => 'parquet')")


@pytest.mark.parametrize(("spare", "staged"), [(0, False), (-1, True)])
def test_what_just_fits_travels_inside_the_statement(
    spare: int, staged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = generation(1, "é")
    size = len(encode.to_json(records.TEST_DEFINITIONS, content.rows["dq_test_definitions"]).encode())
    monkeypatch.setattr(shipment, "INLINE_BYTES", size + spare)
    warehouse = Recorder(content.rows)
    load(content, warehouse)
    assert any("dq_test_definitions" in path for path in warehouse.files) is staged


def test_rows_of_no_run_are_one_insert_that_can_be_repeated() -> None:
    key = {"stack": "lab", "call": "c'1"}
    rows = [{**key, "number": number} for number in (1, 2)]
    warehouse = Recorder({"dq_other": (rows[1], rows[0])})
    Loader(warehouse, Place("main", "dq"), {"dq_other": ("number", "old", "call", "stack")}).replace(
        OTHER, rows, key
    )
    (insert, check) = warehouse.statements
    assert insert == (
        "INSERT INTO `main`.`dq`.`dq_other` REPLACE WHERE `stack` = 'lab' AND `call` = 'c\\'1'\n"
        "SELECT CAST(r[2] AS BIGINT) AS `number`, NULL AS `old`, r[1] AS `call`, r[0] AS `stack` "
        "FROM (SELECT explode(from_json(:rows, 'array<array<string>>')) AS r)"
    )
    assert check.startswith("SELECT 'dq_other' AS t, array(")


def test_rows_of_no_run_that_did_not_arrive_are_named() -> None:
    key = {"stack": "lab", "call": "c'1"}
    rows = [{**key, "number": number} for number in (1, 3)]
    arrived = Recorder({"dq_other": tuple({**key, "number": number} for number in (1, 2))})
    with pytest.raises(NotPublished, match="dq_other lacks row 3"):
        Loader(arrived, Place("main", "dq"), {"dq_other": OTHER.column_names}).replace(OTHER, rows, key)


@pytest.mark.parametrize("count", [0, 1, 50, 5000])
def test_statements_do_not_grow_with_rows(count: int) -> None:
    content = generation(count, "z" * 100)
    warehouse = Recorder(content.rows)
    load(content, warehouse)
    assert len(warehouse.statements) <= 5


def test_columns_go_in_the_order_of_the_table_and_unknown_ones_are_null() -> None:
    content = generation(1)
    order = ("team", *reversed(records.SYSTEMS.column_names))
    warehouse = Recorder(content.rows)
    load(content, warehouse, {**COLUMNS, "dq_systems": order})
    statement = next(text for text in warehouse.statements if "INTO `main`.`dq`.`dq_systems`" in text)
    aliases = [
        part.split(" AS `")[1].rstrip("`") for part in statement.split("SELECT ")[1].split(" FROM")[0].split(", ")
    ]
    assert tuple(aliases) == order
    assert "SELECT NULL AS `team`, r[21] AS `severity`" in statement


def test_row_that_is_lost_keeps_the_run_invisible() -> None:
    content = generation(3)
    arrives = {**content.rows, "dq_test_definitions": content.rows["dq_test_definitions"][:2]}
    warehouse = Recorder(arrives)
    with pytest.raises(NotPublished, match="dq_test_definitions has 2 of 3 rows") as caught:
        load(content, warehouse)
    assert "publish --pending" in caught.value.hint
    assert not any("`dq_runs`" in statement for statement in warehouse.statements)


def test_value_that_changed_on_the_way_is_named() -> None:
    content = generation(2, "right")
    first, second = content.rows["dq_test_definitions"]
    arrives = {**content.rows, "dq_test_definitions": (first, {**second, "custom_query": "wrong"})}
    with pytest.raises(NotPublished, match="dq_test_definitions differs in custom_query of row 1"):
        load(content, Recorder(arrives))


def test_row_that_came_twice_in_place_of_another_is_noticed() -> None:
    content = generation(2)
    first, _ = content.rows["dq_test_definitions"]
    with pytest.raises(NotPublished, match="dq_test_definitions lacks row 1"):
        load(content, Recorder({**content.rows, "dq_test_definitions": (first, first)}))


def test_row_counts_are_json_with_sorted_keys() -> None:
    content = generation(2)
    warehouse = Recorder(content.rows)
    load(content, warehouse)
    (run,) = json.loads((warehouse.parameters[-1] or {})["rows"])
    place = records.RUNS.column_names.index("row_counts")
    assert run[place] == '{"dq_systems": 1, "dq_test_definitions": 2}'


BIG = "b" * 400


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("has 1999 of 2000 rows", lambda rows: rows[:-1]),
        ("has 2001 of 2000 rows", lambda rows: (*rows, rows[0])),
        ("lacks row 1999", lambda rows: (*rows[:-1], rows[0])),
        ("differs in custom_query of row 7", lambda rows: replaced(rows, 7, custom_query=BIG + " ")),
        ("differs in skip_errors of row 3", lambda rows: replaced(rows, 3, skip_errors=0)),
        (
            "differs in test_active, severity of row 5",
            lambda rows: replaced(rows, 5, severity=None, test_active="Y"),
        ),
    ],
)
def test_many_rows_are_compared_by_their_digest_and_what_is_wrong_is_named(
    what: str, change: Callable[[tuple[Row, ...]], tuple[Row, ...]]
) -> None:
    content = generation(2000, BIG)
    content = RunContent(
        content.run,
        {
            **content.rows,
            "dq_test_definitions": tuple({**row, "severity": "Y"} for row in content.rows["dq_test_definitions"]),
        },
    )
    arrives = {**content.rows, "dq_test_definitions": change(content.rows["dq_test_definitions"])}
    with pytest.raises(NotPublished, match=f"dq_test_definitions {what}"):
        load(content, Recorder(arrives))
    whole = Recorder(content.rows)
    load(content, whole)
    assert not any("'dq_test_definitions' AS t, array(`stack`" in text for text in whole.statements)


def replaced(rows: tuple[Row, ...], number: int, **values: Any) -> tuple[Row, ...]:
    return (*rows[:number], {**rows[number], **values}, *rows[number + 1 :])


def test_a_warehouse_that_computes_another_digest_is_believed_when_every_value_is_there() -> None:
    content = generation(2000, BIG)
    warehouse = Recorder(content.rows, skew=1)
    load(content, warehouse)
    assert warehouse.statements[-1].startswith("INSERT INTO `main`.`dq`.`dq_runs`")
    assert warehouse.statements[-2].startswith("SELECT 'dq_test_definitions' AS t, array(`stack`")


def test_too_many_rows_to_read_back_are_refused_by_their_digest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "READ_BACK_ROWS", 1999)
    content = generation(2000, BIG)
    with pytest.raises(NotPublished, match="has the 2000 rows, but not the values that were sent"):
        load(content, Recorder(content.rows, skew=1))


class Slow(Recorder):
    """Answers an INSERT when it is told to; knows how many are under way."""

    def __init__(self, arrives: Mapping[str, tuple[Mapping[str, Any], ...]]) -> None:
        super().__init__(arrives)
        self.go_on = threading.Event()
        self.under_way = self.most = 0
        self.bad = ""
        self._count = threading.Lock()

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int | None:
        with self._count:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            if "`dq_runs`" not in statement:
                assert self.go_on.wait(10)
            if self.bad and self.bad in statement:
                raise NotPublished("no luck")
            return super().execute(statement, parameters)
        finally:
            with self._count:
                self.under_way -= 1


def test_a_table_is_read_while_another_is_sent_and_the_runs_go_last() -> None:
    content = generation(3, "y" * (INLINE_BYTES // 2))
    warehouse = Slow(content.rows)
    stored = as_content(content)

    def batches(table: Table) -> Any:
        if table is records.SYSTEMS:  # the last one
            assert not warehouse.statements
            warehouse.go_on.set()
        return stored.batches(table)

    loaded = Loader(warehouse, Place("main", "dq"), COLUMNS, volume_exists=True, at_once=2).load(
        [Content(stored.run, batches)]
    )
    assert loaded[0].rows == {"dq_test_definitions": 3, "dq_systems": 1}
    assert 1 <= warehouse.most <= 2
    assert {statement.split()[2] for statement in warehouse.statements[:2]} == {
        "`main`.`dq`.`dq_test_definitions`",
        "`main`.`dq`.`dq_systems`",
    }
    assert warehouse.statements[2].startswith("SELECT ")
    assert warehouse.statements[3].startswith("INSERT INTO `main`.`dq`.`dq_runs`")
    assert list(warehouse.files) == warehouse.removed


def test_what_goes_wrong_in_one_table_comes_out_when_nothing_is_under_way_any_more() -> None:
    content = generation(1)
    warehouse = Slow(content.rows)
    warehouse.bad = "dq_test_definitions"
    threading.Timer(0.05, warehouse.go_on.set).start()
    with pytest.raises(NotPublished, match="no luck"):
        Loader(warehouse, Place("main", "dq"), COLUMNS, at_once=3).load([as_content(content)])
    assert warehouse.under_way == 0
    assert not any("`dq_runs`" in statement for statement in warehouse.statements)


def test_a_table_that_cannot_be_read_leaves_nothing_under_way() -> None:
    content = generation(1)
    warehouse = Slow(content.rows)
    stored = as_content(content)

    def batches(table: Table) -> Any:
        if table is records.SYSTEMS:
            threading.Timer(0.05, warehouse.go_on.set).start()
            raise pa.ArrowInvalid("a number with too many digits")
        return stored.batches(table)

    with pytest.raises(pa.ArrowInvalid, match="too many digits"):
        Loader(warehouse, Place("main", "dq"), COLUMNS, at_once=3).load([Content(stored.run, batches)])
    assert warehouse.under_way == 0
    assert len(warehouse.statements) == 1
