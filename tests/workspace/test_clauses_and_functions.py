"""What rules of the embedded engine are for is answered alike by each engine."""

from typing import Any

import pytest

from lakehouse_client import Client
from rule_cases import ANSWERED


@pytest.mark.feature("SQL", "Clauses and functions with rules of their own")
@pytest.mark.parametrize(("statement", "answer"), [case for cases in ANSWERED.values() for case in cases])
def test_it_is_answered_as_by_a_warehouse(statement: str, answer: list[tuple[Any, ...]], client: Client) -> None:
    assert client.rows(statement) == answer
