import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.decision import CutOffs
from model.training.figures import write_figures
from model.training.figures.calibration import reliability, wilson_interval
from model.training.figures.canvas import Scored
from model.training.figures.shap_summary import swarm

NAMES = ["precision_recall.png", "recall_fpr.png", "calibration.png", "shap_summary.png"]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def columns(rows: int = 400, n_features: int = 25) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    label = rng.random(rows) < 0.1
    features = rng.normal(size=(60, n_features))
    features[::7] = np.nan
    return {
        "label": label,
        "score": np.clip(rng.beta(1, 20, rows) + label * rng.random(rows), 0, 1),
        "cutoffs": CutOffs(0.1, 0.5),
        "contributions": rng.normal(size=(60, n_features)) * np.arange(n_features),
        "features": features,
        "feature_names": [f"customer_amount_mean_{day}d" for day in range(n_features)],
    }


def size_in_pixels(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[16:24]
    return int.from_bytes(header[:4]), int.from_bytes(header[4:])


def test_four_figures_are_written_large_enough_to_read(tmp_path: Path) -> None:
    paths = write_figures(tmp_path / "new" / "folder", **columns())
    assert [path.name for path in paths] == NAMES
    for path in paths:
        assert path.read_bytes().startswith(PNG_SIGNATURE)
        assert min(size_in_pixels(path)) >= 600


def test_figures_are_drawn_without_a_display_or_pyplot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    write_figures(tmp_path, **columns())
    assert "matplotlib.pyplot" not in sys.modules


def test_the_same_input_gives_the_same_pictures(tmp_path: Path) -> None:
    first, second = (write_figures(tmp_path / name, **columns()) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    "degenerate",
    [
        {"label": np.zeros(400)},
        {"label": np.ones(400)},
        {"score": np.zeros(400)},
        {"score": np.ones(400)},
        {"score": np.full(400, 0.3)},
        {"label": [1], "score": [0.2]},
        {"label": [1, 0], "score": [0.2, 0.1], "cutoffs": CutOffs(1, 1)},
        {"contributions": np.zeros((60, 25))},
        {"features": np.full((60, 25), np.nan)},
        {"features": np.full((60, 25), np.inf)},
        {"contributions": [[0.5]], "features": [[1.0]], "feature_names": ["amount"]},
    ],
)
def test_degenerate_input_is_still_drawn_without_a_warning(tmp_path: Path, degenerate: dict[str, Any]) -> None:
    assert all(path.stat().st_size > 0 for path in write_figures(tmp_path, **(columns() | degenerate)))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"label": [], "score": []}, "at least one row"),
        ({"label": [1]}, "same length"),
        ({"score": np.full(400, np.nan)}, "from 0 to 1"),
        ({"contributions": np.full((60, 25), np.nan)}, "finite"),
        ({"features": np.zeros((60, 3))}, "same shape"),
        ({"feature_names": ["amount"]}, "each feature name"),
    ],
)
def test_input_that_does_not_fit_together_is_refused(tmp_path: Path, broken: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        write_figures(tmp_path, **(columns() | broken))
    assert list(tmp_path.iterdir()) == []


def test_dots_of_one_place_spread_around_their_row_and_lonely_dots_stay_on_it() -> None:
    offsets = swarm(np.array([0.0, 0.0, 0.0, 5.0]), step=1.0)
    assert sorted(offsets[:3]) == pytest.approx([-offsets[:3].max(), 0, offsets[:3].max()])
    assert offsets[3] == 0
    assert np.abs(swarm(np.zeros(1000), step=1.0)).max() <= 0.4


def test_reliability_bins_count_every_transaction_once() -> None:
    scored = Scored(np.array([True, False, False]), np.array([1.0, 0.0, 1e-4]), CutOffs(0.5, 0.9))
    stated, frauds, rows, edges = reliability(scored)
    assert (rows.sum(), frauds.sum(), edges[-1]) == (3, 1, pytest.approx(1))
    assert (stated[-1], frauds[-1]) == (1, 1)


def test_the_interval_of_a_share_follows_wilsons_formula() -> None:
    low, high = wilson_interval(np.array([0.0, 1.0]), np.array([10.0, 10.0]))
    assert low == pytest.approx([0, 0.0179], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.4042], abs=1e-4)
