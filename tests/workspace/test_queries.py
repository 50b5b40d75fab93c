"""SELECT as a SQL warehouse does it."""

import pytest

from lakehouse_client import Client


@pytest.mark.feature("SQL", "QUALIFY")
def test_qualify_keeps_the_rows_that_a_window_picks(client: Client) -> None:
    found = client.rows(
        "SELECT k, v FROM VALUES ('a', 1), ('a', 2), ('b', 3) AS t(k, v)"
        " QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC) = 1 ORDER BY k"
    )
    assert found == [("a", 2), ("b", 3)]
