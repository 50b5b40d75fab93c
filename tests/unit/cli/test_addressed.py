"""What a hint says can be copied: it is about the stack and the home of the command that failed."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqctl.cli import context as contexts
from dqctl.cli.addressed import addressed
from dqctl.cli.context import Context, enter


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before, root = contexts.context(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    enter(before)
    root.handlers[:], root.level = handlers, level


def about(text: str, **flags: object) -> str:
    enter(Context({"home": None, "stack": None, **flags}))
    return addressed(text)


def test_a_command_is_about_the_home_and_the_stack_that_were_given() -> None:
    said = about("run: dqctl install, then dqctl state save --full.", home=Path("/srv/dq"), stack="night")
    to = "dqctl --home /srv/dq --stack night"
    assert said == f"run: {to} install, then {to} state save --full."


def test_a_command_is_left_alone_where_nothing_was_given() -> None:
    assert about("run: dqctl install") == "run: dqctl install"


def test_a_home_with_a_space_stays_one_word() -> None:
    assert about("dqctl doctor", home=Path("/srv/my stacks")) == "dqctl --home '/srv/my stacks' doctor"


@pytest.mark.parametrize(
    "text",
    [
        "dqctl starts it with the next command",  # no command line
        "dqctl installs it",
        "dqctl --stack ANOTHER install",  # says itself what it is about
        "dqctl workspace start --data-dir /srv/workspace",
        "dqctl workspace fault add --data-dir /srv/workspace",
        "instead: dqctl demo",  # has a stack of its own
        "the image is dqctl/testgen:5.134.0",
    ],
)
def test_what_is_no_command_about_this_stack_stays_as_it_is(text: str) -> None:
    assert about(text, home=Path("/srv/dq"), stack="night") == text
