from concurrent.futures import ThreadPoolExecutor

import pytest

from dqctl.localworkspace.engine import EngineSession, open_engine
from dqctl.localworkspace.engine.spark_connect import BrokenOffError
from lakehouse_client import Client


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


# Sail 0.7.2 ends these as if that were all, the second one after ten of thirteen batches. Where they are answered
# or refused, other statements are wanted.
BROKEN = "SELECT explode(m) FROM VALUES (map('a', 1)) AS t(m)"
CUT = "SELECT id, format_number(1.5, IF(id = 90000, 2147483647, 1)) AS s FROM {rows}"


@pytest.mark.parametrize("statement", [BROKEN, CUT.format(rows="range(100000)")])
def test_a_result_that_breaks_off_is_an_error(statement: str, engine_session: EngineSession) -> None:
    with pytest.raises(BrokenOffError):
        engine_session.query(statement)
    with pytest.raises(BrokenOffError):
        list(engine_session.stream(statement))
    with pytest.raises(BrokenOffError):
        list(engine_session.read(statement, "UTC")[1])
    assert engine_session.query("SELECT 1 AS a WHERE false").num_rows == 0
    assert next(engine_session.stream("SELECT 2 AS a")).to_pylist() == [{"a": 2}]


def test_nothing_is_made_of_a_part_of_a_result(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT id FROM range(100000)")
    client.execute("CREATE TABLE there (id BIGINT, s STRING)")
    cut = CUT.format(rows="t")
    create = ("CREATE TABLE made AS", "CREATE OR REPLACE TABLE t AS")
    for write in (*create, "INSERT INTO there", "INSERT OVERWRITE there"):
        error = client.error(f"{write} {cut}")
        assert (error.error_class, "The engine broke off" in str(error)) == ("INTERNAL_ERROR", True), write
    merge = f"MERGE INTO there USING ({cut}) AS new ON there.id = new.id WHEN NOT MATCHED THEN INSERT *"
    assert "The engine broke off" in str(client.error(merge))
    update = "UPDATE t SET id = length(format_number(1.5, CAST(IF(id = 90000, 2147483647, 1) AS INT)))"
    assert "The engine broke off" in str(client.error(update))
    assert client.rows("SELECT (SELECT count(*) FROM there), count(*) FROM t") == [(0, 100_000)]
    assert client.rows("SHOW TABLES LIKE 'made'") == []
