"""What a command prints when it found something and went wrong as well."""

import json
import logging
from collections.abc import Iterator

import pytest
import typer

from dqctl.cli import context as contexts
from dqctl.cli.context import Context, Output, enter
from dqctl.cli.output import emit
from dqctl.errors import EnvironmentFault, ExitCode, NotPublished

ERRORS = [NotPublished("two runs wait", "publish them"), EnvironmentFault("the job was stopped", "more time")]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before, root = contexts.context(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    enter(before)
    root.handlers[:], root.level = handlers, level


def test_the_worst_error_is_the_objects_and_all_are_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context(output=Output.JSON))
    with pytest.raises(typer.Exit) as ended:
        emit({"runs": []}, lambda: "", ExitCode.ENVIRONMENT, ERRORS)
    said = capsys.readouterr()
    assert ended.value.exit_code == 3
    assert json.loads(said.out)["error"] == {"message": "the job was stopped", "hint": "more time"}
    assert json.loads(said.out)["runs"] == []
    assert "error: two runs wait\nhint: publish them\n" in said.err
    assert "error: the job was stopped" in said.err


def test_people_get_what_was_found_and_then_every_error(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context())
    with pytest.raises(typer.Exit):
        emit({}, lambda: "3 tests passed", ExitCode.ENVIRONMENT, ERRORS)
    said = capsys.readouterr()
    assert said.out == "3 tests passed\n"
    assert said.err.count("error: ") == 2
    assert "Traceback" not in said.err


def test_debug_shows_where_an_error_beside_the_data_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    enter(Context(debug=True))
    with pytest.raises(typer.Exit):
        emit({}, lambda: "", ExitCode.NOT_PUBLISHED, ERRORS[:1])
    assert "dqctl.errors.NotPublished: two runs wait" in capsys.readouterr().err
