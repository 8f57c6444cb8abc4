"""The whole way from a raw history to a published model: clean, split, fit, calibrate, test, bundle, register."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.bundle import golden_cases, write_bundle, write_snapshot
from model.decision import CutOffs, choose_cutoffs
from model.explain import BoosterExplainer
from model.features import FEATURE_NAMES, schema_fingerprint
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    Publisher,
    RunHandle,
    Version,
    open_publisher,
)
from model.score import load_booster, probabilities
from model.settings import Settings
from model.statistics import HOUR, Integers, Snapshot, hour_text
from model.training.dataset import Dataset, end_hour, read_dataset, read_snapshot, time_range
from model.training.evaluate import Evaluation, evaluate, render
from model.training.figures import write_figures
from model.training.fit import TrainingError, fit_booster, fit_calibration, fold_calibration, raw_margins
from model.training.history import connect
from model.training.prepare import CleaningReport, prepare
from model.training.split import TimeSplit, split_time
from model.transaction import IdHasher

EXPERIMENT = "antifraud"
GOLDEN_ROWS = 32
EXPLAINED_ROWS = 2000  # of the test period, for the SHAP summary
_STAGES = 12


@dataclass(frozen=True, slots=True)
class Trained:
    """A tested model and all that is said of it, before it is published."""

    booster_text: str
    cutoffs: CutOffs
    evaluation: Evaluation
    cleaning: CleaningReport
    split: TimeSplit
    snapshot: Snapshot
    golden: list[Any]
    facts: dict[str, Any]


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


class Stages:
    """Name the stage at work on a progress bar and keep the time that each took."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self.seconds: dict[str, float] = {}
        self._bar = tqdm(total=total, disable=not shown, bar_format="{desc:<32} {bar:30} {elapsed}", leave=False)
        self._name, self._since = "", time.perf_counter()

    def begin(self, name: str) -> None:
        """End the stage before, if any, and begin one."""
        self.end()
        self._name = name
        self._bar.set_description_str(name)

    def end(self) -> None:
        """End the stage at work."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._since
            self._bar.update()
        self._name, self._since = "", now

    def close(self) -> None:
        """End the last stage and take the bar away."""
        self.end()
        self._bar.close()


@dataclass(frozen=True, slots=True)
class _Periods:
    train: Dataset
    calibration: Dataset
    test: Dataset


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

    Returns
    -------
    TrainingOutcome
        Its `report` folder holds `evaluation.json`, `evaluation.txt`, `cleaning.json`, `stages.json` and the figures.

    Raises
    ------
    HistoryError, CleaningError, SplitError, TrainingError, SettingsError, RegistryError
        Before anything is published.
    """
    hasher = settings.id_hasher()  # its mistakes are better known now than after an hour
    stages = Stages(_STAGES, shown=progress)
    try:
        with _scratch_folder(settings.work_folder) as scratch:
            trained, figures = _make(address, settings=settings, hasher=hasher, scratch=scratch, stages=stages)
            report = _write_report(settings.work_folder / "report", trained, figures)
            stages.begin("registering")
            publisher = open_publisher(tracking_uri)
            outcome = _publish(trained, report, publisher, folder=scratch, hasher=hasher, appoint=appoint)
    finally:
        stages.close()
    _write_json(report / "stages.json", stages.seconds)
    return TrainingOutcome(*outcome, trained.cleaning, trained.evaluation, report, stages.seconds)


def _make(
    address: str | Path, *, settings: Settings, hasher: IdHasher, scratch: Path, stages: Stages
) -> tuple[Trained, Path]:
    label_delay = int(settings.label_delay.total_seconds())
    with connect(scratch, memory_limit=settings.memory_limit, threads=settings.threads) as connection:
        cleaning = prepare(connection, address, hasher=hasher, label_delay_seconds=label_delay, progress=stages.begin)
        start, end = time_range(connection)
        split = split_time(start, end, label_delay=label_delay)
        stages.begin("looking up statistics")
        age_hours = int(settings.statistics_age.total_seconds()) // HOUR
        rows = read_dataset(connection, start=split.train.start, end=split.test.end, statistics_age_hours=age_hours)
        snapshot = read_snapshot(connection, as_of_hour=end_hour(end))
    periods = _Periods(
        *(rows.between(period.start, period.end) for period in (split.train, split.calibration, split.test))
    )
    stages.begin("training")
    booster = _fit(periods, split, settings=settings, label_delay=label_delay)
    stages.begin("testing")
    text = booster.model_to_string()
    cutoffs, evaluation = _test(booster, periods, settings=settings)
    stages.begin("drawing figures")
    figures = scratch / "figures"
    explainer = BoosterExplainer(load_booster(text))
    _draw(figures, booster, explainer, periods.test, cutoffs=cutoffs, settings=settings)
    golden = _golden(periods.test, explainer=explainer, cutoffs=cutoffs)
    facts = _facts(settings, split, evaluation, rows=len(periods.train))
    return Trained(text, cutoffs, evaluation, cleaning, split, snapshot, golden, facts), figures


def _fit(periods: _Periods, split: TimeSplit, *, settings: Settings, label_delay: int) -> lgb.Booster:
    """Fit on what was known when calibration began, calibrate on what was known when the test began."""
    known = _known_label(periods.train, by=split.train.end + label_delay)
    booster = fit_booster(periods.train.features, known, settings=settings)
    margins = raw_margins(booster, periods.calibration.features)
    slope, intercept = fit_calibration(margins, _known_label(periods.calibration, by=split.test.start))
    return fold_calibration(booster, slope, intercept)


def _known_label(rows: Dataset, *, by: int) -> Integers:
    """Return the labels as they were known at a moment: a fraud not reported by then counts as honest."""
    return rows.label * (rows.report_hour * HOUR <= by)


def _test(booster: lgb.Booster, periods: _Periods, *, settings: Settings) -> tuple[CutOffs, Evaluation]:
    calibration, test = periods.calibration, periods.test
    honest = calibration.label == 0
    cutoffs = choose_cutoffs(
        probabilities(raw_margins(booster, calibration.features[honest])),
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
    )
    evaluation = evaluate(
        label=test.label,
        score=probabilities(raw_margins(booster, test.features)),
        amount=test.transactions.tx_amount,
        tx_seconds=test.transactions.tx_seconds,
        cutoffs=cutoffs,
    )
    return cutoffs, evaluation


def _draw(
    folder: Path,
    booster: lgb.Booster,
    explainer: BoosterExplainer,
    test: Dataset,
    *,
    cutoffs: CutOffs,
    settings: Settings,
) -> None:
    chosen = test.where(_every(len(test), EXPLAINED_ROWS))
    contributions, _ = explainer.explain(chosen.features)
    write_figures(
        folder,
        label=test.label,
        score=probabilities(raw_margins(booster, test.features)),
        cutoffs=cutoffs,
        contributions=contributions,
        features=chosen.features,
        feature_names=FEATURE_NAMES,
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
    )


def _golden(test: Dataset, *, explainer: BoosterExplainer, cutoffs: CutOffs) -> list[Any]:
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
    chosen[np.linspace(0, n - 1, min(n, wanted)).astype(int)] = n > 0
    return chosen


def _facts(settings: Settings, split: TimeSplit, evaluation: Evaluation, *, rows: int) -> dict[str, Any]:
    periods = {
        name: [hour_text(period.start // HOUR), hour_text(end_hour(period.end))]
        for name, period in (("train", split.train), ("calibration", split.calibration), ("test", split.test))
    }
    return {
        "label_delay_hours": settings.label_delay.total_seconds() / HOUR,
        "statistics_age_hours": settings.statistics_age.total_seconds() / HOUR,
        "trees": settings.trees,
        "leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "training_rows": rows,
        "periods": periods,
        "evaluation": evaluation.as_dict(),
    }


def _write_report(folder: Path, trained: Trained, figures: Path) -> Path:
    """Replace the report of the run before by this one's."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(figures, folder)
    trained.cleaning.write(folder / "cleaning.json")
    _write_json(folder / "evaluation.json", trained.evaluation.as_dict() | {"facts": trained.facts["periods"]})
    text = render(
        trained.evaluation,
        label_delay=_hours(trained.facts["label_delay_hours"]),
        statistics_age=_hours(trained.facts["statistics_age_hours"]),
    )
    (folder / "evaluation.txt").write_text(text + "\n", encoding="utf-8")
    return folder


def _hours(hours: float) -> str:
    count, unit = (hours / 24, "day") if hours >= 24 else (hours, "hour")
    return f"{count:g} {unit}" + ("" if count == 1 else "s")


def _publish(
    trained: Trained, report: Path, publisher: Publisher, *, folder: Path, hasher: IdHasher, appoint: bool
) -> tuple[Version, Version, bool]:
    champion = publisher.find_alias(MODEL_NAME, CHAMPION)
    appoint = appoint or champion is None
    identity = {"id_key_fingerprint": hasher.fingerprint, "feature_schema": schema_fingerprint()}
    if champion is not None and not appoint:
        _require_same(champion, identity)
    model_digest, statistics_digest = _write_bundles(trained, folder, hasher=hasher)
    as_of = {"as_of": trained.snapshot.as_of}
    with publisher.run(EXPERIMENT, "train", as_of) as run:
        _log(run, trained, report)
        model = publisher.publish(
            MODEL_NAME, folder / "bundle", run_id=run.run_id, tags=identity | {"manifest_sha256": model_digest}
        )
        statistics = publisher.publish(
            STATISTICS_NAME,
            folder / "statistics",
            run_id=run.run_id,
            tags=identity | as_of | {"manifest_sha256": statistics_digest},
        )
    if appoint:
        publisher.set_alias(MODEL_NAME, CHAMPION, model.version)
    publisher.set_alias(STATISTICS_NAME, CURRENT, statistics.version)
    return model, statistics, appoint


def _require_same(champion: Version, identity: Mapping[str, str]) -> None:
    """Refuse to publish statistics that the champion in use cannot read."""
    words = {"id_key_fingerprint": "another id key", "feature_schema": "other features"}
    for name, value in identity.items():
        if champion.tags.get(name) != value:
            raise TrainingError(f"the champion, {champion}, was trained with {words[name]}; appoint the new model too")


def _write_bundles(trained: Trained, folder: Path, *, hasher: IdHasher) -> tuple[str, str]:
    model_digest = write_bundle(
        folder / "bundle",
        booster_text=trained.booster_text,
        cutoffs=trained.cutoffs,
        golden=trained.golden,
        id_key_fingerprint=hasher.fingerprint,
        facts=trained.facts,
    )
    digest = write_snapshot(folder / "statistics", trained.snapshot, id_key_fingerprint=hasher.fingerprint, facts={})
    return model_digest, digest


def _log(run: RunHandle, trained: Trained, report: Path) -> None:
    run.log_metrics(trained.evaluation.metrics())
    run.log_params({name: value for name, value in trained.facts.items() if not isinstance(value, dict)})
    run.log_params(asdict(trained.cutoffs))
    for path in sorted(report.iterdir()):
        run.log_file(path, "report")


@contextmanager
def _scratch_folder(work_folder: Path) -> Iterator[Path]:
    work_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=work_folder) as folder:
        yield Path(folder)


def _write_json(path: Path, value: Sequence[Any] | dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
