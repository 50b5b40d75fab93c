"""Unity Catalog by REST, which needs no warehouse: what is in a schema, as far as the principal may see it."""

from collections.abc import Mapping

from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import Target
from dqctl.errors import DatabricksRefused, EnvironmentFault

_PATH = "/api/2.1/unity-catalog/tables"


def tables_of(rest: RestApi, target: Target) -> Mapping[str, tuple[str, ...]] | None:
    """The columns of each table and view in the target's schema, in lower case; None when there is no schema.

    Raises ``DatabricksRefused`` and ``EnvironmentFault`` when nobody tells.
    """
    found: dict[str, tuple[str, ...]] = {}
    page: dict[str, str] = {}
    while True:
        answer = rest.get(_PATH, catalog_name=target.catalog, schema_name=target.schema, **page)
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            raise DatabricksRefused(
                f"{target.host} does not list the tables of {target.catalog}.{target.schema}: {answer.reason}",
                "check the credentials, and USE CATALOG and USE SCHEMA there",
            )
        if not answer.is_good:
            raise EnvironmentFault(f"{target.host} does not list its tables: {answer.reason}", "try again")
        for table in answer.document.get("tables") or ():
            columns = sorted(table.get("columns") or (), key=lambda column: column.get("position") or 0)
            found[table["name"].lower()] = tuple(column["name"].lower() for column in columns)
        if not (token := answer.document.get("next_page_token")):
            return found
        page = {"page_token": str(token)}
