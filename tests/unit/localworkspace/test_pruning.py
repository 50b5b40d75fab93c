"""Which files a condition can mean: never too few."""

import json
from pathlib import Path

import pytest
from sqlglot import exp

from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.sql.pruning import may_match
from dqctl.localworkspace.sql.statement import parse_tree
from lakehouse_client import Client

TYPES = {"id": "integer", "run": "string", "day": "date", "amount": "decimal(10,2)"}
FILE = {
    "stats": json.dumps(
        {
            "numRecords": 2,
            "minValues": {"id": 10, "run": "b", "day": "2024-01-10", "amount": 1.5},
            "maxValues": {"id": 20, "run": "d", "day": "2024-01-20", "amount": 2.5},
        }
    )
}


def condition(text: str) -> exp.Expr:
    where: exp.Expr = parse_tree(f"SELECT 1 FROM t WHERE {text}").args["where"].this
    return where


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id = 15", True), ("id = 5", False), ("ID = 21", False), ("20 = id", True), ("21 = id", False),
        ("t.id <=> 9", False), ("id IN (1, 2)", False), ("id IN (1, 10)", True),
        ("run = 'c'", True), ("run = 'a'", False), ("day = '2024-01-15'", True), ("day = '2023-12-31'", False),
        ("id = 5 AND run = 'c'", False), ("id = 5 OR run = 'c'", True), ("(id = 5) AND upper(run) = 'X'", False),
        # What the statistics do not tell, or tell otherwise than the engine compares.
        ("NOT id = 15", True), ("id > 100", True), ("id IS NULL", True), ("id = '5'", True), ("run = 5", True),
        ("amount = 9", True), ("day = '2023-1-1'", True), ("upper(run) = 'A'", True), ("other = 1", True),
        ("id IN (SELECT 1)", True), ("id = -5", True), ("FALSE", False),
    ],
)  # fmt: skip
def test_a_file_is_left_alone_only_when_its_statistics_rule_it_out(text: str, expected: bool) -> None:
    assert may_match(condition(text), FILE, TYPES) is expected


def test_a_file_without_statistics_may_hold_anything() -> None:
    assert may_match(condition("id = 5"), {}, TYPES)


def test_a_statement_leaves_files_alone_that_it_cannot_mean(client: Client, lakehouse: Lakehouse) -> None:
    client.execute("CREATE TABLE t (run STRING, n INT)")
    for run in ("r1", "r2", "r3"):
        client.execute(f"INSERT INTO t VALUES ('{run}', 1), ('{run}', 2)")
    (place,) = client.execute("DESCRIBE DETAIL t").table.column("location").to_pylist()
    folder = Path(place.removeprefix("file:"))
    before = {file.name for file in folder.glob("*.parquet")}
    assert client.affected("UPDATE t SET n = 9 WHERE run = 'r2' AND n = 1") == 1
    assert client.affected("INSERT INTO t REPLACE WHERE run = 'r3' VALUES ('r3', 7)") == 1
    assert client.affected("DELETE FROM t WHERE run = 'r9'") == 0
    assert client.rows("SELECT * FROM t ORDER BY run, n") == [
        ("r1", 1),
        ("r1", 2),
        ("r2", 2),
        ("r2", 9),
        ("r3", 7),
    ]
    assert len({file.name for file in folder.glob("*.parquet")} - before) == 2
    assert not [entry for entry in folder.iterdir() if entry.is_dir() and entry.name != "_delta_log"]
