"""DESCRIBE TABLE EXTENDED ... AS JSON: the form for programs."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp

from dqctl.localworkspace import delta
from dqctl.localworkspace.catalog import Table
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.information_schema import OWNER, columns_of
from dqctl.localworkspace.sql.dialect import Warehouse
from dqctl.localworkspace.table_properties import properties_of
from dqctl.localworkspace.types import Column


def describe_json(table: Table, context: Context) -> str:
    """The one value of the result."""
    found: dict[str, Any] = {
        "table_name": table.name.name,
        "catalog_name": table.name.catalog,
        "schema_name": table.name.schema,
        "namespace": [table.name.schema],
        "type": table.kind,
        "columns": [_column(column) for column in columns_of(context.catalog, table)],
        "owner": table.owner or OWNER,
        "comment": table.comment or "",
        "created_time": datetime.fromtimestamp(table.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "last_access": "UNKNOWN",
        "created_by": OWNER,
        "table_properties": dict(sorted(properties_of(context.catalog, table).items())),
    }
    if table.is_view:
        found |= {
            "view_text": table.query,
            "view_original_text": table.query,
            "view_schema_mode": "COMPENSATION",
            "view_catalog_and_namespace": f"{table.name.catalog}.{table.name.schema}",
            "view_query_output_columns": [column.name for column in table.columns],
        }
    else:
        path = context.catalog.path(table)
        found |= {
            "provider": "delta",
            "location": str(path),
            "is_managed_location": table.kind == "MANAGED",
            "partition_columns": delta.partition_columns(path),
        }
        if table.clustering and table.clustering != ("AUTO",):
            found["clustering_information"] = {"column_names": list(table.clustering)}
        keys = [one for one in table.constraints if one.kind != "CHECK"]
        if keys:
            found["table_constraints"] = "[" + ", ".join(f"({one.name},{one.sql})" for one in keys) + "]"
    return json.dumps(found)


def _column(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"name": column.name, "type": type_json(column.type), "nullable": column.nullable}
    if column.comment is not None:
        found["comment"] = column.comment
    if column.default is not None:
        found["default"] = column.default
    return found


def type_json(text: str) -> dict[str, Any]:
    """A type, from its text in SQL."""
    return _type(exp.DataType.build(text, dialect=Warehouse))


def _type(kind: exp.DataType) -> dict[str, Any]:
    name = kind.sql("databricks").split("(")[0].split("<")[0].strip().lower()
    inner = kind.expressions
    if name == "decimal":
        precision, scale = (int(one.name) for one in inner) if inner else (10, 0)
        return {"name": name, "precision": precision, "scale": scale}
    if name in ("varchar", "char"):
        return {"name": name, "length": int(inner[0].name)}
    if name == "string":
        return {"name": name, "collation": "UTF8_BINARY"}
    if name == "array":
        return {"name": name, "element_type": _type(inner[0]), "element_nullable": True}
    if name == "map":
        return {"name": name, "key_type": _type(inner[0]), "value_type": _type(inner[1]), "value_nullable": True}
    if name == "struct":
        fields = [{"name": one.name, "type": _type(one.args["kind"]), "nullable": True} for one in inner]
        return {"name": name, "fields": fields}
    return {"name": "timestamp_ltz" if name == "timestamp" else name}
