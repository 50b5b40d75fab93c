from concurrent.futures import ThreadPoolExecutor

from dqctl.localworkspace.engine import open_engine


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
