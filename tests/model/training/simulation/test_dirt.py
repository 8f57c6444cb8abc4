from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.model.training.simulation.banks import DENSE, ID_COLUMNS, UNKNOWN_ID, Rows, history


@pytest.fixture
def clean(tmp_path: Path) -> Rows:
    return history(replace(DENSE, days=12), tmp_path / "clean")


@pytest.fixture
def dirty(tmp_path: Path) -> Rows:
    return history(replace(DENSE, days=12, dirt=0.1), tmp_path / "dirty")


def seen_before(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which rows repeat a known id of an earlier row."""
    repeated: npt.NDArray[np.bool_] = ids != UNKNOWN_ID
    repeated[np.unique(ids, return_index=True)[1]] = False
    return repeated


def test_clean_history_has_no_dirt(clean: Rows) -> None:
    assert not np.isnat(clean["tx_datetime"]).any()
    assert len(np.unique(clean["transaction_id"])) == len(clean["transaction_id"])
    assert all((clean[name] >= 0).all() for name in ID_COLUMNS)


def test_each_kind_of_dirt_has_the_asked_share(clean: Rows, dirty: Rows) -> None:
    assert np.isnat(dirty["tx_datetime"]).mean() == pytest.approx(0.1, abs=0.015)
    assert len(dirty["tx_amount"]) / len(clean["tx_amount"]) - 1 == pytest.approx(0.1, abs=0.015)
    unknown = np.array([dirty[name] == UNKNOWN_ID for name in ID_COLUMNS])
    assert unknown.any(axis=0).mean() == pytest.approx(0.1, abs=0.015)
    assert (unknown.sum(axis=0) <= 1).all()
    assert unknown.any(axis=1).all()


def test_dirt_changes_nothing_but_the_dirty_fields(clean: Rows, dirty: Rows) -> None:
    first_sent = ~seen_before(dirty["transaction_id"])
    for name, values in dirty.items():
        kept, original = values[first_sent], clean[name]
        dirtied = kept == UNKNOWN_ID if name in ID_COLUMNS else np.isnat(kept.astype("datetime64[us]"))
        assert len(kept) == len(original)
        assert (kept[~dirtied] == original[~dirtied]).all()


def test_a_repeated_id_comes_later_the_same_day_as_the_same_row_or_for_more_money(dirty: Rows) -> None:
    again = np.flatnonzero(seen_before(dirty["transaction_id"]))
    first = {int(number): row for row, number in reversed(list(enumerate(dirty["transaction_id"])))}
    source = np.array([first[int(number)] for number in dirty["transaction_id"][again]])
    later = dirty["tx_time_seconds"][again] - dirty["tx_time_seconds"][source]
    dearer = dirty["tx_amount"][again] > dirty["tx_amount"][source]
    assert (again > source).all()
    assert (dearer == (later > 0)).all()
    assert dearer.mean() == pytest.approx(0.5, abs=0.1)
    for name in ("customer_id", "terminal_id", "tx_time_days", "tx_fraud", "tx_fraud_scenario"):
        assert (dirty[name][again] == dirty[name][source]).all()


def test_dirty_rows_stay_in_time_order_within_their_day(dirty: Rows) -> None:
    assert (np.diff(dirty["tx_time_seconds"]) >= 0).all()
    assert (dirty["tx_time_days"] == dirty["tx_time_seconds"] // 86_400).all()
