"""The rows of Thrift's GetTypeInfo: the types of a warehouse as JDBC describes types."""

import pyarrow as pa

_NULLABLE, _SEARCHABLE = 1, 3
# Name, JDBC's number, digits or None, whether it is a number, and what is written around a literal of it.
_TYPES: tuple[tuple[str, int, int | None, bool, str | None], ...] = (
    ("VOID", 0, None, False, None),
    ("BOOLEAN", 16, None, False, None),
    ("TINYINT", -6, 3, True, None),
    ("SMALLINT", 5, 5, True, None),
    ("INT", 4, 10, True, None),
    ("BIGINT", -5, 19, True, None),
    ("FLOAT", 6, 7, True, None),
    ("DOUBLE", 8, 15, True, None),
    ("STRING", 12, None, False, "'"),
    ("BINARY", -2, None, False, None),
    ("DECIMAL", 3, 38, True, None),
    ("DATE", 91, None, False, "'"),
    ("TIMESTAMP", 93, None, False, "'"),
    ("TIMESTAMP_NTZ", 93, None, False, "'"),
    ("ARRAY", 2003, None, False, None),
    ("MAP", 2000, None, False, None),
    ("STRUCT", 2002, None, False, None),
)


def type_info() -> pa.Table:
    """One row a type."""
    count = len(_TYPES)
    names = pa.array([name for name, *_ in _TYPES], pa.string())
    quotes = pa.array([quote for *_, quote in _TYPES], pa.string())
    numbers = [is_number for _, _, _, is_number, _ in _TYPES]
    decimal_digits = [38 if name == "DECIMAL" else 0 for name, *_ in _TYPES]
    return pa.table(
        {
            "TYPE_NAME": names,
            "DATA_TYPE": pa.array([number for _, number, *_ in _TYPES], pa.int32()),
            "PRECISION": pa.array([digits for _, _, digits, *_ in _TYPES], pa.int32()),
            "LITERAL_PREFIX": quotes,
            "LITERAL_SUFFIX": quotes,
            "CREATE_PARAMS": pa.nulls(count, pa.string()),
            "NULLABLE": pa.array([_NULLABLE] * count, pa.int16()),
            "CASE_SENSITIVE": pa.array([name == "STRING" for name, *_ in _TYPES]),
            "SEARCHABLE": pa.array([_SEARCHABLE] * count, pa.int16()),
            "UNSIGNED_ATTRIBUTE": pa.array([not number for number in numbers]),
            "FIXED_PREC_SCALE": pa.array([False] * count),
            "AUTO_INCREMENT": pa.array([False] * count),
            "LOCAL_TYPE_NAME": names,
            "MINIMUM_SCALE": pa.array([0] * count, pa.int16()),
            "MAXIMUM_SCALE": pa.array(decimal_digits, pa.int16()),
            "SQL_DATA_TYPE": pa.nulls(count, pa.int32()),
            "SQL_DATETIME_SUB": pa.nulls(count, pa.int32()),
            "NUM_PREC_RADIX": pa.array([10 if number else None for number in numbers], pa.int32()),
        }
    )
