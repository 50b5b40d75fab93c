"""One number for many rows, computed here and by a warehouse alike: to see that all arrived, none is read back.

A row becomes text: every value with its length or its end, so that no two rows have the same. The first 60 bits of
the text's SHA-256 are the row's number, and the numbers are added up. A value that changed, a row that is missing
or there twice change the sum; that they cancel out has a chance of one in 10^18.

What engines print differently is put into a form of its own: doubles by their bits (xxhash64, which Spark, Photon
and Sail compute alike), decimals near zero by their unscaled number (1E-8 or 0.00000001, by ANSI mode).
"""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dqctl.records import Column, Table, Type
from dqctl.tables.sql import identifier

_DIGITS = 15  # hexadecimal: as many as fit into a BIGINT with room to spare
_NULL = "~"
_NEAR_ZERO = Decimal("0.000001")


@dataclass(frozen=True)
class Digest:
    """How many rows, and the sum of their numbers."""

    rows: int = 0
    total: int = 0

    def __add__(self, other: "Digest") -> "Digest":
        """Both taken together."""
        return Digest(self.rows + other.rows, self.total + other.total)


def of(numbers: Sequence[int]) -> Digest:
    """The digest of rows with these numbers."""
    return Digest(len(numbers), sum(numbers))


def numbers(table: Table, batch: pa.RecordBatch) -> Sequence[int]:
    """The number of each row; the columns are those of ``table``, in order."""
    elements = [_element(column, batch.column(place)) for place, column in enumerate(table.columns)]
    texts = pc.binary_join_element_wise(*elements, "").to_pylist()
    sha256 = hashlib.sha256
    return [int(sha256(text.encode()).hexdigest()[:_DIGITS], 16) for text in texts]


def select(table: Table, relation: str, condition: str) -> str:
    """SQL: the digest of the rows of ``relation`` under ``condition`` as ``v``, an array of two strings."""
    row = f"concat({', '.join(_element_of(column) for column in table.columns)})"
    number = f"CAST(conv(substr(sha2({row}, 256), 1, {_DIGITS}), 16, 10) AS DECIMAL(38,0))"
    return (
        f"SELECT array(CAST(count(*) AS STRING), CAST(coalesce(sum({number}), 0) AS STRING)) AS v "
        f"FROM {relation} WHERE {condition}"
    )


def read(value: Sequence[str | None]) -> Digest:
    """What ``select`` found."""
    rows, total = value
    return Digest(int(rows or 0), int(Decimal(total or 0)))


def _element(column: Column, values: pa.Array) -> pa.Array:
    if column.type is Type.STRING:
        lengths = pc.utf8_length(values).cast(pa.string())
        return pc.fill_null(pc.binary_join_element_wise(lengths, values, ":"), _NULL)
    return pc.fill_null(pc.binary_join_element_wise(_text(column.type, values), "", ";"), _NULL)


def _text(kind: Type, values: pa.Array) -> pa.Array:
    if kind is Type.TIMESTAMP:
        return values.cast(pa.int64()).cast(pa.string())
    if kind is Type.DOUBLE:
        return _doubles(values)
    if kind in (Type.DECIMAL_38_0, Type.DECIMAL_38_6, Type.DECIMAL_38_8):
        return _by_value(values, _decimal)
    return values.cast(pa.string())


def _by_value(values: pa.Array, text: Callable[[Any], str | None]) -> pa.Array:
    """Python for what Arrow has no function for: each value once, however often it is there."""
    encoded = values.dictionary_encode()
    texts = pa.array([text(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _decimal(value: Decimal | None) -> str | None:
    if value is None:
        return None
    if abs(value) < _NEAR_ZERO:
        return f"e{int(value * 10**8)}"
    return format(value, "f")


def _doubles(values: pa.Array) -> pa.Array:
    hashes = _xxhash64(values.view(pa.uint64())).view(pa.int64()).cast(pa.string())
    return pc.case_when(
        pc.make_struct(pc.is_nan(values), pc.equal(values, 0.0), pc.is_valid(values)), "NaN", "0", hashes
    )


def _element_of(column: Column) -> str:
    name = identifier(column.name)
    if column.type is Type.STRING:
        return f"coalesce(concat(CAST(length({name}) AS STRING), ':', {name}), '{_NULL}')"
    return f"coalesce(concat({_text_of(column.type, name)}, ';'), '{_NULL}')"


def _text_of(kind: Type, name: str) -> str:
    if kind is Type.TIMESTAMP:
        return f"CAST(unix_micros({name}) AS STRING)"
    if kind is Type.DOUBLE:
        return (
            f"CASE WHEN {name} IS NULL THEN NULL WHEN isnan({name}) THEN 'NaN' WHEN {name} = 0 THEN '0' "
            f"ELSE CAST(xxhash64({name}) AS STRING) END"
        )
    if kind in (Type.DECIMAL_38_0, Type.DECIMAL_38_6, Type.DECIMAL_38_8):
        return (
            f"CASE WHEN abs({name}) < CAST('{_NEAR_ZERO}' AS {kind}) "
            f"THEN concat('e', CAST(CAST({name} * 100000000 AS BIGINT) AS STRING)) "
            f"ELSE CAST({name} AS STRING) END"
        )
    return f"CAST({name} AS STRING)"


_MASK = (1 << 64) - 1
_PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _xxhash64(bits: pa.Array) -> pa.Array:
    """XXH64 of eight bytes each with Spark's seed of 42; Arrow's numbers are cut to 64 bits as its own are."""
    one, two, three, four, _ = map(_number, _PRIMES)
    seed = _number((42 + _PRIMES[4] + 8) & _MASK)
    found = pc.bit_wise_xor(pc.multiply(_rotated(pc.multiply(bits, two), 31), one), seed)
    found = pc.add(pc.multiply(_rotated(found, 27), one), four)
    found = pc.multiply(_shifted(found, 33), two)
    found = pc.multiply(_shifted(found, 29), three)
    return _shifted(found, 32)


def _shifted(values: pa.Array, places: int) -> pa.Array:
    return pc.bit_wise_xor(values, pc.shift_right(values, _number(places)))


def _rotated(values: pa.Array, places: int) -> pa.Array:
    return pc.bit_wise_or(pc.shift_left(values, _number(places)), pc.shift_right(values, _number(64 - places)))


def _number(value: int) -> pa.Scalar:
    return pa.scalar(value, pa.uint64())
