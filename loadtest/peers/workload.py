"""The payments that are asked about, and the same as ready rows of features for servers that take only those."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import lightgbm as lgb
import numpy as np

from loadtest.peers.catalogue import ROOT
from loadtest.peers.processes import run_command
from model.bundle import read_snapshot
from model.features import build_features
from model.registry import CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, RegistryError, open_reader, registry_uri
from model.settings import Settings, load_settings
from model.statistics import HOUR, Snapshot
from model.transaction import IdHasher, Transactions, canonical_id

PAYMENTS = 1000
UNKNOWN_EVERY = 50  # one payment in so many is of a customer whom nobody has seen before
BANK_SECONDS = 1800

Payment = dict[str, Any]


class WorkloadError(RuntimeError):
    """There is no bank to measure with."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What all servers are given.

    Attributes
    ----------
    folder
        Holds `model.txt`, `statistics.json` and one `<kind>.jsonl` of bodies for each kind of server.
    scores
        The probability that the model gives each payment, in the order of the bodies.
    """

    folder: Path
    scores: tuple[float, ...]
    features: int
    trees: int
    leaves: int

    def bodies(self, kind: str) -> Path:
        """Return the file with the bodies of a kind."""
        return self.folder / f"{kind}.jsonl"


def demo_bank(folder: Path, *, trees: int, leaves: int) -> Path:
    """Return the folder of a small bank with a champion of this size, made if it is not there yet.

    Raises
    ------
    WorkloadError
        If it cannot be made.
    """
    bank = folder / "demo"
    if (bank / "trained.json").is_file():
        return bank
    command = [sys.executable, "-m", "antifraud", "run", "--once", "--port", "0", "--work-folder", str(folder)]
    variables = clean_variables() | {"FRAUD_TREES": str(trees), "FRAUD_LEAVES": str(leaves)}
    try:
        done = run_command(command, seconds=BANK_SECONDS, folder=ROOT, variables=variables)
    except subprocess.TimeoutExpired:
        raise WorkloadError(f"the bank was not ready after {BANK_SECONDS} s") from None
    if done.returncode:
        raise WorkloadError(f"the bank cannot be made: {done.stderr.strip()[-300:]}")
    return bank


def clean_variables() -> dict[str, str]:
    """Return the environment without what would change the service or slow a start."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FRAUD_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def make_workload(bank: Path, folder: Path) -> Workload:
    """Write everything the servers need of a bank's champion into a folder.

    Raises
    ------
    WorkloadError
        If the bank has no champion or no history, or they are damaged or of another version of the code.
    """
    try:
        return _make_workload(bank, folder)
    except (RegistryError, ValueError, duckdb.Error) as error:
        raise WorkloadError(f"bank {bank.name}: {error}; remove its folder to make another") from error


def _make_workload(bank: Path, folder: Path) -> Workload:
    settings = load_settings(work_folder=bank, id_key_file=bank / "id.key")
    model, snapshot = _download(settings, folder)
    text = model.read_text(encoding="utf-8")
    (folder / "model.txt").write_text(text, encoding="utf-8")
    hasher = settings.id_hasher()
    payments = _payments(bank / "history", snapshot)
    rows = _rows(payments, snapshot, hasher)
    _write_statistics(folder / "statistics.json", payments, snapshot, hasher)
    _write_bodies(folder, payments, rows.tolist())
    booster = lgb.Booster(model_str=text)
    scores = np.asarray(booster.predict(rows, num_threads=1)).tolist()
    return Workload(
        folder, tuple(scores), features=rows.shape[1], trees=booster.num_trees(), leaves=_most_leaves(booster)
    )


def _most_leaves(booster: lgb.Booster) -> int:
    return max(int(tree["num_leaves"]) for tree in booster.dump_model()["tree_info"])


def _download(settings: Settings, folder: Path) -> tuple[Path, Snapshot]:
    """Return the champion's text and the current statistics; downloaded once for each version."""
    reader = open_reader(registry_uri(settings))
    folders = []
    for name, alias in ((MODEL_NAME, CHAMPION), (STATISTICS_NAME, CURRENT)):
        version = reader.resolve(name, alias)
        target = folder / f"{name}-{version.version}"
        if not target.is_dir():
            reader.download(version, target)
        folders.append(target)
    snapshot = read_snapshot(folders[1], id_key_fingerprint=settings.id_hasher().fingerprint)
    return folders[0] / "model.txt", snapshot


def _payments(history: Path, snapshot: Snapshot) -> list[Payment]:
    """Return payments of the history's last days at their own time of day, on the first day after the statistics."""
    rows = duckdb.execute(
        f"""
        SELECT transaction_id, epoch(tx_datetime)::BIGINT, customer_id, terminal_id, tx_amount
        FROM read_parquet(?) WHERE tx_amount > 0 ORDER BY tx_datetime DESC, transaction_id LIMIT {PAYMENTS}
        """,
        [str(history / "*.parquet")],
    ).fetchall()
    start = snapshot.as_of_hour * HOUR
    return [_payment(place, row, start) for place, row in enumerate(rows)]


def _payment(place: int, row: tuple[Any, ...], start: int) -> Payment:
    transaction, seconds, customer, terminal, amount = row
    moment = datetime.fromtimestamp(start + seconds % (24 * HOUR), UTC)
    return {
        "transaction_id": transaction,
        "tx_datetime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "customer_id": customer if (place + 1) % UNKNOWN_EVERY else f"new-{place}",
        "terminal_id": terminal,
        "tx_amount": amount,
    }


def _rows(payments: list[Payment], snapshot: Snapshot, hasher: IdHasher) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the features of the payments as the service computes them, float64 (n, 61)."""
    seconds = [int(datetime.fromisoformat(one["tx_datetime"]).timestamp()) for one in payments]
    transactions = Transactions(
        np.array(seconds, dtype=np.int64), np.array([one["tx_amount"] for one in payments], dtype=np.float64)
    )
    sums = snapshot.lookup(
        np.array([hasher.customer(_canonical(one["customer_id"])) for one in payments], dtype=np.int64),
        np.array([hasher.terminal(_canonical(one["terminal_id"])) for one in payments], dtype=np.int64),
    )
    return build_features(transactions, sums)


def _canonical(raw: object) -> str:
    text = canonical_id(raw)
    if text is None:
        raise WorkloadError("the history has a payment without a usable id")
    return text


def _write_statistics(path: Path, payments: list[Payment], snapshot: Snapshot, hasher: IdHasher) -> None:
    """Write the sums of the payments' customers and terminals by raw id; ids that are not known are left out."""
    tables = {
        "customer": _sums_by_id((one["customer_id"] for one in payments), snapshot.customer, hasher.customer),
        "terminal": _sums_by_id((one["terminal_id"] for one in payments), snapshot.terminal, hasher.terminal),
    }
    path.write_text(json.dumps(tables), encoding="utf-8")


def _sums_by_id(ids: Iterable[object], statistics: Any, hash_id: Any) -> dict[str, list[float]]:
    texts = sorted({_canonical(one) for one in ids})
    sums = statistics.lookup(np.array([hash_id(text) for text in texts], dtype=np.int64))
    return {text: row for text, row in zip(texts, sums.tolist(), strict=True) if not math.isnan(row[0])}


def _write_bodies(folder: Path, payments: list[Payment], rows: list[list[float]]) -> None:
    gaps = [[None if math.isnan(number) else number for number in row] for row in rows]
    _write_lines(folder / "payments.jsonl", payments)
    _write_lines(folder / "mlserver.jsonl", ({"inputs": [_tensor(row)]} for row in gaps))
    # Of null MLflow makes an array of objects, which LightGBM rounds to 32 bits; NaN is no JSON, but it takes it.
    _write_lines(folder / "mlflow.jsonl", ({"inputs": [row]} for row in rows))
    _write_lines(folder / "bentoml.jsonl", ({"rows": [row]} for row in gaps))


def _tensor(row: list[float | None]) -> dict[str, Any]:
    return {"name": "features", "shape": [1, len(row)], "datatype": "FP64", "data": row}


def _write_lines(path: Path, documents: Iterable[object]) -> None:
    lines = (json.dumps(one, separators=(",", ":")) for one in documents)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
