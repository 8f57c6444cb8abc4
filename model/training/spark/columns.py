"""Columns of Parquet in the one shape of `model.training.reading`, as far as Spark's own expressions mean the same.

What engines read in different ways (moments as text, ids with a decimal point, decimals) is left as it is; tasks bring
it to shape with the very expressions that DuckDB runs elsewhere.
"""

import pyarrow as pa
import pyarrow.types as pat
from pyspark.sql import types

from model.training.reading import is_text

_WHITE = r"' \t\r\n'"
_INFINITE = "(9223372036854775807, -9223372036854775807)"  # counts that DuckDB takes for no moment at all
_PLAIN = {
    pa.int8(): types.ByteType(),
    pa.int16(): types.ShortType(),
    pa.int32(): types.IntegerType(),
    pa.int64(): types.LongType(),
    pa.uint8(): types.ShortType(),
    pa.uint16(): types.IntegerType(),
    pa.uint32(): types.LongType(),
    pa.uint64(): types.DecimalType(20, 0),
    pa.bool_(): types.BooleanType(),
    pa.float32(): types.FloatType(),
    pa.float64(): types.DoubleType(),
    pa.string(): types.StringType(),
    pa.large_string(): types.StringType(),
}


class UnknownTypeError(ValueError):
    """A column of Parquet has a type that Spark cannot read."""


def spark_type(kind: pa.DataType) -> types.DataType:
    """Return the type as which Spark reads a column of Parquet.

    Raises
    ------
    UnknownTypeError
        If it has none.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if pat.is_timestamp(kind):
        return types.LongType() if kind.unit == "ns" else types.TimestampType()
    if pat.is_decimal128(kind):
        return types.DecimalType(kind.precision, kind.scale)
    raise UnknownTypeError(f"{kind} is no type that Spark reads")


def expression(name: str, kind: pa.DataType) -> str | None:
    """Return Spark's expression for a column in the one shape; None where a task has to bring it there."""
    if name.endswith("_id"):
        return _id(name, kind)
    if name.endswith("_datetime"):
        return _seconds(name, kind)
    if name == "tx_fraud":
        return _label(name, kind)
    if pat.is_null(kind):
        return f"CAST(NULL AS {'DOUBLE' if name == 'tx_amount' else 'BIGINT'})"
    if name == "tx_amount" and (pat.is_integer(kind) or pat.is_float32(kind) or pat.is_float64(kind)):
        return f"CAST({name} AS DOUBLE)"
    return f"TRY_CAST({name} AS BIGINT)" if name != "tx_amount" and pat.is_integer(kind) else None


def _id(name: str, kind: pa.DataType) -> str | None:
    if pat.is_null(kind):
        return "CAST(NULL AS STRING)"
    if pat.is_integer(kind):
        return f"CAST({name} AS STRING)"
    return f"TRIM(BOTH {_WHITE} FROM {name})" if is_text(kind) else None


def _seconds(name: str, kind: pa.DataType) -> str | None:
    if pat.is_null(kind):
        return "CAST(NULL AS BIGINT)"
    if not pat.is_timestamp(kind):
        return None
    count, a_second = (name, 10**9) if kind.unit == "ns" else (f"UNIX_MICROS({name})", 10**6)
    return f"CASE WHEN {count} NOT IN {_INFINITE} THEN {count} DIV {a_second} END"


def _label(name: str, kind: pa.DataType) -> str | None:
    if pat.is_null(kind):
        return "CAST(NULL AS INT)"
    if pat.is_boolean(kind):
        return f"CAST({name} AS INT)"
    if pat.is_integer(kind):
        return f"CASE WHEN {name} IN (0, 1) THEN CAST({name} AS INT) WHEN {name} IS NOT NULL THEN -1 END"
    if pat.is_float32(kind) or pat.is_float64(kind):
        judged = f"WHEN {name} = 0 THEN 0 WHEN {name} = 1 THEN 1 WHEN {name} IS NOT NULL THEN -1"
        return f"CASE WHEN ISNAN({name}) THEN NULL {judged} END"
    return None
