"""USE, SET, RESET."""

from dqctl.localworkspace.catalog import DEFAULT_SCHEMA
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.statements.results import nothing, strings


def use_catalog(command: commands.UseCatalog, context: Context) -> Result:
    """Stand in a catalog's default schema."""
    context.catalog.schemas(command.catalog)
    context.namespace.catalog = command.catalog.lower()
    context.namespace.schema = DEFAULT_SCHEMA
    return nothing()


def use_schema(command: commands.UseSchema, context: Context) -> Result:
    """Stand in a schema."""
    catalog, schema = context.namespace.schema_of(command.schema)
    context.catalog.schema(catalog, schema)
    context.namespace.catalog, context.namespace.schema = catalog, schema
    return nothing()


def set_parameter(command: commands.SetParameter, context: Context) -> Result:
    """Set a parameter, or show it, or show all."""
    if command.key is None:
        shown = context.settings.items()
    elif command.value is None:
        value = context.settings.get(command.key)
        return strings(("key", "value"), [(command.key, value if value is not None else "<undefined>")])
    else:
        shown = [context.settings.set(command.key, command.value)]
        context.engine.configure(context.settings.for_engine())
    return strings(("key", "value"), [(one.key, one.value) for one in shown])


def reset_parameter(command: commands.ResetParameter, context: Context) -> Result:
    """Back to the defaults."""
    context.settings.reset(command.key)
    context.engine.configure(context.settings.for_engine())
    return nothing()
