from typing import Any, cast

import psycopg
import pytest

from dqctl.testgen import stock
from dqctl.testgen.stored import stored_rows


class Asked:
    """A connection that writes down what it is asked."""

    def __init__(self) -> None:
        self.values: list[str] | None = None

    def execute(self, query: bytes, values: list[str]) -> "Asked":
        assert query.count(b"%s") == len(values)
        self.values = values
        return self

    def fetchone(self) -> tuple[int]:
        return (7,)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("get-test-results -tr X", ["X"]),
        ("get-test-results --test-run-id=X -d", ["X"]),
        ("-v get-profile --display --profile-run-id X", ["X"]),
        ("list-test-runs -ts S -pk P", ["P", "S"]),
        ("list-profiles -tg X", ["X"]),
        ("get-test-results -tr X --fails-only", None),
        ("get-profile -pr X -tn orders", None),
        ("get-profile -pr=X", None),
        ("list-test-runs -ts S", None),
        ("get-test-results", None),
        ("list-projects", None),
    ],
)
def test_only_what_the_arguments_name_exactly_is_counted(arguments: str, values: list[str] | None) -> None:
    asked = Asked()
    found = stored_rows(cast("psycopg.Connection[Any]", asked), stock.read(arguments.split()))
    assert (found, asked.values) == ((7, values) if values else (None, None))
