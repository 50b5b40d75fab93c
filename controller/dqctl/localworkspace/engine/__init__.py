"""What runs the SQL: embedded Sail, or any Spark Connect cluster by its URL."""

from dqctl.localworkspace.engine.spark_connect import Engine, EngineSession

__all__ = ["Engine", "EngineSession", "open_engine"]


def open_engine(url: str) -> Engine:
    """The engine behind ``url``: ``sail`` starts one, ``sc://host:port`` connects to a cluster.

    ``OSError`` when the one that is started does not start.
    """
    if url == "sail":
        from dqctl.localworkspace.engine.sail import EmbeddedSail

        return EmbeddedSail()
    if url.startswith("sc://"):
        from dqctl.localworkspace.engine.spark_connect import SparkConnectEngine

        return SparkConnectEngine(url)
    raise ValueError(f"an engine is 'sail' or 'sc://host:port', not {url!r}")
