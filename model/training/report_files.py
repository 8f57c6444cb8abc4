"""The folder of files that says how good a model is: figures, pages and everything for machines."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.features import FEATURE_NAMES
from model.settings import Settings
from model.training.budgets import budget_grid
from model.training.dataset import Dataset
from model.training.figures import write_figures
from model.training.periods import Periods, known_label
from model.training.report import render
from model.training.tested import Tested, scored

EXPLAINED_ROWS = 2000  # of the test period, for the SHAP summary


def write_report(
    folder: Path, periods: Periods, tested: Tested, *, facts: Mapping[str, Any], settings: Settings
) -> None:
    """Write the report of a tested model into a new folder.

    Parameters
    ----------
    facts
        What is said of the model in its bundle too: `periods`, `data`, `sampling`, `code_version` and the budgets.
    """
    _draw(folder, periods.test, tested, settings=settings)
    periods.cleaning.write(folder / "cleaning.json")
    about = {name: facts[name] for name in ("periods", "data", "sampling", "code_version")}
    write_json(folder / "evaluation.json", tested.evaluation.as_dict() | about)
    text = render(tested.evaluation, label_delay=settings.label_delay, statistics_age=settings.statistics_age)
    (folder / "evaluation.txt").write_text(text, encoding="utf-8")
    calibration = periods.calibration
    grid = budget_grid(
        scored(calibration, tested.calibration_scores),
        scored(periods.test, tested.scores),
        known_honest=known_label(calibration, by=periods.split.test.start) == 0,
    )
    chosen = {name: facts[name] for name in ("flagged_budget", "declined_budget")} | asdict(tested.cutoffs)
    limit = {"monthly_loss_limit": settings.monthly_loss_limit}
    write_json(folder / "cutoffs.json", {"chosen": chosen, "budgets": grid} | limit | about)


def _draw(folder: Path, test: Dataset, tested: Tested, *, settings: Settings) -> None:
    drawn = _equally_weighted(test)
    rows, scores = test.where(drawn), tested.scores[drawn]
    sample = rows.where(evenly(len(rows), EXPLAINED_ROWS))
    contributions, _ = tested.explainer.explain(sample.features)
    write_figures(
        folder,
        label=rows.label,
        score=scores,
        cutoffs=tested.cutoffs,
        contributions=contributions,
        features=sample.features,
        feature_names=FEATURE_NAMES,
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
    )


def _equally_weighted(rows: Dataset) -> npt.NDArray[np.bool_]:
    """Choose rows that all stand for as many transactions: where honest ones were sampled, as large a share of frauds.

    A figure of them is one of the bank; there are fewer frauds in it.
    """
    chance = rows.weight / rows.weight.max()
    step = np.floor(np.cumsum(chance) + 1e-9)  # of rows with a chance of one in twenty every twentieth
    return np.diff(step, prepend=0.0) > 0 if (chance < 1).any() else np.ones(len(rows), dtype=bool)


def evenly(n: int, wanted: int) -> npt.NDArray[np.bool_]:
    """Choose at most `wanted` of n places, evenly spread."""
    chosen = np.zeros(n, dtype=bool)
    chosen[np.linspace(0, n - 1, min(n, wanted)).astype(int)] = True
    return chosen


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values as JSON that a person can read."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
