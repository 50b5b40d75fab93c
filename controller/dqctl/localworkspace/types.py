"""Columns and their types, in the four languages that meet here: SQL text, Delta, Arrow, information_schema."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import Schema
from sqlglot import exp

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.errors import unsupported
from dqctl.localworkspace.generated import clause_of, metadata_of
from dqctl.localworkspace.sql.depth import MAX_TYPE_DEPTH, kinds_in

# Delta keeps a VARCHAR(n) or CHAR(n) as a string and its declared type in the field's metadata.
CHAR_VARCHAR = "__CHAR_VARCHAR_TYPE_STRING"
# ... and the text of a column's default, which is what a row gets that says nothing.
DEFAULT = "CURRENT_DEFAULT"

_DELTA = {
    "tinyint": "byte",
    "smallint": "short",
    "int": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
    "binary": "binary",
}
_SQL = {delta: sql for sql, delta in _DELTA.items()}
_UNITY = {
    **{sql: delta.upper() for sql, delta in _DELTA.items()},
    "int": "INT",
    "void": "NULL",
}
_PRECISION = {"tinyint": (3, 0), "smallint": (5, 0), "int": (10, 0), "bigint": (19, 0)}
# java.sql.Types, as Thrift's GetColumns carries them.
_JDBC = {
    "tinyint": -6, "smallint": 5, "int": 4, "bigint": -5, "float": 6, "double": 8, "decimal": 3, "string": 12,
    "char": 1, "varchar": 12, "boolean": 16, "date": 91, "timestamp": 93, "timestamp_ntz": 93, "binary": -2,
    "array": 2003, "map": 2000, "struct": 2002, "void": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of a table or view. ``type`` is Databricks' text, lower case: ``decimal(10,2)``, ``array<int>``."""

    name: str
    type: str
    nullable: bool = True
    comment: str | None = None
    default: str | None = None
    # ``GENERATED ...``, as CREATE TABLE has it.
    generated: str | None = None

    @property
    def base_type(self) -> str:
        """The type without its arguments."""
        return re.split(r"[(<]", self.type, maxsplit=1)[0]

    @property
    def storage_type(self) -> str:
        """The type that SQL casts to: VARCHAR(n) and CHAR(n) are strings on disk."""
        return "string" if self.base_type in ("char", "varchar") else self.type

    @property
    def unity_type(self) -> str:
        """``data_type`` of information_schema (``LONG``, ``DECIMAL``, ...)."""
        return _UNITY.get(self.base_type, self.base_type.upper())

    @property
    def precision_and_scale(self) -> tuple[int | None, int | None]:
        """``numeric_precision`` and ``numeric_scale`` of information_schema."""
        if self.base_type == "decimal":
            precision, scale = re.findall(r"\d+", self.type)
            return int(precision), int(scale)
        return _PRECISION.get(self.base_type, (None, None))

    @property
    def type_name(self) -> str:
        """The type as Thrift's GetColumns writes it: ``STRUCT<name: STRING, tags: ARRAY<STRING>>``."""
        if self.base_type not in ("array", "map", "struct"):
            return self.type.upper()
        return _type_name(exp.DataType.build(self.type, dialect="databricks"))

    @property
    def jdbc_type(self) -> int:
        """The number of the type in ``java.sql.Types``."""
        return _JDBC.get(self.base_type, 1111)


def _type_name(kind: exp.Expr) -> str:
    if isinstance(kind, exp.ColumnDef):
        return f"{quoted_if_needed(kind.name)}: {_type_name(kind.args['kind'])}"
    if not kind.args.get("nested"):
        return kind.sql("databricks").upper().replace(", ", ",")
    return f"{kind.this.value}<{', '.join(_type_name(part) for part in kind.expressions)}>"


def delta_field(
    name: str,
    kind: exp.DataType,
    *,
    nullable: bool = True,
    comment: str | None = None,
    default: str | None = None,
    generated: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A field of Delta's JSON schema from a parsed column definition; ``StatementError`` for what it cannot be."""
    kinds_in(kind, MAX_TYPE_DEPTH)
    delta, declared = _delta_type(kind)
    metadata: dict[str, Any] = {"comment": comment} if comment is not None else {}
    metadata |= generated or {}
    if declared:
        metadata[CHAR_VARCHAR] = declared
    if default is not None:
        metadata[DEFAULT] = default
    return {"name": name, "type": delta, "nullable": nullable, "metadata": metadata}


def _delta_type(kind: exp.DataType) -> tuple[Any, str | None]:
    """The Delta type, and the declared text of a CHAR or VARCHAR."""
    text = kind.sql("databricks").lower().replace(" ", "")
    inner = kind.expressions
    if text.startswith("array<"):
        return {"type": "array", "elementType": _delta_type(inner[0])[0], "containsNull": True}, None
    if text.startswith("map<"):
        key, value = (_delta_type(part)[0] for part in inner)
        return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}, None
    if text.startswith("struct<"):
        return {"type": "struct", "fields": [_struct_field(part) for part in inner]}, None
    if text.startswith(("varchar(", "char(")):
        return "string", text
    if text == "decimal":
        return "decimal(10,0)", None
    if re.fullmatch(r"decimal\(\d+\)", text):
        return f"{text[:-1]},0)", None
    if text.startswith("decimal("):
        return text, None
    if text not in _DELTA:
        raise unsupported(f"The type {text.upper()} in a table")
    return _DELTA[text], None


def _struct_field(definition: exp.Expr) -> dict[str, Any]:
    kind = definition.args.get("kind")
    if not isinstance(kind, exp.DataType):
        raise unsupported(f"The struct field {definition.sql('databricks')}")
    found = constraints_of(definition)
    if found["generated"] is not None:
        raise unsupported(f"The struct field {definition.sql('databricks')}")
    return delta_field(definition.name, kind, **found)


def constraints_of(definition: exp.Expr) -> dict[str, Any]:
    """What stands behind a column's type; ``StatementError`` for what a table here cannot keep."""
    found: dict[str, Any] = {"nullable": True, "comment": None, "default": None, "generated": None}
    for constraint in definition.args.get("constraints") or ():
        kind = constraint.args.get("kind")
        if isinstance(kind, exp.NotNullColumnConstraint):
            found["nullable"] = bool(kind.args.get("allow_null"))
        elif isinstance(kind, exp.CommentColumnConstraint):
            found["comment"] = kind.name
        elif isinstance(kind, exp.DefaultColumnConstraint):
            found["default"] = kind.this.sql("databricks")
        elif isinstance(kind, exp.PrimaryKeyColumnConstraint):
            found["nullable"] = False
        elif isinstance(kind, (exp.GeneratedAsIdentityColumnConstraint, exp.ComputedColumnConstraint)):
            if found["generated"] is not None:
                raise StatementError(
                    "DELTA_IDENTITY_COLUMNS_WITH_GENERATED_EXPRESSION",
                    "IDENTITY column cannot be specified with a generated column expression.",
                    "42613",
                )
            found["generated"] = metadata_of(kind)
        elif not isinstance(kind, exp.Reference):
            # Keys inform only, on Databricks too; everything else would change values.
            raise unsupported(f"The column clause {constraint.sql('databricks')}")
    return found


def arrow_schema(fields: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Arrow's view of Delta fields; comments and declared types travel in the fields' metadata."""
    return pa.schema(Schema.from_json(json.dumps({"type": "struct", "fields": list(fields)})).to_arrow())


def columns_from_delta(schema_json: str) -> tuple[Column, ...]:
    """The columns of a Delta table from its schema's JSON."""
    return tuple(column_of(field) for field in json.loads(schema_json)["fields"])


def column_of(field: Mapping[str, Any]) -> Column:
    """A column from a field of Delta's JSON schema."""
    return Column(
        name=field["name"],
        type=field["metadata"].get(CHAR_VARCHAR) or text_from_delta(field["type"]),
        nullable=field["nullable"],
        comment=field["metadata"].get("comment"),
        default=field["metadata"].get(DEFAULT),
        generated=clause_of(field),
    )


_INTEGERS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 20}


def widens(old: str, new: str) -> bool:
    """Whether type widening takes ``old`` to ``new``, both in SQL's words: no value is lost."""
    if old in _INTEGERS:
        if new in _INTEGERS:
            return _INTEGERS[new] > _INTEGERS[old]
        if new == "double":
            return old != "bigint"
    if (old, new) in (("float", "double"), ("date", "timestamp_ntz")):
        return True
    limit = re.fullmatch(r"(?:var)?char\((\d+)\)", old)
    if limit:
        wider = re.fullmatch(r"varchar\((\d+)\)", new)
        return new == "string" or (wider is not None and int(wider[1]) >= int(limit[1]))
    numbers = re.fullmatch(r"decimal\((\d+),(\d+)\)", new)
    if numbers is None:
        return False
    digits, scale = int(numbers[1]), int(numbers[2])
    if old in _INTEGERS:
        return digits - scale >= _INTEGERS[old]
    before = re.fullmatch(r"decimal\((\d+),(\d+)\)", old)
    return before is not None and scale >= int(before[2]) and digits - scale >= int(before[1]) - int(before[2])


def text_from_delta(kind: Any) -> str:
    """The SQL text of a Delta type."""
    if isinstance(kind, str):
        return _SQL.get(kind, kind)
    if kind["type"] == "array":
        return f"array<{text_from_delta(kind['elementType'])}>"
    if kind["type"] == "map":
        return f"map<{text_from_delta(kind['keyType'])},{text_from_delta(kind['valueType'])}>"
    fields = ",".join(f"{quoted_if_needed(f['name'])}:{text_from_delta(f['type'])}" for f in kind["fields"])
    return f"struct<{fields}>"


def text_from_arrow(kind: pa.DataType) -> str:
    """The SQL text of what the engine returned."""
    checks = pa.types
    if checks.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if checks.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    if checks.is_map(kind):
        return f"map<{text_from_arrow(kind.key_type)},{text_from_arrow(kind.item_type)}>"
    if checks.is_list(kind) or checks.is_large_list(kind):
        return f"array<{text_from_arrow(kind.value_type)}>"
    if checks.is_struct(kind):
        return f"struct<{','.join(f'{quoted_if_needed(f.name)}:{text_from_arrow(f.type)}' for f in kind)}>"
    names = {
        "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint", "float": "float",
        "double": "double", "bool": "boolean", "date32[day]": "date", "binary": "binary",
        "large_binary": "binary", "null": "void",
    }  # fmt: skip
    return names.get(str(kind), "string")


def columns_from_arrow(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of a query's result."""
    return tuple(Column(field.name, text_from_arrow(field.type)) for field in schema)


def quoted_if_needed(name: str) -> str:
    """``name`` as SQL needs it."""
    return name if re.fullmatch(r"\w+", name) else "`" + name.replace("`", "``") + "`"


def names(columns: Iterable[Column]) -> dict[str, Column]:
    """The columns by lower-case name."""
    return {column.name.lower(): column for column in columns}
