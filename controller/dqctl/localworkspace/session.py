"""One client's session: a statement in, a result or a ``StatementError`` out."""

import threading
from collections.abc import Callable, Sequence

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import errors, metadata, metadata_keys
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Parameter, Result, StatementError
from dqctl.localworkspace.sql import identifiers
from dqctl.localworkspace.sql.parameters import bind
from dqctl.localworkspace.sql.router import route
from dqctl.localworkspace.sql.statement import parse
from dqctl.localworkspace.sql.variable_commands import ExecuteImmediate
from dqctl.localworkspace.statements import variables


class LocalSession:
    """Implements ``contract.Session``."""

    def __init__(self, context: Context) -> None:
        self.catalog = context.namespace.catalog
        self.schema = context.namespace.schema
        self._context = context
        self._running = threading.Lock()

    def execute(self, statement: str, parameters: Sequence[Parameter] = ()) -> Result:
        """Run one statement; ``StatementError`` when it fails, is cancelled or exceeds STATEMENT_TIMEOUT."""
        with self._running:
            self._context.stop.clear()
            self._context.statement = statement
            late = threading.Event()
            timer = self._timer(late)
            try:
                return self._run(statement, parameters)
            except Exception as error:
                if late.is_set():
                    raise errors.timed_out(self._context.settings.timeout) from error
                if self._context.stop.is_set():
                    raise errors.cancelled() from error
                raise errors.from_engine(error) from error
            finally:
                if timer is not None:
                    timer.cancel()
                self.catalog, self.schema = self._context.namespace.catalog, self._context.namespace.schema

    def _run(self, statement: str, parameters: Sequence[Parameter]) -> Result:
        parsed = parse(statement)
        if isinstance(parsed, ExecuteImmediate) and not parameters:
            return self._execute_immediate(parsed)
        if isinstance(parsed, exp.Expr):
            parsed = self._with_variables(identifiers.resolve(bind(parsed, parameters)))
        elif parameters:
            raise errors.unsupported("A parameter in a statement of this kind")
        result = route(parsed, self._context)
        if self._context.stop.is_set():
            raise errors.cancelled()
        return result

    def _with_variables(self, tree: exp.Expr) -> exp.Expr:
        # A view is read by other sessions: their variables are not this one's.
        is_view = isinstance(tree, exp.Create) and str(tree.args.get("kind")).upper() == "VIEW"
        return tree if is_view else variables.put_in(tree, self._context)

    def _execute_immediate(self, command: ExecuteImmediate) -> Result:
        text, parameters = variables.prepared(command, self._context)
        if isinstance(parse(text), ExecuteImmediate):
            raise StatementError(
                "NESTED_EXECUTE_IMMEDIATE", "Nested EXECUTE IMMEDIATE commands are not allowed.", "07501"
            )
        result = self._run(text, parameters)
        return variables.keep(command.into, result, self._context) if command.into else result

    def _timer(self, late: threading.Event) -> threading.Timer | None:
        seconds = self._context.settings.timeout
        if not 0 < seconds <= threading.TIMEOUT_MAX:
            return None

        def stop() -> None:
            late.set()
            self.cancel()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        return timer

    def cancel(self) -> None:
        """Stop the statement that is running, in the engine too; see ``engine.sail`` for how soon that is."""
        if self._running.locked():
            self._context.stop.set()
            self._context.engine.interrupt()

    def get_catalogs(self) -> pa.Table:
        """The rows of Thrift's GetCatalogs."""
        return _mapped(lambda: metadata.catalogs(self._context.catalog))

    def get_schemas(self, catalog: str | None, schema: str | None) -> pa.Table:
        """The rows of Thrift's GetSchemas."""
        return _mapped(lambda: metadata.schemas(self._context.catalog, catalog, schema))

    def get_tables(
        self, catalog: str | None, schema: str | None, table: str | None, types: Sequence[str] | None
    ) -> pa.Table:
        """The rows of Thrift's GetTables."""
        return _mapped(lambda: metadata.tables(self._context.catalog, catalog, schema, table, types))

    def get_columns(
        self, catalog: str | None, schema: str | None, table: str | None, column: str | None
    ) -> pa.Table:
        """The rows of Thrift's GetColumns."""
        return _mapped(lambda: metadata.columns(self._context.catalog, catalog, schema, table, column))

    def get_primary_keys(self, catalog: str | None, schema: str | None, table: str | None) -> pa.Table:
        """The rows of Thrift's GetPrimaryKeys."""
        return _mapped(lambda: metadata_keys.primary_keys(self._context.catalog, (catalog, schema, table)))

    def get_cross_reference(self, parent: metadata_keys.Place, foreign: metadata_keys.Place) -> pa.Table:
        """The rows of Thrift's GetCrossReference."""
        return _mapped(lambda: metadata_keys.cross_reference(self._context.catalog, parent, foreign))

    def get_functions(self, catalog: str | None, schema: str | None, function: str | None) -> pa.Table:
        """The rows of Thrift's GetFunctions."""
        return _mapped(lambda: metadata_keys.functions(self._context.catalog, catalog, schema, function))

    def close(self) -> None:
        """End the session and free what it holds in the engine."""
        self.cancel()
        self._context.engine.close()


def _mapped(call: Callable[[], pa.Table]) -> pa.Table:
    try:
        return call()
    except StatementError:
        raise
    except Exception as error:
        raise errors.from_engine(error) from error
