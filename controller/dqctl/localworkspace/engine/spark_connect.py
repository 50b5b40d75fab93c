"""An engine reached over Spark Connect.

Nothing of the catalog lives in the engine: every statement that arrives here names its tables by their place on
disk (``delta.`/path` ``), so a session holds no more than settings, and any server that sees the files will do.
"""

import os
import re
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, cast

import pyarrow as pa

from dqctl.localworkspace.engine.without_pandas import without_pandas

# pyspark 4.2 takes a program without a file (python -c, pytest-xdist) for its own doctests, imports its test
# support and exits because it finds no Spark there.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = "-c"

# gRPC's fork handlers abort the child, about once in 300 times, when one of its threads waits in epoll while we
# fork (grpcio 1.85). Every child here execs at once and needs nothing of gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

with warnings.catch_warnings(), without_pandas():
    # pyspark 4.2 warns about pandas 3, where that is there already; nothing here goes through pandas.
    warnings.simplefilter("ignore", FutureWarning)
    import grpc
    import pyspark.sql.connect.types  # noqa: F401  (imports what would warn later)
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.plan import SQL
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.pandas.types import to_arrow_schema

# gRPC offers gzip unless told otherwise, and Sail 0.7.2 takes it: seven eighths of the time of a large result.
_UNCOMPRESSED = ("grpc.compression_enabled_algorithms_bitset", 1)
_PANIC = re.compile('panicked with message "(.+?)"*$', re.MULTILINE)


class EngineSession(Protocol):
    """One client's place in the engine. Raises whatever the engine raises: ``errors.from_engine`` maps it."""

    def query(self, sql: str) -> pa.Table:
        """Run ``sql`` and bring all its rows."""
        ...

    def schema(self, sql: str) -> pa.Schema:
        """The columns that ``sql`` would return."""
        ...

    def read(self, query: str, time_zone: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run a query; its columns at once, its rows batch by batch, its timestamps in ``time_zone``."""
        ...

    def stream(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        """Run ``sql`` and bring its rows batch by batch; who stops before the end closes it."""
        ...

    def relation(self, rows: pa.Table) -> AbstractContextManager[str]:
        """The name under which ``rows`` can be queried inside of the context."""
        ...

    def files(
        self, file_format: str, paths: Sequence[str], options: Mapping[str, str], schema: str | None = None
    ) -> AbstractContextManager[str]:
        """The name under which files can be queried inside of the context; ``schema`` as DDL, else inferred."""
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


class BrokenOffError(Exception):
    """The engine ended a result that was not all there yet."""


class _WholeResults(grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]  # grpc has no types
    """Sees that a result that ends has come as a whole.

    Where a thread of Sail 0.7.2 panics, the result ends as if that were all, be it after many rows. Who interrupts
    the operation, over as it is, hears of it; and Sail lets go of the operation, which it keeps otherwise.
    """

    def __init__(self) -> None:
        self.interrupt: Callable[[str], object] | None = None

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Pass on what is answered; ``BrokenOffError`` where it ends too early."""
        if not client_call_details.method.endswith("/ExecutePlan"):
            return continuation(client_call_details, request)
        request.operation_id = request.operation_id or str(uuid.uuid4())
        return self._whole(continuation(client_call_details, request), request.operation_id)

    def _whole(self, call: Any, operation: str) -> Iterator[Any]:
        has_columns = False
        try:
            for response in call:
                has_columns = has_columns or response.HasField("schema")
                yield response
        finally:
            call.cancel()  # whoever stops before the end wants no more of it
        if has_columns and self.interrupt:
            try:
                self.interrupt(operation)
            except SparkConnectGrpcException as error:
                if panic := _PANIC.search(str(error)):
                    raise BrokenOffError(f"The engine broke off, with rows to come: {panic[1]}") from error
                raise


class SparkConnectSession:
    """An ``EngineSession`` over pyspark's Spark Connect client."""

    def __init__(self, url: str) -> None:
        channel = DefaultChannelBuilder(url, channelOptions=[_UNCOMPRESSED])
        results = _WholeResults()
        channel.add_interceptor(results)
        self._spark = SparkSession.builder.channelBuilder(channel).create()
        results.interrupt = self._spark.client.interrupt_operation
        # One more call for every batch, for streams that can be taken up again; nothing here does.
        self._spark.client.disable_reattachable_execute()
        # pyspark sends a call again for ten minutes; a statement that writes must not be sent twice.
        self._spark.client.set_retry_policies([])
        self._ending = threading.Lock()
        self._closed = False

    def query(self, sql: str) -> pa.Table:
        """Run ``sql`` and bring all its rows."""
        return self._spark.sql(sql).toArrow()

    def schema(self, sql: str) -> pa.Schema:
        """The columns that ``sql`` would return."""
        return self._spark.sql(sql).limit(0).toArrow().schema

    def read(self, query: str, time_zone: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run a query, and bring its columns at once and its rows batch by batch."""
        # SparkSession.sql sends it as a command first, and toArrow asks for the columns: two calls more.
        parts = self._parts(SQL(query))
        described = next(parts)
        schema = to_arrow_schema(described, error_on_duplicated_field_names_in_struct=True, timezone=time_zone)
        return schema, (batch.cast(schema) for part in parts for batch in part.to_batches())

    def _parts(self, plan: Any) -> Iterator[Any]:
        # The first part is the schema, each one after it a table of one batch.
        client = self._spark.client
        return client.to_table_as_iterator(plan.to_proto(client), {})

    def stream(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        """Run ``sql`` and bring its rows batch by batch."""
        # pyspark's public ways to do this go through Python objects, row by row.
        for part in self._parts(cast("Any", self._spark.sql(sql))._plan):
            if isinstance(part, pa.Table):
                yield from part.to_batches()

    @contextmanager
    def relation(self, rows: pa.Table) -> Iterator[str]:
        """Send ``rows`` to the engine as a temporary view."""
        # pyspark 4.x refuses a table without rows (CANNOT_INFER_EMPTY_SCHEMA), whatever schema it has.
        sent = rows if rows.num_rows else pa.Table.from_pylist([{}], schema=rows.schema)
        frame = self._spark.createDataFrame(sent).limit(rows.num_rows)
        with self._view(cast("DataFrame", frame)) as name:
            yield name

    @contextmanager
    def files(
        self, file_format: str, paths: Sequence[str], options: Mapping[str, str], schema: str | None = None
    ) -> Iterator[str]:
        """Name files as a temporary view."""
        reader = self._spark.read.format(file_format)
        if schema is not None:
            reader = reader.schema(schema)
        elif file_format == "csv":
            reader = reader.option("inferSchema", "true")
        with self._view(reader.options(**options).load(list(paths))) as name:
            yield name

    @contextmanager
    def _view(self, frame: DataFrame) -> Iterator[str]:
        name = f"local_{uuid.uuid4().hex}"
        frame.createOrReplaceTempView(name)
        try:
            yield name
        finally:
            self._spark.catalog.dropTempView(name)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set engine settings."""
        for key, value in settings.items():
            self._spark.conf.set(key, value)

    def interrupt(self) -> None:
        """Stop what runs in this session; nothing happens when it has ended."""
        # A statement that ends by itself may end its session while somebody else is about to cancel it.
        with self._ending:
            if not self._closed:
                self._spark.interruptAll()

    def close(self, *, release: bool = True) -> None:
        """End the session, and say so to the engine unless it is known to be gone."""
        with self._ending:
            self._closed = True
            self._spark.release_session_on_close = release
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
