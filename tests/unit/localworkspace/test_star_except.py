"""Stars that the engine does not read, and what becomes of them."""

import pytest

from dqctl.localworkspace.engine import EngineSession
from lakehouse_client import Client

ROWS = "VALUES (1, 2), (1, 3) AS t(a, b)"


def test_the_engine_cannot_group_by_what_a_star_means(engine_session: EngineSession) -> None:
    """Sail 0.7.2. When this fails, half of ``sql.star_except`` can go."""
    with pytest.raises(Exception, match=r"Wildcard|null type"):
        engine_session.query(f"SELECT t.*, count(*) AS n FROM {ROWS} GROUP BY t.*")


def test_a_star_beside_group_by_all_means_its_columns(client: Client) -> None:
    assert client.rows(f"SELECT t.*, count(*) AS n FROM {ROWS} GROUP BY ALL ORDER BY b") == [(1, 2, 1), (1, 3, 1)]
    assert client.rows(f"SELECT *, count(*) AS n FROM (SELECT a FROM {ROWS}) GROUP BY ALL") == [(1, 2)]
    assert client.rows(f"SELECT * EXCEPT (b), sum(b) AS n FROM {ROWS} GROUP BY ALL") == [(1, 5)]
    joined = f"SELECT x.*, sum(y.b) AS n FROM {ROWS} JOIN VALUES (1, 7) AS y(a, b) ON t.a = y.a GROUP BY ALL"
    assert client.rows(joined.replace("x.*", "t.*") + " ORDER BY b") == [(1, 2, 7), (1, 3, 7)]
    error = client.error(joined.replace("x.*", "*"))
    assert (error.error_class, "two columns have one name" in str(error)) == ("UNSUPPORTED_FEATURE", True)
