from concurrent.futures import ThreadPoolExecutor

import pytest

from dqctl.localworkspace.engine import EngineSession, open_engine
from dqctl.localworkspace.engine.spark_connect import BrokenOffError


def test_a_session_may_end_while_it_is_interrupted() -> None:
    engine = open_engine("sail")
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                session = engine.open_session()
                session.query("SELECT 1")
                interrupted = [pool.submit(session.interrupt) for _ in range(4)]
                session.close()
                session.interrupt()
                for each in interrupted:
                    each.result(60)
    finally:
        engine.close()


BROKEN = "SELECT explode(m) FROM VALUES (map('a', 1)) AS t(m)"


def test_a_result_that_breaks_off_is_an_error(engine_session: EngineSession) -> None:
    """Sail 0.7.2 ends it as if that were all. Where ``BROKEN`` is answered, another statement is wanted."""
    with pytest.raises(BrokenOffError):
        engine_session.query(BROKEN)
    with pytest.raises(BrokenOffError):
        list(engine_session.stream(BROKEN))
    with pytest.raises(BrokenOffError):
        list(engine_session.read(BROKEN, "UTC")[1])
    assert engine_session.query("SELECT 1 AS a WHERE false").num_rows == 0
    assert next(engine_session.stream("SELECT 2 AS a")).to_pylist() == [{"a": 2}]
