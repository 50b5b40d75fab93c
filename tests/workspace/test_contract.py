"""What stock TestGen sends, answered by the embedded engine as a real Spark answered it.

``tests/contract/record_statements.py`` records both, of TestGen 5.134.0: a profile, generation, each type of test.
"""

import contextlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from contract.replayed import Replay, recorded
from dqctl.localworkspace.contract import Lakehouse

VERSION = "5.134.0"

# The few differences, each with its reason (docs/local-workspace.md tells users).
#
# Columns whose values are not compared: approx_percentile. Spark returns a value of the column that lies near the
# share asked for, the embedded engine (Sail 0.7.2) one between two of them, a double. Both are within their error.
APPROXIMATE = {"percentile_25", "percentile_50", "percentile_75"}
# Numbers inside of texts are compared as numbers: Spark writes 7.4E-4 where Sail writes 0.00074, and the last
# digits of a sum of floats depend on the order of its rows.
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Where Spark 4.2.0 itself breaks off (a ClassCastException over string_agg(DISTINCT ...) WITHIN GROUP beside other
# aggregates), the engine may answer: TestGen asks such a batch again, test by test, and those are here too.
BROKEN = "INTERNAL_ERROR"


@pytest.fixture(scope="module")
def replay(lakehouse: Lakehouse) -> Iterator[Replay]:
    with contextlib.closing(Replay(lakehouse)) as made:
        made.make_data()
        yield made


def _differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    if expected.get("error") == BROKEN:
        return []
    if expected.get("error") or found.get("error"):
        same = expected.get("error") == found.get("error")
        return [] if same else [f"error {expected.get('error')} became {found.get('error')}"]
    if expected["columns"] != found["columns"]:
        return [f"columns {expected['columns']} became {found['columns']}"]
    if len(expected["rows"]) != len(found["rows"]):
        return [f"{len(expected['rows'])} rows became {len(found['rows'])}"]
    return [
        f"{name}: {before!r} became {after!r}"
        for row, other in zip(expected["rows"], found["rows"], strict=True)
        for name, before, after in zip(expected["columns"], row, other, strict=True)
        if name not in APPROXIMATE and not _equal(before, after)
    ]


def _equal(before: object, after: object) -> bool:
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=1e-9)
    if isinstance(before, str) and isinstance(after, str) and before != after:
        numbers, others = _NUMBER.findall(before), _NUMBER.findall(after)
        return (
            _NUMBER.sub("#", before) == _NUMBER.sub("#", after)
            and len(numbers) == len(others)
            and all(
                math.isclose(float(one), float(two), rel_tol=1e-9)
                for one, two in zip(numbers, others, strict=True)
            )
        )
    return before == after


# Its values are Spark's own: there it would take a hundred seconds to compare them with themselves.
@pytest.mark.parametrize("engine", ["sail"], indirect=True)
@pytest.mark.feature(
    "Clients", "TestGen 5.134.0: profiling, generation and all types of tests, with Spark's values"
)
def test_every_statement_of_testgen_is_answered_as_spark_answers_it(replay: Replay) -> None:
    different = {}
    for statement in recorded(VERSION):
        if found := _differences(statement, replay.answer(statement)):
            different[statement["sql"]] = found
    assert different == {}, json.dumps(different, indent=1, ensure_ascii=False)


def test_what_was_recorded_is_all_that_testgen_does() -> None:
    statements = recorded(VERSION)
    assert len(statements) > 60
    assert {statement["ansi"] for statement in statements} == {True, False}
    assert [statement["error"] for statement in statements if "error" in statement] == [BROKEN]
    # Types that are batched name only what they measure; those with a query of their own say which they are.
    asked = " ".join(str(statement["sql"]) for statement in statements)
    for kind in (
        "Aggregate_Balance",
        "Combo_Match",
        "Distribution_Shift",
        "Dupe_Rows",
        "Timeframe_Combo_Gain",
        "CUSTOM",
    ):
        assert f"'{kind}'" in asked


def test_a_difference_is_noticed(replay: Replay) -> None:
    statement = next(one for one in recorded(VERSION) if one.get("rows"))
    answer = replay.answer(statement)
    assert _differences(statement, answer) == []
    changed = {**answer, "rows": [["other" for _ in row] for row in answer["rows"]]}
    assert _differences(statement, changed)
    assert not _equal("1.5E-4, limit 3", "0.00015, limit 4")
    assert _equal("1.5E-4, limit 3", "0.00015, limit 3")
