"""Small banks for the tests of the simulator, and a way to read what it wrote."""

from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model.training.simulation import SimulationSettings, simulate

TINY = SimulationSettings(customers=200, terminals=300, days=4, seed=7)
DENSE = SimulationSettings(customers=400, terminals=60, days=40, seed=3, radius=100.0, takeovers_before_start=False)
ID_COLUMNS = ("transaction_id", "customer_id", "terminal_id")
UNKNOWN_ID = -999_999

Rows = dict[str, npt.NDArray[Any]]


def day_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("transactions-*.parquet"))


def day_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in day_files(folder)}


def read_rows(folder: Path) -> Rows:
    table = pa.concat_tables([pq.read_table(path) for path in day_files(folder)])
    return {name: table[name].to_numpy() for name in table.column_names}


def history(settings: SimulationSettings, folder: Path) -> Rows:
    simulate(settings, folder, progress=False)
    return read_rows(folder)
