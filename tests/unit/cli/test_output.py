import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import IntEnum
from pathlib import Path
from uuid import UUID

import pytest
import typer

from dqctl.cli.context import Context, Output, context, enter
from dqctl.cli.output import cell, emit, fail, note, pass_on, plain, table
from dqctl.errors import Busy, ExitCode
from dqctl.redaction import register


@pytest.fixture(autouse=True)
def _fresh_context() -> Iterator[None]:
    before = context()
    yield
    enter(before)


def test_one_object_says_exit_code_and_outcome_beside_the_content(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context(output=Output.JSON))
    with pytest.raises(typer.Exit) as ended:
        emit({"rows": [1]}, lambda: "for people", ExitCode.DATA_TESTS_FAILED)
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found == {"format": 1, "exit_code": 1, "outcome": "data_tests_failed", "rows": [1]}
    assert said.err == ""


def test_a_foreign_exit_code_is_passed_on_in_the_words_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context(output=Output.JSON))
    with pytest.raises(typer.Exit) as ended:
        emit({}, lambda: "", ExitCode.TESTGEN, passed_on=137)
    assert ended.value.exit_code == 137
    assert json.loads(capsys.readouterr().out) == {"format": 1, "exit_code": 137, "outcome": "testgen"}


def test_what_a_program_says_goes_where_it_said_it(capsys: pytest.CaptureFixture[str]) -> None:
    register("secret-of-a-program")
    enter(Context(quiet=True))
    pass_on("out secret-of-a-program")
    pass_on("err secret-of-a-program", error=True)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("out ********\n", "err ********\n")


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context())
    emit({"rows": []}, lambda: "for people")
    assert capsys.readouterr().out == "for people\n"


@pytest.mark.parametrize("output", list(Output))
def test_an_error_ends_with_its_code_and_its_hint(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context(output=output))
    with pytest.raises(SystemExit) as ended:
        fail(Busy("the stack is busy", "wait"))
    assert ended.value.code == 6
    said = capsys.readouterr()
    if output is Output.JSON:
        assert json.loads(said.out)["error"] == {"message": "the stack is busy", "hint": "wait"}
    else:
        assert (said.out, said.err) == ("", "error: the stack is busy\nhint: wait\n")


@pytest.mark.parametrize("output", list(Output))
def test_nothing_unredacted_is_written(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    register('secret-"with"-quotes')
    enter(Context(output=output, debug=True))
    emit({"found": 'secret-"with"-quotes'}, lambda: 'secret-"with"-quotes')
    note('secret-"with"-quotes')
    with pytest.raises(SystemExit):
        fail(Busy('secret-"with"-quotes', 'secret-"with"-quotes'))
    said = capsys.readouterr()
    assert "with" not in said.out + said.err
    assert "********" in said.out
    assert "********" in said.err


def test_notes_are_for_those_who_listen(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context(quiet=True))
    note("something")
    enter(Context())
    note("something else")
    assert capsys.readouterr().err == "something else\n"


def test_a_table_shows_values_as_they_are_and_wraps_nothing_in_a_pipe() -> None:
    rows = [{"a": "[bold]x[/bold]", "b": 1.25, "c": None}, {"a": "y" * 300, "b": 10, "c": True}]
    heading, first, second = table(rows, {"a": "name", "b": "n", "c": "flag"}, "nothing").splitlines()
    assert heading.split() == ["name", "n", "flag"]
    assert first.split() == ["[bold]x[/bold]", "1.2"]
    assert second.split() == ["y" * 300, "10", "yes"]
    assert table([], {"a": "name"}, "nothing") == "nothing"


@dataclass
class Found:
    when: datetime
    where: Path
    which: tuple[UUID, ...]


class Code(IntEnum):
    SEVEN = 7


def test_everything_becomes_json() -> None:
    when = datetime(2024, 2, 29, 12, tzinfo=UTC)
    which = UUID(int=1)
    assert json.loads(json.dumps(plain(Found(when, Path("/a"), (which,))))) == {
        "when": "2024-02-29T12:00:00+00:00",
        "where": "/a",
        "which": [str(which)],
    }
    assert plain({1: {date(2024, 1, 1)}, "code": Code.SEVEN, "none": None}) == {
        "1": ["2024-01-01"],
        "code": 7,
        "none": None,
    }


def test_json_stays_json_with_numbers_that_are_none() -> None:
    assert plain([float("nan"), float("-inf"), 0.1]) == ["nan", "-inf", 0.1]


def test_a_cell_is_for_people() -> None:
    assert [cell(value) for value in (None, False, 0.05, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))] == [
        "",
        "no",
        "0.1",
        "2024-01-02 03:04:05",
    ]
