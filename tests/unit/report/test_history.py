import pytest

from dqctl.records import Row
from dqctl.report.history import Memory, Past
from dqctl.report.model import build
from unit.report import flights


def _test(definition: str, table: str = "flights", column: str | None = "dest") -> Row:
    return {
        "test_definition_id": definition,
        "table_name": table,
        "column_names": column,
        "test_type": "Required",
    }


def _outcomes(test: Row, **nights: str) -> Row:
    places = [int(name.removeprefix("night")) for name in nights]
    return {**test, "places": places, "statuses": list(nights.values()), "measures": [str(p) for p in places]}


def test_letters_stand_in_the_order_of_the_runs_whatever_the_order_of_the_rows() -> None:
    row = _outcomes(_test("d"), night3="Failed", night1="Passed", night2="Error")
    memory = Memory(Past(("a", "b", "c"), [row]), [_test("d")])
    assert memory.of(_test("d")) == ("PEF", ("1", "2", "3"))


def test_a_run_without_the_test_is_marked() -> None:
    memory = Memory(Past(("a", "b"), [_outcomes(_test("d"), night2="Warning")]), [_test("d")])
    assert memory.of(_test("d")) == ("-W", (None, "2"))


def test_a_test_that_is_new_has_no_past() -> None:
    memory = Memory(Past(("a", "b"), [_outcomes(_test("other", "planes"), night1="Failed")]), [_test("d")])
    assert memory.of(_test("d")) == ("--", (None, None))
    assert Memory(Past(), [_test("d")]).of(_test("d")) == ("", ())


def test_a_test_that_was_generated_anew_goes_on_from_the_one_in_its_place() -> None:
    rows = [_outcomes(_test("old"), night1="Failed", night2="Failed"), _outcomes(_test("new"), night3="Passed")]
    memory = Memory(Past(("a", "b", "c"), rows), [_test("new")])
    assert memory.of(_test("new")) == ("FFP", ("1", "2", "3"))


def test_of_two_tests_in_one_place_none_takes_the_past_of_a_third() -> None:
    rows = [_outcomes(_test("old"), night1="Failed")]
    memory = Memory(Past(("a",), rows), [_test("new"), _test("twin")])
    assert memory.of(_test("new")) == ("-", (None,))


@pytest.mark.parametrize("status", ["Melted", None])
def test_a_status_that_nobody_knows_is_an_error(status: str) -> None:
    memory = Memory(Past(("a",), [_outcomes(_test("d"), night1=status)]), [_test("d")])
    assert memory.of(_test("d"))[0] == "E"


def test_report_has_the_past_of_every_result() -> None:
    content, nights = flights.suite_run(), flights.history(5)
    report = build(content, nights, flights.past(content, nights), generated_at=flights.GENERATED_AT)
    assert report.past_runs == tuple(night["run_id"] for night in nights)
    assert {len(result.past) for result in report.results} == {5}
    assert {letter for result in report.results for letter in result.past} == {"P", "F"}
