"""What has to be granted, on what and to whom: Databricks says the first two at most, and whom only who asks."""

from collections.abc import Iterator
from contextlib import contextmanager

from dqctl.databricks.failures import CredentialsRefused
from dqctl.databricks.target import Target
from dqctl.errors import DatabricksRefused, DqctlError
from dqctl.tables.ports import Statements
from dqctl.tables.sql import identifier

_UNNAMED = "<this principal>"


@contextmanager
def named(warehouse: Statements, target: Target) -> Iterator[None]:
    """A refusal for want of a privilege says with which statements an owner mends it, principal included."""
    try:
        yield
    except CredentialsRefused:
        raise
    except DatabricksRefused as refusal:
        whom = _principal(warehouse)
        if whom is None:
            raise
        hint = refusal.hint.replace(_UNNAMED, whom) if _UNNAMED in refusal.hint else _all(target, whom)
        raise DatabricksRefused(refusal.message, hint) from refusal


def _principal(warehouse: Statements) -> str | None:
    """Who one is on Databricks, quoted: a user's address, or a service principal's application id."""
    try:
        (name,) = warehouse.query("SELECT current_user() AS name")["name"].to_pylist()
    except DqctlError:
        return None
    return identifier(str(name))


def _all(target: Target, whom: str) -> str:
    """Everything that a publish needs, for a refusal that does not say what is missing."""
    catalog, schema = identifier(target.catalog), f"{identifier(target.catalog)}.{identifier(target.schema)}"
    return (
        f"have the owner run: GRANT USE CATALOG ON CATALOG {catalog} TO {whom}; GRANT USE SCHEMA, CREATE TABLE, "
        f"CREATE VOLUME, SELECT, MODIFY, READ VOLUME, WRITE VOLUME ON SCHEMA {schema} TO {whom}"
    )
