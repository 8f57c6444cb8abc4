"""The whole way from a raw history to a published model: clean, split, fit, calibrate, test, bundle, register."""

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from model.bundle import GoldenCase, golden_cases
from model.decision import CutOffs, choose_cutoffs
from model.explain import TreeExplainer
from model.features import FEATURE_NAMES
from model.registry import Version, open_publisher
from model.score import probabilities
from model.settings import Settings
from model.statistics import HOUR, Floats, Integers
from model.training.dataset import Dataset
from model.training.evaluate import evaluate
from model.training.evaluation import Evaluation
from model.training.figures import write_figures
from model.training.fit import TrainingError, fit_booster, fit_calibration, fold_calibration, raw_margins
from model.training.periods import Periods, read_periods
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.publish import Candidate, may_appoint, publish
from model.training.report import render

STAGES = 7
GOLDEN_ROWS = 32
EXPLAINED_ROWS = 2000  # of the test period, for the SHAP summary
_NO_ROOM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # disk, quota or file-size limit
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR),  # not a folder to write in
)


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a training run published, and how long each stage took in seconds."""

    model: Version
    statistics: Version
    is_champion: bool
    cleaning: CleaningReport
    evaluation: Evaluation
    report: Path
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Tested:
    """A calibrated booster, and how it did on the test period, whose scores are (n,)."""

    text: str
    explainer: TreeExplainer
    cutoffs: CutOffs
    scores: Floats
    evaluation: Evaluation


def train(
    address: str | Path, *, settings: Settings, tracking_uri: str, appoint: bool = False, progress: bool = True
) -> TrainingOutcome:
    """Train on a history and publish model and statistics.

    Parameters
    ----------
    address
        A CSV or Parquet file, or a folder of them.
    tracking_uri
        MLflow registry, as `model.registry.open_publisher` takes it.
    appoint
        Make the model the champion; without this it becomes champion only where there is none yet.
    progress
        Whether to show the stage at work on a terminal.

    Returns
    -------
    TrainingOutcome
        Its `report` folder holds `evaluation.json`, `evaluation.txt`, `cleaning.json`, `stages.json` and the figures.

    Raises
    ------
    HistoryError, CleaningError, SplitError, TrainingError, SettingsError, RegistryError
        Before anything is published.
    """
    hasher = settings.id_hasher()
    with _scratch_folder(settings.work_folder) as scratch, Stages(STAGES, shown=progress) as stages:
        stages.begin("opening the registry")  # its mistakes, as those of the key, are better known now than in an hour
        publisher, key = open_publisher(tracking_uri), hasher.fingerprint
        may_appoint(publisher, id_key_fingerprint=key, appoint=appoint)
        periods = read_periods(address, settings=settings, hasher=hasher, scratch=scratch, stages=stages)
        stages.begin("training", parts=settings.trees, unit="trees")
        booster = _fit(periods, settings=settings, stages=stages)
        stages.begin("testing")
        tested = _test(booster, periods, settings=settings)
        stages.begin("drawing figures")
        facts = _facts(settings, periods, tested.evaluation)
        _write_report(scratch / "report", periods, tested, facts=facts, settings=settings)
        report = _replace(settings.work_folder / "report", by=scratch / "report")
        stages.begin("registering")
        candidate = _candidate(periods, tested, facts=facts)
        published = publish(candidate, report, publisher, folder=scratch, id_key_fingerprint=key, appoint=appoint)
    _write_json(report / "stages.json", stages.seconds)
    versions = published.model, published.statistics, published.is_champion
    return TrainingOutcome(*versions, periods.cleaning, tested.evaluation, report, stages.seconds)


def _fit(periods: Periods, *, settings: Settings, stages: Stages) -> lgb.Booster:
    """Fit on what was known when calibration began, calibrate on what was known when the test began."""
    split = periods.split
    known = _known_label(periods.train, by=split.calibration.start)
    booster = fit_booster(periods.train.features, known, settings=settings, on_tree=stages.part)
    margins = raw_margins(booster, periods.calibration.features, threads=settings.threads)
    slope, intercept = fit_calibration(margins, _known_label(periods.calibration, by=split.test.start))
    return fold_calibration(booster, slope, intercept)


def _known_label(rows: Dataset, *, by: int) -> Integers:
    """Return the labels as they were known at a full hour: a fraud not reported by then counts as honest."""
    return rows.label * (rows.report_hour * HOUR < by)


def _test(booster: lgb.Booster, periods: Periods, *, settings: Settings) -> _Tested:
    """Choose cut-offs on what was known when the test began, then test them."""
    calibration, test = periods.calibration, periods.test
    honest = _known_label(calibration, by=periods.split.test.start) == 0
    cutoffs = choose_cutoffs(
        probabilities(raw_margins(booster, calibration.features[honest], threads=settings.threads)),
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
    )
    scores = probabilities(raw_margins(booster, test.features, threads=settings.threads))
    evaluation = evaluate(
        label=test.label,
        score=scores,
        amount=test.transactions.tx_amount,
        tx_seconds=test.transactions.tx_seconds,
        cutoffs=cutoffs,
    )
    text = booster.model_to_string()
    return _Tested(text, TreeExplainer(text), cutoffs, scores, evaluation)


def _candidate(periods: Periods, tested: _Tested, *, facts: dict[str, Any]) -> Candidate:
    golden = _golden(periods.test, explainer=tested.explainer, cutoffs=tested.cutoffs)
    return Candidate(tested.text, tested.cutoffs, golden, periods.snapshot, tested.evaluation.metrics(), facts)


def _golden(test: Dataset, *, explainer: TreeExplainer, cutoffs: CutOffs) -> list[GoldenCase]:
    """Return golden rows, frauds and honest ones, spread over the test period."""
    fraud = test.label == 1
    chosen = np.zeros(len(test), dtype=bool)
    for kind in (fraud, ~fraud):
        places = np.flatnonzero(kind)
        chosen[places[_every(len(places), GOLDEN_ROWS // 2)]] = True
    rows = test.where(chosen)
    return golden_cases(rows.transactions, rows.sums, explainer=explainer, cutoffs=cutoffs)


def _every(n: int, wanted: int) -> npt.NDArray[np.bool_]:
    """Choose at most `wanted` of n places, evenly spread."""
    chosen = np.zeros(n, dtype=bool)
    chosen[np.linspace(0, n - 1, min(n, wanted)).astype(int)] = True
    return chosen


def _facts(settings: Settings, periods: Periods, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "label_delay_hours": settings.label_delay.total_seconds() / HOUR,
        "statistics_age_hours": settings.statistics_age.total_seconds() / HOUR,
        "trees": settings.trees,
        "leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "training_rows": len(periods.train),
        "periods": {name: period.hours for name, period in periods.split.named()},
        "evaluation": evaluation.as_dict(),
    }


def _write_report(
    folder: Path, periods: Periods, tested: _Tested, *, facts: dict[str, Any], settings: Settings
) -> None:
    sample = periods.test.where(_every(len(periods.test), EXPLAINED_ROWS))
    contributions, _ = tested.explainer.explain(sample.features)
    write_figures(
        folder,
        label=periods.test.label,
        score=tested.scores,
        cutoffs=tested.cutoffs,
        contributions=contributions,
        features=sample.features,
        feature_names=FEATURE_NAMES,
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
    )
    periods.cleaning.write(folder / "cleaning.json")
    _write_json(folder / "evaluation.json", tested.evaluation.as_dict() | {"periods": facts["periods"]})
    text = render(tested.evaluation, label_delay=settings.label_delay, statistics_age=settings.statistics_age)
    (folder / "evaluation.txt").write_text(text, encoding="utf-8")


def _replace(folder: Path, *, by: Path) -> Path:
    """Put the report of this run in the place of the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    return by.rename(folder)


@contextmanager
def _scratch_folder(work_folder: Path) -> Iterator[Path]:
    """Give a folder that is gone afterwards, however this ends; say clearly where there is no room for it.

    Raises
    ------
    TrainingError
        If files cannot be written there, or memory does not suffice.
    """
    try:
        work_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=work_folder) as folder:
            yield Path(folder)
    except (OSError, duckdb.OperationalError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_ROOM:
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(f"training in the work folder {work_folder} failed: {reason}") from error


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
