"""Rows as a bank's history holds them, and the dirt that real history has."""

from typing import Any

import numpy as np
import numpy.typing as npt

from model.training.simulation.payments import DAY_SECONDS, Payments, Scenario
from model.training.simulation.settings import SimulationSettings

MISSING_ID = -999_999  # what the bank's history holds where an id is unknown
RESENT_UNCHANGED_SHARE = 0.5
RESENT_AMOUNT_RISE = (0.1, 0.5)
RESENT_DELAY_MAX_S = 600

Columns = dict[str, npt.NDArray[Any]]


def to_columns(settings: SimulationSettings, payments: Payments, *, day: int, first_id: int) -> Columns:
    """Return the payments of a day as columns of a history."""
    second = payments.second + day * DAY_SECONDS
    midnight = np.datetime64(settings.start, "us")
    return {
        "transaction_id": first_id + np.arange(len(payments)),
        "tx_datetime": midnight + second.astype("timedelta64[s]"),
        "customer_id": payments.customer,
        "terminal_id": payments.terminal,
        "tx_amount": payments.amount,
        "tx_time_seconds": second,
        "tx_time_days": np.full(len(payments), day),
        "tx_fraud": (payments.scenario != Scenario.HONEST).astype(np.int64),
        "tx_fraud_scenario": payments.scenario,
    }


def make_dirty(rng: np.random.Generator, columns: Columns, share: float) -> Columns:
    """Return the rows with each kind of dirt on `share` of them; a clean value is never changed."""
    dirty = _lose_values(rng, columns, share)
    sent_again = rng.random(len(dirty["transaction_id"])) < share
    sent_again &= dirty["transaction_id"] != MISSING_ID  # a lost id cannot be repeated
    again = _send_again(rng, {name: values[sent_again] for name, values in dirty.items()})
    joined = {name: np.concatenate([values, again[name]]) for name, values in dirty.items()}
    order = np.argsort(joined["tx_time_seconds"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def _lose_values(rng: np.random.Generator, columns: Columns, share: float) -> Columns:
    rows = len(columns["transaction_id"])
    time_lost, id_lost = rng.random((2, rows)) < share
    column = rng.integers(3, size=rows)
    lost = {"tx_datetime": np.where(time_lost, np.datetime64("NaT", "us"), columns["tx_datetime"])}
    for number, name in enumerate(("transaction_id", "customer_id", "terminal_id")):
        lost[name] = np.where(id_lost & (column == number), MISSING_ID, columns[name])
    return {**columns, **lost}


def _send_again(rng: np.random.Generator, columns: Columns) -> Columns:
    """Return the rows once more under the same transaction ids: unchanged, or later the same day for more money."""
    rows = len(columns["transaction_id"])
    left_s = DAY_SECONDS - 1 - columns["tx_time_seconds"] % DAY_SECONDS
    delay_s = np.minimum(rng.integers(1, RESENT_DELAY_MAX_S, rows, endpoint=True), left_s)
    rise = 0.01 + columns["tx_amount"] * rng.uniform(*RESENT_AMOUNT_RISE, rows)  # a cent at least, so that it shows
    changed = (rng.random(rows) >= RESENT_UNCHANGED_SHARE) & (delay_s > 0)
    delay_s = np.where(changed, delay_s, 0)
    return {
        **columns,
        "tx_datetime": columns["tx_datetime"] + delay_s.astype("timedelta64[s]"),
        "tx_time_seconds": columns["tx_time_seconds"] + delay_s,
        "tx_amount": np.where(changed, np.round(columns["tx_amount"] + rise, 2), columns["tx_amount"]),
    }
