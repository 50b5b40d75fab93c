"""Arrow tables as Thrift's schemas and row sets."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from dqctl.localworkspace import overflow
from dqctl.localworkspace.wire import arrow_values

T: Any = ttypes  # generated code, untyped

# One Arrow batch is one Thrift string. Thrift 0.25 refuses strings above 15.6 MiB unless told otherwise, and
# connectors before 4.9 do not tell it.
BATCH_BYTES = 8 * 1024 * 1024
DEFAULT_ROWS = 100_000
# Clients ask for up to 100 MB at once. An answer is held several times over while it is sent, so it is smaller.
MAX_BYTES = 4 * 1024 * 1024

# While a client reads one part of a result, the next one is made: slicing, serializing and compressing let go of
# the GIL. A part that nobody has begun when it is asked for is made by who asks.
_ahead = ThreadPoolExecutor(2, thread_name_prefix="rows ahead")

# The first test that holds decides.
_TYPE_IDS: tuple[tuple[Callable[[pa.DataType], bool], Any], ...] = (
    (pa.types.is_boolean, T.TTypeId.BOOLEAN_TYPE),
    (pa.types.is_int8, T.TTypeId.TINYINT_TYPE),
    (pa.types.is_int16, T.TTypeId.SMALLINT_TYPE),
    (pa.types.is_int32, T.TTypeId.INT_TYPE),
    (pa.types.is_integer, T.TTypeId.BIGINT_TYPE),
    (pa.types.is_float32, T.TTypeId.FLOAT_TYPE),
    (pa.types.is_floating, T.TTypeId.DOUBLE_TYPE),
    (pa.types.is_decimal, T.TTypeId.DECIMAL_TYPE),
    (pa.types.is_date, T.TTypeId.DATE_TYPE),
    (pa.types.is_timestamp, T.TTypeId.TIMESTAMP_TYPE),
    (pa.types.is_binary, T.TTypeId.BINARY_TYPE),
    (pa.types.is_map, T.TTypeId.MAP_TYPE),
    (pa.types.is_list, T.TTypeId.ARRAY_TYPE),
    (pa.types.is_struct, T.TTypeId.STRUCT_TYPE),
    (pa.types.is_duration, T.TTypeId.INTERVAL_DAY_TIME_TYPE),
    (pa.types.is_interval, T.TTypeId.INTERVAL_YEAR_MONTH_TYPE),
    (lambda kind: True, T.TTypeId.STRING_TYPE),  # noqa: ARG005 - whatever is left, VOID too
)

# How column sets carry a type: the field of TColumn, its class, what stands for NULL, how a value is made.
_CARRIERS: tuple[tuple[Callable[[pa.DataType], bool], str, Any, Any, Callable[[Any], Any]], ...] = (
    (pa.types.is_boolean, "boolVal", T.TBoolColumn, False, bool),
    (pa.types.is_int8, "byteVal", T.TByteColumn, 0, int),
    (pa.types.is_int16, "i16Val", T.TI16Column, 0, int),
    (pa.types.is_int32, "i32Val", T.TI32Column, 0, int),
    (pa.types.is_integer, "i64Val", T.TI64Column, 0, int),
    (pa.types.is_floating, "doubleVal", T.TDoubleColumn, 0.0, float),
    (pa.types.is_binary, "binaryVal", T.TBinaryColumn, b"", bytes),
)


def thrift_schema(schema: pa.Schema) -> Any:
    """``TTableSchema`` of a result."""
    return T.TTableSchema(
        [
            T.TColumnDesc(columnName=field.name, typeDesc=_type(field.type), position=position, comment="")
            for position, field in enumerate(schema, start=1)
        ]
    )


def _type(kind: pa.DataType) -> Any:
    type_id = next(found for fits, found in _TYPE_IDS if fits(kind))
    qualifiers = None
    if pa.types.is_decimal(kind):
        qualifiers = T.TTypeQualifiers(
            {
                "precision": T.TTypeQualifierValue(i32Value=kind.precision),
                "scale": T.TTypeQualifierValue(i32Value=kind.scale),
            }
        )
    entry = T.TPrimitiveTypeEntry(type=type_id, typeQualifiers=qualifiers)
    return T.TTypeDesc([T.TTypeEntry(primitiveEntry=entry)])


class RowSets:
    """A result on its way to one client, in the format that the client can read.

    ``arrow`` says whether the client takes Arrow batches, ``native`` is its ``TSparkArrowTypes`` (None: all),
    ``lz4`` whether it wants the batches compressed. Values are converted as they are fetched, part by part and
    one part ahead.
    """

    def __init__(self, table: pa.Table, *, arrow: bool, native: Any = None, lz4: bool = False) -> None:
        self._table = table
        self._size = table.nbytes
        self._as_text = _as_text(arrow, native)
        # One schema tells the types of the result, the other what carries them, which may be text.
        self._declared = [(field.name, arrow_values.plain_type(field.type)) for field in table.schema]
        self._carried = arrow_values.plain_table(table.slice(0, 0), self._as_text).schema
        self.arrow = arrow
        self._lz4 = lz4 and arrow
        self._next: tuple[tuple[int, int], Future[tuple[Any, int]]] | None = None

    @property
    def num_rows(self) -> int:
        """Rows of the whole result."""
        return int(self._table.num_rows)

    def metadata(self, *, is_staging: bool) -> Any:
        """``TGetResultSetMetadataResp``."""
        formats = T.TSparkRowSetType
        return T.TGetResultSetMetadataResp(
            status=T.TStatus(statusCode=T.TStatusCode.SUCCESS_STATUS),
            schema=thrift_schema(pa.schema(self._declared)),
            resultFormat=formats.ARROW_BASED_SET if self.arrow else formats.COLUMN_BASED_SET,
            lz4Compressed=self._lz4,
            arrowSchema=self._carried.serialize().to_pybytes() if self.arrow else None,
            isStagingOperation=is_staging,
        )

    def fetch(self, offset: int, max_rows: int | None, max_bytes: int | None) -> tuple[Any, int]:
        """``TRowSet`` from ``offset`` on, and how many rows it has: at least one as long as any are left."""
        rows = self._rows(max_rows, max_bytes)
        row_set, count = self._prepared(offset, rows)
        if offset + count < self.num_rows:
            following = offset + count, rows
            self._next = following, _ahead.submit(self._made, *following)
        return row_set, count

    def _prepared(self, offset: int, rows: int) -> tuple[Any, int]:
        prepared, self._next = self._next, None
        if prepared is not None:
            foreseen, making = prepared
            if not making.cancel() and foreseen == (offset, rows):
                return making.result()
        return self._made(offset, rows)

    def _made(self, offset: int, rows: int) -> tuple[Any, int]:
        part = self._table.slice(offset, rows)
        plain = arrow_values.plain_table(part, self._as_text)
        if self.arrow:
            batches = [
                T.TSparkArrowBatch(batch=self._written(batch), rowCount=batch.num_rows)
                for piece in _pieces(plain)
                for batch in piece.combine_chunks().to_batches()
            ]
            row_set = T.TRowSet(startRowOffset=offset, rows=[], arrowBatches=batches)
        else:
            row_set = T.TRowSet(startRowOffset=offset, rows=[], columns=[_column(each) for each in plain.columns])
        overflow.forget_pages()
        return row_set, part.num_rows

    def _written(self, batch: pa.RecordBatch) -> Any:
        content = batch.serialize()
        return arrow_values.lz4_frame(content) if self._lz4 else content

    def _rows(self, max_rows: int | None, max_bytes: int | None) -> int:
        row_bytes: int = max(1, self._size // max(1, self._table.num_rows))
        return max(1, min(max_rows or DEFAULT_ROWS, min(max_bytes or MAX_BYTES, MAX_BYTES) // row_bytes))


def _as_text(arrow: bool, native: Any) -> Callable[[pa.DataType], bool]:
    if not arrow:
        return lambda kind: not any(fits(kind) for fits, *_ in _CARRIERS) and not pa.types.is_null(kind)
    switched_off = [
        fits
        for fits, wanted in (
            (pa.types.is_timestamp, native is None or native.timestampAsArrow),
            (pa.types.is_decimal, native is None or native.decimalAsArrow),
            (arrow_values.is_complex, native is None or native.complexTypesAsArrow),
            (pa.types.is_duration, native is not None and native.intervalTypesAsArrow),
        )
        if not wanted
    ]
    return lambda kind: any(fits(kind) for fits in switched_off)


def _pieces(table: pa.Table) -> list[pa.Table]:
    if table.nbytes <= BATCH_BYTES or table.num_rows <= 1:
        return [table]
    half = table.num_rows // 2
    return _pieces(table.slice(0, half)) + _pieces(table.slice(half))


def _column(column: pa.ChunkedArray) -> Any:
    values = column.to_pylist()
    nulls = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        if value is None:
            nulls[index >> 3] |= 1 << (index & 7)
    for fits, name, carrier, filler, convert in _CARRIERS:
        if fits(column.type):
            filled = [filler if value is None else convert(value) for value in values]
            return T.TColumn(**{name: carrier(values=filled, nulls=bytes(nulls))})
    texts = ["" if value is None else str(value) for value in values]
    return T.TColumn(stringVal=T.TStringColumn(values=texts, nulls=bytes(nulls)))
