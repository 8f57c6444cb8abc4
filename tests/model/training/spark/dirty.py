"""Random histories with all the dirt that real ones have, in files of every kind; the same for the same seed."""

import gzip
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.model.training.histories import DAY, START, Row, csv_text, moment, payment, write_csv

ODD_IDS = ["", " ", "-999999", "-999999.0", " -999999 ", "7.0", "7.5", "007", "x" * 129, 'a,"b"', "7\t", "é", "\u2028"]
ODD_TIMES = [
    "", "2026-03-02", "2026-03-02T13:30Z", "2026-03-02 15:30:15+0200", "2026-03-02T15:30:15+02:00", "infinity",
    "2026-03-02T13:30:15.999999999Z", "2026-02-30 13:30:15", "02.03.2026 13:30", "1989-12-31 23:59:59",
    "2100-01-01 00:00:00", "  2026-03-05 13:30:15\t", "2026-3-5 1:2:3", "2026/03/05 13:30:15", "1772458215",
    "2026-03-02 25:30:15", "2026-03-02 08:00:15-05:30", "290000-01-01 00:00:00", "2026-03-02 13:30:15 Europe/Berlin",
]  # fmt: skip
ODD_AMOUNTS = [
    "",
    " 12.5 ",
    "1e2",
    "-3",
    "12,5",
    "x",
    "nan",
    "inf",
    "1e13",
    "1_000",
    "0x10",
    ".5",
    "5.",
    "-0.0",
    "1e400",
]
ODD_LABELS = ["", "NaN", "null", "True", "false", "0.0", "1.0", "0.7", "2", "yes", "-1", " 1 "]
ODD_SCENARIOS = ["", "1.5", "2.5", "x", "99999999999999999999", " 3 ", "1e1"]
ODD_LINES = [
    b"", b"   ", b"?", b'"', b"4,2026-03-02 00:04:00,7", b"4,2026-03-02 00:04:00,7,8,12.5,0,0,,extra", b"\xff\xfe",
    b'4,"2026-03-02 00:04:00,7,8,12.5,0,0,', b"5,2026-03-02 00:04:00,\xff,8,12.5,0,0,", b"a\x01b", b"\x01", b"\x00",
    b'"6","2026-03-02 00:04:00","7","8","12.5","0","0",""', b"7,2026-03-02 00:04:00,7,8,12.5,0,0,\x01", b"\xed\xa0\x80",
    b"\xef\xbb\xbf8,2026-03-02 00:04:00,7,8,12.5,0,0,", b'9,2026-03-02 00:04:00,"a""b",8,12.5,0,0,', b"x" * 2_000_100,
    b"transaction_id,tx_datetime,customer_id,terminal_id,tx_amount,tx_fraud,tx_fraud_scenario,report_datetime",
]  # fmt: skip


def write_dirty(folder: Path, seed: int, *, rows: int = 150) -> Path:
    """Write CSV, compressed CSV and Parquet of several types into a folder, and return it."""
    rng = random.Random(seed)  # noqa: S311
    write_lines(rng, folder / "a.csv", rows)
    write_lines(rng, folder / "b with blank.csv.gz", rows)
    for number in range(3):
        write_typed(rng, folder / f"date=2026-03-0{number + 2}" / f"{number}.parquet", rows)
    return folder


def write_lines(rng: random.Random, path: Path, rows: int) -> None:
    """Write text of which many a value and many a line are not what they should be."""
    end = rng.choice([b"\n", b"\r\n"])
    written = [_row(rng) | _odd_text(rng) for _ in range(rows)]
    lines = csv_text(written, quoting=rng.choice([0, 1])).encode().splitlines()
    for _ in range(rows // 5):
        lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(ODD_LINES))
    body = rng.choice([b"", b"\xef\xbb\xbf"]) + end.join(lines) + rng.choice([b"", end])
    write_csv(path, gzip.decompress(gzip.compress(body)))


def write_typed(rng: random.Random, path: Path, rows: int) -> None:
    """Write Parquet in which columns have one of the types that banks write."""
    written = [_row(rng) | _missing(rng) for _ in range(rows)]
    columns = {name: _typed(rng, name, [row[name] for row in written]) for name in written[0]}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _row(rng: random.Random) -> Row:
    fraud = rng.random() < 0.2
    seconds = START + rng.randrange(3 * DAY)
    return payment(
        rng.randrange(400),  # so that many are repeated
        tx_datetime=moment(seconds),
        customer_id=rng.randrange(12),
        terminal_id=0 if rng.random() < 0.8 else rng.randrange(6),
        tx_amount=rng.choice([round(rng.uniform(0, 300), 2), rng.uniform(0, 300), 0.285, 1e12, 0.0]),
        tx_fraud=int(fraud),
        tx_fraud_scenario=rng.choice([0, 1, 2]),
        report_datetime=moment(seconds + rng.randrange(-DAY, 5 * DAY)) if fraud and rng.random() < 0.5 else None,
    )


def _odd_text(rng: random.Random) -> Row:
    odd = {
        **dict.fromkeys(("transaction_id", "customer_id", "terminal_id"), ODD_IDS),
        **dict.fromkeys(("tx_datetime", "report_datetime"), ODD_TIMES),
        "tx_amount": ODD_AMOUNTS,
        "tx_fraud": ODD_LABELS,
        "tx_fraud_scenario": ODD_SCENARIOS,
    }
    return {name: rng.choice(values) for name, values in odd.items() if rng.random() < 0.06}


def _missing(rng: random.Random) -> Row:
    names = ["transaction_id", "customer_id", "terminal_id", "tx_datetime", "tx_amount", "tx_fraud"]
    row: Row = {name: None for name in names if rng.random() < 0.03}
    return row | {name: -999_999 for name in names[:3] if rng.random() < 0.03}


def _typed(rng: random.Random, name: str, values: list[Any]) -> pa.Array:
    if name.endswith("_id"):
        kind = rng.choice([pa.int64(), pa.int32(), pa.float64(), pa.string(), pa.decimal128(12, 2)])
        if pa.types.is_string(kind):
            values = [None if value is None else rng.choice(["{}", " {} ", "{}.0"]).format(value) for value in values]
    elif name.endswith("_datetime"):
        units = [pa.timestamp(unit, zone) for unit in ("ms", "us", "ns") for zone in (None, "UTC", "Europe/Berlin")]
        kind = rng.choice([*units, pa.string()])
        if pa.types.is_string(kind):
            values = [None if value is None else rng.choice([str(value), *ODD_TIMES]) for value in values]
        elif kind.tz:
            values = pa.array(values, pa.timestamp("us")).cast(pa.timestamp(kind.unit)).cast(pa.int64())
    elif name == "tx_amount":
        kind = rng.choice([pa.float64(), pa.float32(), pa.decimal128(20, 4)])
        odd: list[Any] = [float("nan"), float("inf"), -1.0, 1e13] if pa.types.is_floating(kind) else [-1.0]
        values = [rng.choice(odd) if rng.random() < 0.05 else value for value in values]
        if pa.types.is_decimal(kind):
            values = [None if value is None else Decimal(f"{value:.4f}") for value in values]
    elif name == "tx_fraud":
        kind = rng.choice([pa.int64(), pa.int8(), pa.float64(), pa.bool_()])
        of_kind: dict[Any, list[Any]] = {pa.float64(): [float("nan"), 0.4], pa.bool_(): [None]}
        labels = of_kind.get(kind, [2, -1])
        values = [rng.choice(labels) if rng.random() < 0.05 else value for value in values]
        if pa.types.is_boolean(kind):
            values = [None if value is None else bool(value) for value in values]
    else:
        kind = rng.choice([pa.int64(), pa.int32(), pa.float64()])
    return pa.array(values, kind) if not isinstance(values, pa.Array) else values.cast(kind)
