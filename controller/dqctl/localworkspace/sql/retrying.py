"""A session of the engine that sends a query again, changed, where a rule knows why it was refused."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import TypeVar

import pyarrow as pa

from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import common_types  # noqa: F401 - registers its rules
from dqctl.localworkspace.sql.diagnoses import diagnosed
from dqctl.localworkspace.sql.second_tries import changed

_ANSI = "spark.sql.ansi.enabled"
_Answer = TypeVar("_Answer")


class RetryingSession:
    """An ``EngineSession`` over another one.

    ``read`` and ``stream`` are sent again as long as no row has come; ``another`` is for who can take rows back.
    """

    def __init__(self, engine: EngineSession) -> None:
        self._engine = engine
        self._is_ansi = True

    def another(self, sql: str, error: Exception) -> str | None:
        """The text to send after ``sql`` ended with ``error``; None where there is none.

        ``StatementError`` where it shows what is wrong with it.
        """
        text = changed(sql, error, self, ansi=self._is_ansi)
        if text is None and (told := diagnosed(sql, error, self._engine)) is not None:
            raise told from error
        return text

    def _answer(self, ask: Callable[[str], _Answer], sql: str) -> _Answer:
        try:
            return ask(sql)
        except Exception as error:
            again = self.another(sql, error)
            if again is None:
                raise
        try:
            return ask(again)
        except Exception as error:
            if (told := diagnosed(again, error, self._engine)) is not None:
                raise told from error
            raise

    def query(self, sql: str) -> pa.Table:
        """Run ``sql`` and bring all its rows."""
        return self._answer(self._engine.query, sql)

    def schema(self, sql: str) -> pa.Schema:
        """The columns that ``sql`` would return."""
        return self._answer(self._engine.schema, sql)

    def read(self, query: str, time_zone: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run a query; its columns at once, its rows batch by batch."""
        return self._answer(lambda text: self._engine.read(text, time_zone), query)

    def stream(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        """Run ``sql`` and bring its rows batch by batch."""
        first, rest = self._answer(self._begun, sql)
        with closing(rest):
            if first is not None:
                yield first
            yield from rest

    def _begun(self, sql: str) -> tuple[pa.RecordBatch | None, Generator[pa.RecordBatch, None, None]]:
        rows = self._engine.stream(sql)
        return next(rows, None), rows

    def relation(self, rows: pa.Table) -> AbstractContextManager[str]:
        """The name under which ``rows`` can be queried inside of the context."""
        return self._engine.relation(rows)

    def files(
        self, file_format: str, paths: Sequence[str], options: Mapping[str, str], schema: str | None = None
    ) -> AbstractContextManager[str]:
        """The name under which files can be queried inside of the context."""
        return self._engine.files(file_format, paths, options, schema)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set engine settings."""
        self._engine.configure(settings)
        self._is_ansi = settings.get(_ANSI, str(self._is_ansi)).lower() == "true"

    def interrupt(self) -> None:
        """Stop what runs in this session; called from another thread."""
        self._engine.interrupt()

    def close(self) -> None:
        """Free what the session holds."""
        self._engine.close()
