"""What Unity Catalog's REST says of a catalog, schema, table or volume."""

import json
import uuid
from typing import Any

from sqlglot import exp

from dqctl.localworkspace.catalog import Catalog, CatalogEntry, Schema, Table, Volume
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.information_schema import columns_of
from dqctl.localworkspace.table_properties import properties_of
from dqctl.localworkspace.tokens import OWNER
from dqctl.localworkspace.types import Column, delta_field

Document = dict[str, Any]

METASTORE_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "metastore.local.dqctl.invalid"))
METASTORE: Document = {
    "metastore_id": METASTORE_ID,
    "name": "local",
    "owner": OWNER.user_name,
    "cloud": "local",
    "region": "local",
    "global_metastore_id": f"local:local:{METASTORE_ID}",
    "privilege_model_version": "1.0",
    "delta_sharing_scope": "INTERNAL",
}


def catalog_document(name: str, entry: CatalogEntry) -> Document:
    """A catalog."""
    return {
        "name": name,
        "full_name": name,
        "catalog_type": "MANAGED_CATALOG",
        "isolation_mode": "OPEN",
        "securable_type": "CATALOG",
        **_common(entry.comment, entry.created_at),
    }


def schema_document(catalog: str, name: str, content: Schema | None) -> Document:
    """A schema; ``information_schema`` has no ``content`` of its own."""
    return {
        "name": name,
        "catalog_name": catalog,
        "full_name": f"{catalog}.{name}",
        "catalog_type": "MANAGED_CATALOG",
        "securable_type": "SCHEMA",
        "schema_id": _id("schema", f"{catalog}.{name}", content.created_at if content else 0),
        **(_common(content.comment, content.created_at) if content else {"metastore_id": METASTORE_ID}),
    }


def table_document(catalog: Catalog, table: Table, *, columns: bool) -> Document:
    """A table or view, with its columns or without."""
    document = {
        "name": table.name.name,
        "catalog_name": table.name.catalog,
        "schema_name": table.name.schema,
        "full_name": _full_name(table),
        "table_type": table.kind,
        "data_source_format": "UNKNOWN_DATA_SOURCE_FORMAT" if table.is_view else "DELTA",
        "securable_type": "TABLE",
        "table_id": _id("table", _full_name(table), table.created_at),
        "properties": properties_of(catalog, table),
        **_common(table.comment, table.created_at, table.altered_at),
    }
    if table.is_view:
        document["view_definition"] = table.query
    else:
        document["storage_location"] = catalog.path(table).resolve().as_uri()
    if columns:
        document["columns"] = [_column(place, each) for place, each in enumerate(columns_of(catalog, table))]
    return document


def volume_document(catalog: Catalog, volume: Volume) -> Document:
    """A volume."""
    return {
        "name": volume.name.name,
        "catalog_name": volume.name.catalog,
        "schema_name": volume.name.schema,
        "full_name": _full_name(volume),
        "volume_type": "MANAGED",
        "volume_id": _id("volume", _full_name(volume), volume.created_at),
        "storage_location": catalog.path(volume).resolve().as_uri(),
        **_common(volume.comment, volume.created_at),
    }


def _common(comment: str | None, created: float, altered: float = 0) -> Document:
    by = OWNER.user_name
    return {
        "owner": by,
        "metastore_id": METASTORE_ID,
        "created_at": int(created * 1000),
        "created_by": by,
        "updated_at": int((altered or created) * 1000),
        "updated_by": by,
    } | ({"comment": comment} if comment else {})


def _full_name(entry: Table | Volume) -> str:
    return f"{entry.name.catalog}.{entry.name.schema}.{entry.name.name}"


def _id(kind: str, full_name: str, created: float) -> str:
    """The same as long as the thing lives, also over a restart."""
    return str(uuid.uuid5(uuid.UUID(METASTORE_ID), f"{kind} {full_name} {created}"))


def _column(position: int, column: Column) -> Document:
    precision, scale = column.precision_and_scale
    document = {
        "name": column.name,
        "type_text": column.type,
        "type_name": column.unity_type,
        "position": position,
        "nullable": column.nullable,
    }
    if column.base_type == "decimal":
        document |= {"type_precision": precision, "type_scale": scale}
    try:
        kind = exp.DataType.build(column.type, dialect="databricks")
        field = delta_field(column.name, kind, nullable=column.nullable, comment=column.comment)
        document["type_json"] = json.dumps(field, ensure_ascii=False, separators=(",", ":"))
    except StatementError:  # a view's column of a type that no table has
        pass
    return document | ({"comment": column.comment} if column.comment else {})
