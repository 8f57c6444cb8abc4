"""What is said of a set of tested folds: figures only for a cell of the grid, everything for the headline."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.explain import TreeExplainer
from model.features import FEATURE_NAMES
from model.settings import Settings
from model.training.dataset import Dataset
from model.training.fit import TrainingError
from model.training.walk_forward.bootstrap import (
    CLUSTER_KINDS,
    Bootstrap,
    ClusterKind,
    bootstrap_of,
    frauds_per_cluster,
)
from model.training.walk_forward.budgets import budget_table
from model.training.walk_forward.card_precision import card_precision_figures, daily_card_precision
from model.training.walk_forward.ceiling import (
    DEFINITION,
    SCENARIO_DEFINITION,
    Ceiling,
    ceiling_figures,
    find_silent,
)
from model.training.walk_forward.curves import curves
from model.training.walk_forward.figures import all_figures
from model.training.walk_forward.fitting import FoldResult, run_fold
from model.training.walk_forward.folds import Fold, day_text
from model.training.walk_forward.learners import Learner
from model.training.walk_forward.segments import Segment, find_segments, segment_figures
from model.training.walk_forward.shap_values import shap_summary
from model.training.walk_forward.tested import Outcomes, joined


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: which clusters are drawn again, how often, and from which seed."""

    by: ClusterKind = "terminal"
    resamples: int = 400
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """All rows of a history under one label delay and statistics age, in order of time, and the folds over them."""

    rows: Dataset
    folds: Sequence[Fold]
    statistics_age_hours: int


def run_folds(
    trial: Trial, *, learner: Learner, settings: Settings, done: Callable[[], object] = lambda: None
) -> list[FoldResult]:
    """Return the folds, tested one after the other.

    Raises
    ------
    TrainingError
        If there is too little to learn from, or no fraud or no honest transaction in all tests together.
    """
    results = []
    for fold in trial.folds:
        results.append(run_fold(trial.rows, fold, learner=learner, settings=settings))
        done()
    kinds = {bool(kind) for result in results for kind in np.unique(result.tested.fraud)}
    if len(kinds) < 2:
        raise TrainingError("the test periods hold no fraud, or nothing but frauds: nothing can be said of them")
    return results


def cell_figures(trial: Trial, results: Sequence[FoldResult], *, resampling: Resampling) -> dict[str, Any]:
    """Return the figures of one cell of the grid, with intervals, its ceiling, and its folds."""
    tested = joined([result.tested for result in results])
    figures = all_figures(tested, _bootstrap(tested, resampling)) | _card_precision(trial, tested, resampling)
    ceiling = find_silent(trial.rows, statistics_age_hours=trial.statistics_age_hours)
    return {**figures, "ceiling": _ceiling(trial, tested, ceiling), "folds": _folds(results, resampling)}


def detailed_figures(trial: Trial, results: Sequence[FoldResult], *, resampling: Resampling) -> dict[str, Any]:
    """Return all that the headline has beyond `cell_figures`: segments, weeks, curves, budgets, SHAP values, facts."""
    tested = joined([result.tested for result in results])
    bootstrap = _bootstrap(tested, resampling)
    segments = list(find_segments(trial.rows, tested, _places(trial, tested)))
    return {
        "weeks": segment_figures(_periods(tested, days=7), tested, bootstrap),
        "days": segment_figures(_periods(tested, days=1), tested, bootstrap),
        "segments": segment_figures(segments, tested, bootstrap),
        "missed": _missed(trial, tested),
        "budgets": budget_table(results),
        "curves": curves(tested),
        "shap": _shap(trial, results[-1]),
        "facts": {"tested": _tested_facts(tested, bootstrap)},
    }


def _bootstrap(tested: Outcomes, resampling: Resampling) -> Bootstrap:
    return bootstrap_of(tested, by=resampling.by, resamples=resampling.resamples, seed=resampling.seed)


def _places(trial: Trial, tested: Outcomes) -> Any:
    """Return where the tested rows lie among all rows."""
    seconds = trial.rows.transactions.tx_seconds
    return np.concatenate(
        [np.arange(*np.searchsorted(seconds, (fold.test.start, fold.test.end))) for fold in trial.folds]
    )


def _ceiling(trial: Trial, tested: Outcomes, ceiling: Ceiling) -> dict[str, Any]:
    places = _places(trial, tested)
    by_evidence = ceiling_figures(tested.fraud, ceiling.silent[places], tested.weight, DEFINITION)
    if ceiling.silent_by_scenario is None:
        return {**by_evidence, "by_scenario": None}
    silent = ceiling.silent_by_scenario[places]
    return {**by_evidence, "by_scenario": ceiling_figures(tested.fraud, silent, tested.weight, SCENARIO_DEFINITION)}


def _card_precision(trial: Trial, tested: Outcomes, resampling: Resampling) -> dict[str, Any]:
    """Return card precision; of a sample there is none, for a customer whose payments are left out cannot rank."""
    if (tested.weight != 1).any():
        return {"card_precision_at_100": None}
    fraud = trial.rows.label == 1
    reached, best = daily_card_precision(
        tested, reported_customer=trial.rows.customer_key[fraud], report_hour=trial.rows.report_hour[fraud]
    )
    return card_precision_figures(reached, best, resamples=resampling.resamples, seed=resampling.seed)


def _folds(results: Sequence[FoldResult], resampling: Resampling) -> list[dict[str, Any]]:
    return [
        {
            "number": result.fold.number,
            **{name: [day_text(period.start), day_text(period.end - 1)] for name, period in result.fold.named()},
            "cut_offs": asdict(result.cutoffs),
            "known_frauds_in_training": result.known_frauds[0],
            "known_frauds_in_calibration": result.known_frauds[1],
            "tested_transactions": float(result.tested.weight.sum()),
            "tested_frauds": float(result.tested.weight[result.tested.fraud].sum()),
            **all_figures(result.tested, _bootstrap(result.tested, resampling)),
        }
        for result in results
    ]


def _periods(tested: Outcomes, *, days: int) -> list[Segment]:
    """Return the tested rows in periods of some days, counted from the first day of each fold."""
    answer = []
    for fold in np.unique(tested.fold):
        first = tested.day[tested.fold == fold].min()
        period = (tested.day - first) // days
        for number in np.unique(period[tested.fold == fold]):
            chosen = (tested.fold == fold) & (period == number)
            answer.append(Segment("week" if days > 1 else "day", day_text(int(tested.seconds[chosen].min())), chosen))
    return answer


def _missed(trial: Trial, tested: Outcomes) -> dict[str, float]:
    """Return how many frauds passed, and how many of these were silent or in a run's first day."""
    missed = tested.fraud & ~tested.flagged
    silent = find_silent(trial.rows, statistics_age_hours=trial.statistics_age_hours).silent[_places(trial, tested)]
    by_scenario = {
        f"scenario_{scenario}": float(tested.weight[missed & (tested.scenario == scenario)].sum())
        for scenario in np.unique(tested.scenario[tested.fraud])
    }
    return {
        "frauds": float(tested.weight[missed].sum()),
        "silent": float(tested.weight[missed & silent].sum()),
        **by_scenario,
    }


def _shap(trial: Trial, last: FoldResult) -> dict[str, Any] | None:
    if last.booster is None:
        return None
    rows = trial.rows.between(last.fold.test.start, last.fold.test.end)
    return shap_summary(TreeExplainer.from_booster(last.booster), rows.features, rows.label == 1, FEATURE_NAMES)


def _tested_facts(tested: Outcomes, bootstrap: Bootstrap) -> dict[str, Any]:
    return {
        "first_day": day_text(int(tested.seconds.min())),
        "last_day": day_text(int(tested.seconds.max())),
        "days": tested.days,
        "transactions": float(tested.weight.sum()),
        "rows": len(tested),
        "frauds": float(tested.weight[tested.fraud].sum()),
        "clusters_drawn": bootstrap.clusters,
        "frauds_per_cluster": {kind: frauds_per_cluster(tested.fraud, getattr(tested, kind)) for kind in CLUSTER_KINDS},
    }
