"""The raw files of a history as Spark's table `history`, in the one shape of `model.training.reading`."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, types

from model.training.history import HistoryError
from model.training.reading import OPTIONAL, REQUIRED, HistoryFile, column_sql, lines_sql
from model.training.spark.batches import END_OF_LINE, INPUT, in_duckdb, lines_in_duckdb
from model.training.spark.columns import UnknownTypeError, expression, spark_type

NAMES = (*REQUIRED, *OPTIONAL)
ROWS = types.StructType(
    [
        types.StructField("readable", types.BooleanType()),
        types.StructField("transaction_id", types.StringType()),
        types.StructField("tx_seconds", types.LongType()),
        types.StructField("customer_id", types.StringType()),
        types.StructField("terminal_id", types.StringType()),
        types.StructField("tx_amount", types.DoubleType()),
        types.StructField("tx_fraud", types.IntegerType()),
        types.StructField("tx_fraud_scenario", types.LongType()),
        types.StructField("report_seconds", types.LongType()),
    ]
)
_LINES = f"(SELECT SPLIT_PART(line, CHR({ord(END_OF_LINE)}), 1) AS line FROM {INPUT})"


def history_rows(spark: SparkSession, files: Sequence[HistoryFile]) -> DataFrame:
    """Return the rows of checked files, columns and meaning as `model.training.reading.history_sql` gives them.

    One difference: lines that are not even text are rows too, with `readable` false.

    Raises
    ------
    HistoryError
        If a file holds a type that Spark does not read, or has a name that Spark passes over.
    """
    groups: dict[tuple[object, ...], list[HistoryFile]] = {}
    for file in files:
        shape = (file.format == "parquet", *((name, str(kind)) for name, kind in file.columns.items()))
        groups.setdefault(shape, []).append(file)
    return reduce(DataFrame.unionAll, [_rows(spark, group) for group in groups.values()])


def url(address: object) -> str:
    """Return an address, or that of a file, as Hadoop writes it: a path is `file://`, S3 is `s3a://`."""
    if isinstance(address, Path):
        return f"file://{address.absolute()}"
    text = str(address)
    return "s3a://" + text.removeprefix("s3://") if text.startswith("s3://") else text


def _rows(spark: SparkSession, files: list[HistoryFile]) -> DataFrame:
    return _parquet(spark, files) if files[0].format == "parquet" else _lines(spark, files)


def _lines(spark: SparkSession, files: list[HistoryFile]) -> DataFrame:
    found = _load(spark, files, "text", types.StructType([types.StructField("value", types.StringType())]))
    # Lines of one task come in the order of its files, so the first of a file's beginning is the file's first.
    lines = found.selectExpr(
        "CAST(value AS BINARY) AS line",
        "CASE WHEN _metadata.file_block_start = 0 THEN XXHASH64(_metadata.file_path) END AS file",
    )
    return lines.mapInArrow(lines_in_duckdb(lines_sql(files[0], lines=_LINES)), ROWS)


def _parquet(spark: SparkSession, files: list[HistoryFile]) -> DataFrame:
    kinds = {name: files[0].columns.get(name, pa.null()) for name in NAMES}
    fields = {name: _field(files[0], name) for name, kind in kinds.items() if not pa.types.is_null(kind)}
    found = _load(spark, files, "parquet", types.StructType(list(fields.values())))
    own = {name: expression(name, kind) for name, kind in kinds.items()}
    rows = found.selectExpr("TRUE AS readable", *(f"{own[name] or name} AS {_target(name)}" for name in NAMES))
    rest = {name: kind for name, kind in kinds.items() if own[name] is None}
    if not rest:
        return rows
    renamed = rows.withColumnsRenamed({_target(name): name for name in rest})
    columns = [
        f"{column_sql(name, rest[name]) if name in rest else _target(name)} AS {_target(name)}" for name in NAMES
    ]
    return renamed.mapInArrow(in_duckdb(f"SELECT readable, {', '.join(columns)} FROM {INPUT}"), ROWS)


def _target(name: str) -> str:
    return name.replace("_datetime", "_seconds")


def _field(file: HistoryFile, name: str) -> types.StructField:
    try:
        return types.StructField(name, spark_type(file.columns[name]))
    except UnknownTypeError as error:
        raise HistoryError(f"history {file.path}: column {name}: {error}; write it as another type") from None


def _load(spark: SparkSession, files: list[HistoryFile], kind: str, schema: types.StructType) -> DataFrame:
    # Names are meant as they are: without this a question mark in one would be a pattern.
    reader = (
        spark.read.format(kind).schema(schema).option("__globPaths__", "false").option("recursiveFileLookup", "true")
    )
    found = reader.load([url(file.path) for file in files])
    if len(found.inputFiles()) != len(files):
        hidden = next((file for file in files if url(file.path).rpartition("/")[2][0] in "._"), files[0])
        raise HistoryError(f"history {hidden.path}: Spark passes over names that begin with . or _; rename the file")
    return found
