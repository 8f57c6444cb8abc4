"""The work splits by key: nothing runs over all rows at one place, however many there are and however skewed."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from model.statistics import ENTITIES, snapshot_sql, tiles_sql
from model.training.prepare import cleaning_sql
from tests.model.training.histories import DAY, HASHER, payment, write_parquet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def session(spark: "SparkSession", tmp_path: Path) -> "SparkSession":
    """A session with the tables of a history of which one terminal takes most payments."""
    from model.training.history import open_history
    from model.training.spark.reading import history_rows
    from model.training.spark.session import MEANING

    rows = [payment(i, customer_id=i % 97, terminal_id=0 if i % 10 else i % 7) for i in range(4000)]
    for number in range(4):
        write_parquet(tmp_path / f"{number}.parquet", rows[number * 1000 : (number + 1) * 1000])
    own = spark.newSession()
    for name, value in MEANING.items():
        own.conf.set(name, value)
    own.conf.set("spark.sql.shuffle.partitions", "4")
    history_rows(own, open_history(tmp_path)).createOrReplaceTempView("history")
    return own


def keys(session: "SparkSession", *, limit: int) -> None:
    from model.training.spark.prepare import _hash_ids

    for entity in ENTITIES:
        _hash_ids(session, entity, HASHER, limit)


def tables(session: "SparkSession") -> dict[str, "DataFrame"]:
    """Return every table of cleaning and statistics, none of them computed yet."""
    queries = {
        **cleaning_sql(label_delay_seconds=DAY),
        **{f"{entity}_tiles": tiles_sql(entity, transactions="transactions") for entity in ENTITIES},
        **{f"{e}_statistics": snapshot_sql(e, tiles=f"{e}_tiles", as_of_hour=500_000) for e in ENTITIES},
    }
    found = {}
    for name, query in queries.items():
        found[name] = session.sql(query)
        found[name].createOrReplaceTempView(name)
    return found


def plan(frame: "DataFrame", *, final: bool = False) -> str:
    """Return the physical plan: as adaptive execution finds it, or as it became once it had run."""
    execution = frame._jdf.queryExecution()
    if not final:
        return str(execution.executedPlan().toString())
    frame.collect()
    return str(execution.executedPlan().toString())


def test_no_table_is_made_at_one_place(session: "SparkSession") -> None:
    keys(session, limit=1000)
    for name, frame in tables(session).items():
        found = plan(frame)
        assert "SinglePartition" not in found, name
        assert "BroadcastNestedLoopJoin" not in found, name
        assert "CartesianProduct" not in found, name
        assert "NullAwareAntiJoin" not in found, name
        windows = re.findall(r"\n[^\n]*\bWindow \[(.*)\]", found)
        # What a window is split by stands in the second pair of brackets.
        assert all(re.search(r"\], \[[a-z_]+#", window) for window in windows), name
        assert bool(windows) == (
            name in ("first_of_repeated", "transactions") or name.endswith(("tiles", "statistics"))
        )


@pytest.mark.parametrize("entity", ENTITIES)
def test_sums_of_a_key_are_added_up_before_rows_move(session: "SparkSession", entity: str) -> None:
    keys(session, limit=1000)
    found = plan(tables(session)[f"{entity}_tiles"])
    partial, final = found.index("partial_sum(transactions"), found.index("HashAggregate(keys=[key")
    between = found[final:partial]
    # A plan reads from its end: rows are summed up in place, then move by key and hour, then are summed up again.
    assert re.search(r"functions=\[sum\(.*\n.*Exchange hashpartitioning\(key#\d+L, hour#\d+L", between)
    assert "ObjectHashAggregate" not in found
    assert "SortAggregate" not in found


def test_few_ids_go_to_the_rows_and_no_row_moves(session: "SparkSession") -> None:
    keys(session, limit=1000)
    found = plan(tables(session)["classified"], final=True)
    assert found.count("BroadcastHashJoin") >= len(ENTITIES)
    assert "SortMergeJoin" not in found
    assert "Exchange hashpartitioning(customer_id" not in found


def test_of_many_ids_rows_move_by_key_and_a_key_with_too_many_is_split(session: "SparkSession") -> None:
    for name, value in {
        "spark.sql.autoBroadcastJoinThreshold": "-1",
        "spark.sql.adaptive.autoBroadcastJoinThreshold": "-1",
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "4KB",
        "spark.sql.adaptive.coalescePartitions.minPartitionSize": "1KB",
        "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "4KB",
        "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "1.5",
        "spark.sql.adaptive.forceOptimizeSkewedJoin": "true",
    }.items():
        session.conf.set(name, value)
    keys(session, limit=0)
    classified = tables(session)["classified"]
    found = plan(classified, final=True)
    assert "SortMergeJoin(skew=true)" in found
    assert "BroadcastHashJoin" not in found
    assert classified.count() == 4000
    assert classified.where("cause IS NOT NULL").count() == 0
