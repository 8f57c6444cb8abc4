"""The SQL that cleaning and statistics share must mean the same to every engine that is to run it."""

import re

import pytest
import sqlglot
from sqlglot import exp

from model.statistics import ENTITIES, point_in_time_sql, snapshot_sql, tiles_sql
from model.training.prepare import cleaning_sql

QUERIES = {
    **{f"tiles of a {entity}": tiles_sql(entity, transactions="transactions") for entity in ENTITIES},
    **{f"snapshot of {e}s": snapshot_sql(e, tiles=f"{e}_tiles", as_of_hour=490_000) for e in ENTITIES},
    **{f"{e}s at points in time": point_in_time_sql(e, tiles=f"{e}_tiles", points="points") for e in ENTITIES},
    **cleaning_sql(label_delay_seconds=86_400),
}
# As sqlglot names them: Spark's CAST is its TryCast, a WHEN its If.
FUNCTIONS = {
    *(
        "And",
        "Case",
        "Cast",
        "Coalesce",
        "Count",
        "Exists",
        "Floor",
        "Greatest",
        "If",
        "Max",
        "Or",
        "RowNumber",
        "Sum",
        "TryCast",
    )
}
TYPES = {"BIGINT", "DOUBLE", "DECIMAL(38, 0)", "DECIMAL(19, 0)"}
NO_STANDARD = (
    r"::|//|\[|\{|\b(exclude|filter|qualify|asof|pivot|all(?<!union all)|try_cast|if(?=\s*\()|lambda|sample)\b"
)
NEVER_NULL = {"key", "hour", "tx_seconds", "customer_key", "terminal_key", "tx_amount", "transaction_id"}


def foreign(query: str) -> list[str]:
    """Return what in a query another engine would refuse, or read in another way."""
    try:
        as_spark, as_duckdb = (_with_settled_nulls(sqlglot.parse_one(query, read=name)) for name in ("spark", "duckdb"))
    except sqlglot.ParseError as error:
        return [str(error)]
    found = [word.group() for word in re.finditer(NO_STANDARD, re.sub("--.*", "", query).lower())]
    found += [type(node).__name__ for node in as_spark.find_all(exp.Func) if type(node).__name__ not in FUNCTIONS]
    found += [node.sql() for node in as_spark.find_all(exp.DataType) if node.sql() not in TYPES]
    if as_spark.sql("spark") != as_duckdb.sql("spark"):
        found.append("another meaning")
    return found


def _with_settled_nulls(query: exp.Expr) -> exp.Expr:
    """Take away the engines' different order of nulls where there are none."""
    for ordered in query.find_all(exp.Ordered):
        if ordered.this.name in NEVER_NULL:
            ordered.set("nulls_first", False)
    return query


@pytest.mark.parametrize("name", QUERIES)
def test_the_sql_holds_nothing_that_only_one_engine_understands(name: str) -> None:
    assert foreign(QUERIES[name]) == []


@pytest.mark.parametrize("name", QUERIES)
def test_no_window_spans_all_rows(name: str) -> None:
    windows = list(sqlglot.parse_one(QUERIES[name], read="spark").find_all(exp.Window))
    # `SUM(x) OVER w` names a window; what it names is a window itself, which must say by what it is split.
    assert all(window.args.get("partition_by") or window.args.get("alias") for window in windows)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT EPOCH(x) FROM t",
        "SELECT x::BIGINT FROM t",
        "SELECT a FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY key) = 1",
        "SELECT * EXCLUDE (a) FROM t",
        "SELECT a, SUM(b) FROM t GROUP BY ALL",
        "SELECT CAST(a AS HUGEINT) FROM t",
        "SELECT a FROM t ASOF JOIN u ON t.a >= u.a",
        "SELECT 7 // 2",
        "SELECT COUNT(*) FILTER (WHERE a) FROM t",
        "SELECT * FROM READ_PARQUET('x')",
        "SELECT ARG_MIN(a, b) FROM t",
        "SELECT IF(a, 1, 2) FROM t",
        "SELECT a FROM t ORDER BY tx_fraud",
        "SELECT a FROM t WHERE",
    ],
)
def test_sql_of_one_engine_is_found_out(query: str) -> None:
    assert foreign(query)
