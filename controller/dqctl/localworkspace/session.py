"""One client's session: what it has set, where it stands, and the statement that it runs."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from dqctl.localworkspace.contract import Parameter, Result, StatementError
from dqctl.localworkspace.engine import EngineSession


class LocalSession:
    """Implements ``contract.Session``."""

    def __init__(self, engine: EngineSession, catalog: str, schema: str, configuration: Mapping[str, str]) -> None:
        self.catalog = catalog
        self.schema = schema
        self._engine = engine
        self._configuration = dict(configuration)

    def execute(self, statement: str, parameters: Sequence[Parameter] = ()) -> Result:
        """Run one statement."""
        if parameters:
            raise StatementError("UNSUPPORTED_FEATURE", "parameters come with the next version", "0A000")
        try:
            return Result(self._engine.query(statement))
        except Exception as error:
            raise StatementError("INTERNAL_ERROR", str(error), "XX000") from error

    def cancel(self) -> None:
        """Stop the statement that is running."""
        self._engine.interrupt()

    def get_catalogs(self) -> pa.Table:
        """The rows of Thrift's GetCatalogs."""
        return pa.table({"TABLE_CAT": ["main"]})

    def get_schemas(self, catalog: str | None, schema: str | None) -> pa.Table:
        """The rows of Thrift's GetSchemas."""
        return pa.table({"TABLE_SCHEM": ["default"], "TABLE_CATALOG": ["main"]})

    def get_tables(
        self, catalog: str | None, schema: str | None, table: str | None, types: Sequence[str] | None
    ) -> pa.Table:
        """The rows of Thrift's GetTables."""
        return pa.table({"TABLE_CAT": pa.array([], pa.string())})

    def get_columns(
        self, catalog: str | None, schema: str | None, table: str | None, column: str | None
    ) -> pa.Table:
        """The rows of Thrift's GetColumns."""
        return pa.table({"TABLE_CAT": pa.array([], pa.string())})

    def close(self) -> None:
        """End the session in the engine."""
        self._engine.close()
