"""The champion as a rival: fetched, verified, and scored on the rows that a challenger was tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from model.bundle import Bundle, BundleError, read_bundle
from model.explain import TreeExplainer
from model.features import FEATURE_NAMES
from model.registry import CHAMPION, MODEL_NAME, Publisher, RegistryReader, Version
from model.score import load_booster, probabilities
from model.settings import Settings
from model.statistics import Floats
from model.training.dataset import Dataset
from model.training.fit import MIN_FRAUDS, TrainingError, raw_margins
from model.training.gate import (
    Flips,
    GateRows,
    GateRules,
    ScoredModel,
    compare,
    decide_promotion,
    explain_microseconds,
    flips,
    write_gate_report,
)
from model.training.making import Made
from model.training.progress import Stages

PREVIEWED_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Rival:
    """The champion, verified as a pod does.

    Attributes
    ----------
    seen_until
        The moment up to which it was trained and calibrated, seconds since 1970; 0 where it does not say.
    """

    version: Version
    bundle: Bundle
    booster: lgb.Booster
    seen_until: int

    def scores(self, rows: Dataset, *, threads: int) -> Floats:
        """Return its probabilities of fraud for transactions, (n,), from its own features."""
        places = [FEATURE_NAMES.index(name) for name in self.bundle.feature_names]
        features = rows.features if len(places) == len(FEATURE_NAMES) else rows.features[:, places]
        return probabilities(raw_margins(self.booster, features, threads=threads))


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether to promote, and why or why not, a sentence each."""

    promote: bool
    reasons: tuple[str, ...]


def read_rival(publisher: Publisher, reader: RegistryReader, *, folder: Path, id_key_fingerprint: str) -> Rival | None:
    """Download the champion into a new folder and verify it; None if there is none yet.

    Raises
    ------
    TrainingError
        If it cannot be compared with: it was trained with another id key, or this version of the code cannot read it.
    RegistryError
        If it cannot be downloaded.
    """
    version = publisher.find_alias(MODEL_NAME, CHAMPION)
    if version is None:
        return None
    if version.tags.get("id_key_fingerprint") != id_key_fingerprint:
        raise TrainingError(
            f"the champion, {version}, was trained with another id key: nothing was done; use the champion's key, or"
            " appoint a model in its place with `antifraud train --appoint`"
        )
    reader.download(version, folder)
    digest = version.tags.get("manifest_sha256")
    try:
        bundle = read_bundle(folder, id_key_fingerprint=id_key_fingerprint, manifest_sha256=digest)
    except BundleError as error:
        raise TrainingError(
            f"the champion, {version}, cannot be compared with ({error}): nothing was done; appoint a model in its"
            " place with `antifraud train --appoint`"
        ) from error
    booster = load_booster((folder / "model.txt").read_text(encoding="utf-8"))
    return Rival(version, bundle, booster, _seen_until(bundle.facts))


def _seen_until(facts: Mapping[str, Any]) -> int:
    """Return when the last period ended that a model was made from; its cut-offs have seen the calibration period."""
    ends = [hours[1] for name, hours in facts.get("periods", {}).items() if name in ("train", "calibration")]
    return max((int(datetime.fromisoformat(end).timestamp()) for end in ends), default=0)


def judge(made: Made, rival: Rival | None, *, settings: Settings, bundle: Path, stages: Stages) -> Judgement:
    """Say whether a challenger is to be the champion; the evidence goes into the folder `gate` of its report.

    Parameters
    ----------
    bundle
        Folder of the challenger as it was registered.
    """
    try:
        verified = read_bundle(bundle, id_key_fingerprint=settings.id_hasher().fingerprint)
    except BundleError as error:
        return Judgement(promote=False, reasons=(f"The challenger cannot be loaded: {error}.",))
    if rival is None:
        return Judgement(promote=True, reasons=("There was no champion yet.",))
    common = made.periods.test.transactions.tx_seconds >= rival.seen_until
    rows = made.periods.test.where(common)
    if int(rows.label.sum()) < MIN_FRAUDS or rows.label.all():
        return Judgement(
            promote=False,
            reasons=(
                f"There is too little to compare on: {int(rows.label.sum())} frauds among {len(rows)} tested"
                f" transactions that {rival.version} was not made from, and {MIN_FRAUDS} are needed.",
            ),
        )
    return _compared(made, rival, rows, verified, scores=made.tested.scores[common], settings=settings, stages=stages)


def _compared(
    made: Made,
    rival: Rival,
    rows: Dataset,
    verified: Bundle,
    *,
    scores: Floats,
    settings: Settings,
    stages: Stages,
) -> Judgement:
    """Run the gate on transactions of which `scores` are the challenger's."""
    rules, past = gate_rules(settings), gate_rows(rows)
    stages.begin("scoring with the champion")
    challenger = ScoredModel("challenger", scores, made.tested.cutoffs)
    champion = ScoredModel(
        f"champion (version {rival.version.version})",
        rival.scores(rows, threads=settings.threads),
        rival.bundle.cutoffs,
    )
    stages.begin("comparing", parts=rules.resamples, unit="resamples")
    comparison = compare(past, champion, challenger, rules=rules, progress=stages.part)
    golden = np.array([case.features for case in made.candidate.golden], dtype=np.float64)
    decision = decide_promotion(
        comparison,
        golden_rows_agree=True,  # or it could not have been read
        explain_us=explain_microseconds(verified.explainer, golden),
        rules=rules,
    )
    stages.begin("previewing decisions")
    preview = _preview(rows, champion, challenger, explainers=(rival.bundle.explainer, verified.explainer))
    write_gate_report(made.report / "gate", comparison, decision, flips=preview)
    telling = decision.conditions if decision.promote else decision.failed
    return Judgement(decision.promote, tuple(condition.sentence for condition in telling))


def _preview(
    rows: Dataset,
    champion: ScoredModel,
    challenger: ScoredModel,
    *,
    explainers: tuple[TreeExplainer, TreeExplainer],
) -> Flips:
    """Return which decisions would flip, on evenly chosen rows where there are very many."""
    every = -(-len(rows) // PREVIEWED_ROWS)
    shown = rows.where(slice(None, None, every))
    models = (
        ScoredModel(model.name, np.ascontiguousarray(model.scores[::every]), model.cutoffs)
        for model in (champion, challenger)
    )
    past = gate_rows(replace(shown, weight=shown.weight * every))
    return flips(past, shown.features, *models, explainers=explainers, keys=shown.customer_key)


def gate_rules(settings: Settings) -> GateRules:
    """Return the rules of the gate as the settings have them."""
    return GateRules(
        alpha=settings.gate_alpha,
        resamples=settings.gate_resamples,
        recall_margin=settings.gate_recall_margin,
        fpr_tolerance=settings.gate_fpr_tolerance,
        require_improvement=settings.gate_require_improvement,
        explain_budget_us=settings.explain_budget_us,
        flagged_budget=settings.flagged_budget,
        declined_budget=settings.declined_budget,
        seed=settings.seed,
    )


def gate_rows(rows: Dataset) -> GateRows:
    """Return tested transactions as the gate takes them; terminals, where frauds come in runs, are drawn as a whole."""
    moments = rows.transactions
    return GateRows(rows.label, moments.tx_amount, moments.tx_seconds, rows.terminal_key, rows.weight)
