"""A model from a raw history: cleaned, fitted, calibrated and tested, ready to be published."""

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from model.address import Location
from model.bundle import GoldenCase, golden_cases
from model.decision import CutOffs
from model.drift import Reference, make_reference
from model.explain import TreeExplainer
from model.score import probabilities
from model.settings import Settings
from model.statistics import HOUR, Floats
from model.training.budgets import choose_weighted_cutoffs
from model.training.dataset import Dataset
from model.training.evaluate import evaluate
from model.training.evaluation import Evaluation
from model.training.fit import fit_booster, fit_calibration, fold_calibration, raw_margins
from model.training.periods import Periods, known_label, read_periods
from model.training.progress import Stages
from model.training.publish import Candidate
from model.training.report_files import evenly, write_report
from model.training.sampling import Sampling
from model.training.tested import Tested, scored
from model.transaction import IdHasher

MAKING_STAGES = 5
GOLDEN_ROWS = 32
REFERENCE_ROWS = 200_000  # of the test period, for the bins that drift is measured in


@dataclass(frozen=True, slots=True)
class Made:
    """A model before it is published, what it was made from, and the folder of its report."""

    candidate: Candidate
    periods: Periods
    tested: Tested
    report: Path


def make(address: Location, *, settings: Settings, hasher: IdHasher, scratch: Path, stages: Stages) -> Made:
    """Make a model from a history, test it and write its report into the work folder; nothing is published.

    It begins as many stages as `MAKING_STAGES` says. Parameters and errors as of `train`.
    """
    periods = read_periods(address, settings=settings, hasher=hasher, scratch=scratch, stages=stages)
    stages.begin("training", parts=settings.trees, unit="trees")
    booster = _fit(periods, settings=settings, stages=stages)
    stages.begin("testing")
    tested = _test(booster, periods, settings=settings)
    stages.begin("drawing figures")
    facts = _facts(settings, periods, tested.evaluation)
    write_report(scratch / "report", periods, tested, facts=facts, settings=settings)
    report = _replace(settings.work_folder / "report", by=scratch / "report")
    return Made(_candidate(periods, tested, facts=facts), periods, tested, report)


def _fit(periods: Periods, *, settings: Settings, stages: Stages) -> lgb.Booster:
    """Fit on what was known when calibration began, calibrate on what was known when the test began."""
    train, calibration = periods.train, periods.calibration
    known = known_label(train, by=periods.split.calibration.start)
    # Of another object than `train`, which would keep the features of all rows as long as itself.
    features = train.where(slice(None)).features
    booster = fit_booster(features, known, settings=settings, weight=train.weight, on_tree=stages.part)
    del features
    margins = raw_margins(booster, calibration.features, threads=settings.threads)
    known = known_label(calibration, by=periods.split.test.start)
    return fold_calibration(booster, *fit_calibration(margins, known, weight=calibration.weight))


def _test(booster: lgb.Booster, periods: Periods, *, settings: Settings) -> Tested:
    """Choose cut-offs on what was known when the test began, then test them."""
    calibration, test = periods.calibration, periods.test
    before, scores = (
        probabilities(raw_margins(booster, rows.features, threads=settings.threads)) for rows in (calibration, test)
    )
    honest = known_label(calibration, by=periods.split.test.start) == 0
    cutoffs = choose_weighted_cutoffs(
        before[honest],
        calibration.weight[honest],
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
    )
    evaluation = evaluate(
        **scored(test, scores).columns(), cutoffs=cutoffs, monthly_loss_limit=settings.monthly_loss_limit
    )
    text = booster.model_to_string()
    return Tested(text, TreeExplainer(text), cutoffs, before, scores, evaluation)


def _candidate(periods: Periods, tested: Tested, *, facts: dict[str, Any]) -> Candidate:
    golden = _golden(periods.test, explainer=tested.explainer, cutoffs=tested.cutoffs)
    reference = _reference(periods.test, tested.scores)
    metrics = tested.evaluation.metrics()
    return Candidate(tested.text, tested.cutoffs, golden, reference, periods.snapshot, metrics, facts)


def _reference(test: Dataset, scores: Floats) -> Reference:
    """Return what payments look like, for drift to be measured against.

    The test period is the latest, its scores are of rows that the model was not trained on, and the windows of its
    statistics are full: what is served after it looks the same until something changes.
    """
    chosen = evenly(len(test), REFERENCE_ROWS)
    rows = test.where(chosen)
    return make_reference(rows.features, scores[chosen], weight=rows.weight)


def _golden(test: Dataset, *, explainer: TreeExplainer, cutoffs: CutOffs) -> list[GoldenCase]:
    """Return golden rows, frauds and honest ones, spread over the test period."""
    fraud = test.label == 1
    chosen = np.zeros(len(test), dtype=bool)
    for kind in (fraud, ~fraud):
        places = np.flatnonzero(kind)
        chosen[places[evenly(len(places), GOLDEN_ROWS // 2)]] = True
    rows = test.where(chosen)
    return golden_cases(rows.transactions, rows.sums, explainer=explainer, cutoffs=cutoffs)


def _facts(settings: Settings, periods: Periods, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "label_delay_hours": settings.label_delay.total_seconds() / HOUR,
        "statistics_age_hours": settings.statistics_age.total_seconds() / HOUR,
        "trees": settings.trees,
        "leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "training_rows": len(periods.train),
        "code_version": _code_version(settings),
        "flagged_budget": settings.flagged_budget,
        "declined_budget": settings.declined_budget,
        "max_training_rows": settings.max_training_rows,
        "data": periods.fingerprint.as_dict(),
        "sampling": _sampling_facts(periods.sampling),
        "periods": {name: period.hours for name, period in periods.split.named()},
        "evaluation": evaluation.as_dict(),
    }


def _code_version(settings: Settings) -> str:
    """Return the package's version, and the revision it was built from where that is known: `0.1.0+1a2b3c`."""
    return "+".join(part for part in (version("antifraud"), settings.code_version) if part)


def _sampling_facts(sampling: Sampling) -> dict[str, Any]:
    facts = {name: getattr(sampling, name) for name in ("transactions", "frauds", "share")}
    return facts | {"sampled": not sampling.is_whole, "said": sampling.sentence}


def _replace(folder: Path, *, by: Path) -> Path:
    """Put the report of this run in the place of the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    return by.rename(folder)
