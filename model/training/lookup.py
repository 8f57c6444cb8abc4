"""The statistics of one entity at the moments of transactions, looked up in its tiles."""

from pathlib import Path
from string import Template

import duckdb

from model import statistics
from model.statistics import LONGEST_WINDOW, SUMS, WINDOWS, point_in_time_sql

_OF_FEW = Path(statistics.__file__).parent / "sql" / "point_in_time_of_few.sql"


def create_sums(
    connection: duckdb.DuckDBPyConnection, entity: str, *, asked: str, tiles: str, are_few: bool = False
) -> None:
    """Make the table `<entity>_sums`: the statistics of each key and hour that transactions ask for.

    Parameters
    ----------
    asked
        Table of transactions with `as_of_hour`, the hour of the last refresh before each.
    tiles
        Condition for the tiles that matter.
    are_few
        Whether there are far fewer transactions than tiles; it changes the time this takes and nothing else.
    """
    query = (point_in_time_of_few_sql if are_few else point_in_time_sql)(
        entity,
        tiles=f"(SELECT * FROM {entity}_tiles WHERE {tiles}) AS tiles",
        points=f"(SELECT DISTINCT {entity}_key AS key, as_of_hour AS hour FROM {asked}) AS points",
    )
    connection.execute(f"CREATE OR REPLACE TABLE {entity}_sums AS {query}")


def point_in_time_of_few_sql(entity: str, *, tiles: str, points: str) -> str:
    """Return a query with the answer of `model.statistics.point_in_time_sql`, by a join; the tables go by their names.

    Parameters
    ----------
    tiles, points
        As there, called `tiles` and `points`.
    """
    sums = [
        f"CAST(SUM(CASE WHEN tiles.hour >= points.hour - {one.hours} THEN tiles.{one.quantity} ELSE 0 END) AS DOUBLE)"
        f" AS {one.column}"
        for one in SUMS[entity]
    ]
    return Template(_OF_FEW.read_text(encoding="utf-8")).substitute(
        tiles=tiles, points=points, sums=",\n    ".join(sums), longest=WINDOWS[LONGEST_WINDOW]
    )
