"""The SQL of a refresh must mean the same to every engine, and the same as the tiles that training adds up."""

from pathlib import Path

import duckdb
import pytest

from model.statistics import ENTITIES, SUM_COLUMNS, snapshot_sql, windows_of
from model.training.refresh.chosen import rendered
from model.training.refresh.rings import rings_sql, tiles_of_rings_sql
from model.training.reports import judged_sql, verdicts_sql
from tests.model.test_sql import foreign
from tests.model.training.histories import START, moment, payment, prepared, write_parquet

AS_OF = START // 3600 + 2
QUERIES = {
    **{f"events of a {entity}": rendered("events", entity=entity, transactions="transactions") for entity in ENTITIES},
    **{f"rings of {e}s": rings_sql(e, tiles="events", as_of_hour=490_000) for e in ENTITIES},
    "changed rings": rendered("changed_rings", rings="rings", came="came", gone="gone"),
    **{f"tiles of rings of {e}s": tiles_of_rings_sql(e, rings="rings", as_of_hour=490_000) for e in ENTITIES},
    "judged": judged_sql(),
    "verdicts": verdicts_sql(reports="reports"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_sql_holds_nothing_that_only_one_engine_understands(name: str) -> None:
    assert [word for word in foreign(QUERIES[name]) if word != "Min"] == []  # MIN is as common as MAX


@pytest.mark.parametrize("entity", ENTITIES)
def test_events_add_up_to_tiles(entity: str, tmp_path: Path) -> None:
    rows = [payment(number, customer_id=number % 3, tx_fraud=number % 2) for number in range(1, 200)]
    with prepared(write_parquet(tmp_path / "h.parquet", rows)) as (connection, _):
        events = rendered("events", entity=entity, transactions="transactions")
        sums = ", ".join(f"SUM({name})" for name in ("transactions", "amount", "amount_squared", "reports"))
        query = f"SELECT key, hour, {sums} FROM ({events}) AS events GROUP BY key, hour ORDER BY key, hour"
        tiles = connection.execute(f"SELECT * FROM {entity}_tiles ORDER BY key, hour").fetchall()
        assert connection.execute(query).fetchall() == tiles


@pytest.mark.parametrize("entity", ENTITIES)
def test_rings_give_the_sums_of_hourly_tiles_at_every_edge_of_a_window(entity: str, tmp_path: Path) -> None:
    ages = [hour + shift for hour in (0, *windows_of(entity).values()) for shift in (-1, 0, 1)]
    rows = [payment(n, tx_datetime=moment((AS_OF - age) * 3600), tx_fraud=1) for n, age in enumerate(ages)]
    with prepared(write_parquet(tmp_path / "h.parquet", rows), label_delay=5 * 3600) as (connection, _):
        rings = f"({rings_sql(entity, tiles=f'{entity}_tiles', as_of_hour=AS_OF)}) AS rings"
        connection.execute(f"CREATE VIEW rings AS {tiles_of_rings_sql(entity, rings=rings, as_of_hour=AS_OF)}")
        from_rings, from_tiles = (
            connection.execute(snapshot_sql(entity, tiles=tiles, as_of_hour=AS_OF)).fetchall()
            for tiles in ("rings", f"{entity}_tiles")
        )
    assert from_rings == from_tiles
    known = dict(zip(("key", *SUM_COLUMNS[entity]), from_rings[0], strict=True))
    # Of each edge the hour before it is within, and the hour of the youngest and two of the oldest lie outside.
    assert known["transactions_30d"] == len(ages) - 3


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ([(1, 10)], (1, 10)),
        ([(1, 20), (1, 10)], (1, 10)),
        ([(0, 10)], (0, None)),
        ([(1, 10), (0, 10)], (0, None)),
        ([(1, 10), (0, 20), (1, 30), (1, 40)], (1, 30)),
        ([(1, 10), (0, 20), (1, 15), (0, 5)], (0, None)),
    ],
)
def test_a_verdict_is_the_first_report_after_the_last_withdrawal(
    lines: list[tuple[int, int]], verdict: tuple[int, int | None]
) -> None:
    for order in (lines, lines[::-1]):
        values = ", ".join(f"(7, {label}, {at}), (8, 1, 1)" for label, at in order)
        reports = f"(VALUES {values}) AS reports (transaction_id, tx_fraud, report_seconds)"
        found = duckdb.execute(verdicts_sql(reports=reports)).fetchall()
        assert (7, *verdict) in found
        assert len(found) == 2
