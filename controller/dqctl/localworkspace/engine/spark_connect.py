"""An engine reached over Spark Connect.

Nothing of the catalog lives in the engine: every statement that arrives here names its tables by their place on
disk (``delta.`/path` ``), so a session holds no more than settings, and any server that sees the files will do.
"""

import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

with warnings.catch_warnings():
    # pyspark 4.2 warns about pandas 3 when it is imported; nothing here goes through pandas.
    warnings.simplefilter("ignore", FutureWarning)
    import pyspark.sql.connect.types  # noqa: F401  (imports what would warn later)
    from pyspark.sql.connect.session import SparkSession


class EngineSession(Protocol):
    """One client's place in the engine. Raises whatever the engine raises: ``errors.from_engine`` maps it."""

    def query(self, sql: str) -> pa.Table:
        """Run ``sql`` and bring all its rows."""
        ...

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """Run ``sql`` and bring its rows batch by batch."""
        ...

    def relation(self, rows: pa.Table) -> Any:
        """A context manager: the name under which ``rows`` can be queried inside of it."""
        ...

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set engine settings (``spark.sql.ansi.enabled``, ...)."""
        ...

    def interrupt(self) -> None:
        """Stop what runs in this session; called from another thread."""
        ...

    def close(self) -> None:
        """Free what the session holds."""
        ...


class Engine(Protocol):
    """Where sessions come from."""

    def open_session(self) -> EngineSession:
        """A new session with the engine's defaults."""
        ...

    def close(self) -> None:
        """Stop the engine, if it is ours."""
        ...


class SparkConnectSession:
    """An ``EngineSession`` over pyspark's Spark Connect client."""

    def __init__(self, url: str) -> None:
        self._spark = SparkSession.builder.remote(url).create()

    def query(self, sql: str) -> pa.Table:
        """Run ``sql`` and bring all its rows."""
        return self._spark.sql(sql).toArrow()

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """Run ``sql`` and bring its rows batch by batch."""
        return self.query(sql).to_reader()

    @contextmanager
    def relation(self, rows: pa.Table) -> Iterator[str]:
        """Send ``rows`` to the engine as a temporary view."""
        name = f"local_{uuid.uuid4().hex}"
        self._spark.createDataFrame(rows).createOrReplaceTempView(name)
        try:
            yield name
        finally:
            self._spark.catalog.dropTempView(name)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set engine settings."""
        for key, value in settings.items():
            self._spark.conf.set(key, value)

    def interrupt(self) -> None:
        """Stop what runs in this session."""
        self._spark.interruptAll()

    def close(self) -> None:
        """End the session in the engine."""
        self._spark.stop()


class SparkConnectEngine:
    """A Spark Connect server that somebody else runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open_session(self) -> EngineSession:
        """A new session on the server."""
        return SparkConnectSession(self._url)

    def close(self) -> None:
        """Nothing to stop: the server is not ours."""
