"""The border between the wire (Thrift, REST) and what answers (catalog, SQL, engine)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

_QUOTED = 2000  # characters of a statement in the text of its error


class StatementError(Exception):
    """A statement failed. ``error_class`` and ``sqlstate`` are those that Databricks documents.

    The text that clients see is ``[ERROR_CLASS] message SQLSTATE: 42P01``, as Databricks words it.
    """

    def __init__(self, error_class: str, message: str, sqlstate: str) -> None:
        super().__init__(f"[{error_class}] {message} SQLSTATE: {sqlstate}")
        self.error_class = error_class
        self.sqlstate = sqlstate

    def quoting(self, statement: str) -> "StatementError":
        """This error with the statement that could not be read, as a warehouse shows it."""
        message = str(self).removeprefix(f"[{self.error_class}] ").removesuffix(f" SQLSTATE: {self.sqlstate}")
        quoted = f"{message}\n\n== SQL ==\n{statement[:_QUOTED]}\n"
        return StatementError(self.error_class, quoted, self.sqlstate)


@dataclass(frozen=True)
class Parameter:
    """A native parameter, as it came over the wire. ``name`` is None for ``?`` markers, ``value`` None for NULL.

    ``type`` is Databricks' name of it (``INT``, ``STRING``, ``DECIMAL(10,2)``, ...), ``value`` its text. An
    ``ARRAY`` has its elements as ``arguments`` instead, a ``MAP`` each key followed by its value.
    """

    name: str | None
    type: str
    value: str | None
    arguments: "tuple[Parameter, ...]" = ()

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return len((self.value or "").encode()) + sum(each.size for each in self.arguments)


@dataclass(frozen=True)
class Staging:
    """A PUT, GET or REMOVE of a volume file, to be carried out by the client against a URL of the server."""

    operation: Literal["PUT", "GET", "REMOVE"]
    local_file: str | None
    volume_path: str


@dataclass(frozen=True)
class Result:
    """What a statement returned. ``affected_rows`` is set for DML; ``staging`` replaces the rows."""

    table: pa.Table
    affected_rows: int | None = None
    staging: Staging | None = None


class Session(Protocol):
    """One client session. A session runs one statement at a time; ``cancel`` comes from another thread."""

    catalog: str
    schema: str

    def execute(self, statement: str, parameters: Sequence[Parameter] = ()) -> Result:
        """Run one statement; ``StatementError`` when it fails or is cancelled."""
        ...

    def cancel(self) -> None:
        """Stop the statement that is running, in the engine too; nothing happens when none is."""
        ...

    def get_catalogs(self) -> pa.Table:
        """The rows of Thrift's GetCatalogs, columns as Databricks names them. Likewise the next three."""
        ...

    def get_schemas(self, catalog: str | None, schema: str | None) -> pa.Table:
        """Patterns are LIKE patterns with ``\\`` as escape; None matches everything."""
        ...

    def get_tables(
        self, catalog: str | None, schema: str | None, table: str | None, types: Sequence[str] | None
    ) -> pa.Table:
        """Tables and views."""
        ...

    def get_columns(
        self, catalog: str | None, schema: str | None, table: str | None, column: str | None
    ) -> pa.Table:
        """Columns of tables and views."""
        ...

    def get_primary_keys(self, catalog: str | None, schema: str | None, table: str | None) -> pa.Table:
        """Columns of primary keys. Names are names here, no patterns; None leaves them open."""
        ...

    def get_cross_reference(
        self, parent: tuple[str | None, str | None, str | None], foreign: tuple[str | None, str | None, str | None]
    ) -> pa.Table:
        """Columns of foreign keys from ``foreign`` to ``parent``, each a catalog, schema and table as above."""
        ...

    def get_functions(self, catalog: str | None, schema: str | None, function: str | None) -> pa.Table:
        """Functions that somebody made, by patterns."""
        ...

    def close(self) -> None:
        """End the session and free what it holds in the engine."""
        ...


class Lakehouse(Protocol):
    """Everything behind the wire: the persisted catalog, the volumes and the engine of one data directory."""

    def open_session(self, catalog: str | None, schema: str | None, configuration: Mapping[str, str]) -> Session:
        """A new session; ``configuration`` holds session settings such as ``ansi_mode`` and ``timezone``."""
        ...

    def volume_file(self, path: str) -> Any:
        """The ``pathlib.Path`` on disk of ``/Volumes/catalog/schema/volume/...``.

        ``StatementError`` when the path is not below an existing volume or tries to leave it.
        """
        ...

    def close(self) -> None:
        """Stop the engine and write what is not on disk yet."""
        ...
