"""When a save holds everything, and when what changed will do."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dqctl.services.state_commits import Seen, why_base
from dqctl.testgen.state.batch import Written
from dqctl.testgen.state.book import Head

HEAD = Head(
    "id", 7, 3, "delta", datetime(2026, 8, 1, tzinfo=UTC), "shape", "keys", {"testgen.projects": (100_000, 1)}, {},
    target="here",
)  # fmt: skip
CHANGED, NOTHING = Written(("testgen.projects",), is_stale=False), Written((), is_stale=False)


def because(head: Head, written: Written = CHANGED) -> str | None:
    return why_base(Seen((), "shape", written, head), None, "keys", "here")


def test_what_changed_will_do() -> None:
    assert because(HEAD) is None


def test_a_head_of_a_dqctl_that_noted_no_target_is_taken_as_of_here() -> None:
    assert because(replace(HEAD, target="")) is None
    assert because(replace(HEAD, target="there"), NOTHING) == "it was saved elsewhere before"


@pytest.mark.parametrize(
    ("head", "outgrown"),
    [
        (replace(HEAD, delta_rows=100_000), False),
        (replace(HEAD, delta_rows=100_001), True),
        (
            replace(HEAD, delta_rows=50_000, tables={}),
            False,
        ),  # few rows are read in seconds, whatever is left of them
        (replace(HEAD, delta_rows=50_001, tables={}), True),
        (replace(HEAD, seq=1002), False),
        (replace(HEAD, seq=1003), True),
    ],
)
def test_deltas_that_outgrow_the_rows_that_there_are_make_a_base_of_the_next_change(
    head: Head, outgrown: bool
) -> None:
    assert (because(head) is not None) == outgrown
    assert because(head, NOTHING) is None
