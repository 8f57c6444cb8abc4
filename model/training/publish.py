"""A tested model and its statistics go into the registry, together or not at all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.bundle import GoldenCase, write_bundle, write_snapshot
from model.decision import CutOffs
from model.features import schema_fingerprint
from model.registry import CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, Publisher, RunHandle, Version
from model.statistics import Snapshot
from model.training.fit import TrainingError

EXPERIMENT = "antifraud"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tested model with fresh statistics, and all that is said of it, before it is published.

    Attributes
    ----------
    booster_text
        LightGBM's native text; its raw score is the calibrated log-odds.
    metrics
        Figures of the test, for the registry.
    facts
        Settings, periods and figures, plain JSON values, for the bundle.
    """

    booster_text: str
    cutoffs: CutOffs
    golden: list[GoldenCase]
    snapshot: Snapshot
    metrics: dict[str, float]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Published:
    """The two versions that a run published, and whether the model became the champion."""

    model: Version
    statistics: Version
    is_champion: bool


def may_appoint(publisher: Publisher, *, id_key_fingerprint: str, appoint: bool) -> bool:
    """Return whether a new model is to be the champion: if asked for, or where there is none yet.

    Raises
    ------
    TrainingError
        If the champion is to stay but could not read the new statistics: it has another id key or other features.
    """
    champion = publisher.find_alias(MODEL_NAME, CHAMPION)
    if champion is None or appoint:
        return True
    for tag, value, words in (
        ("id_key_fingerprint", id_key_fingerprint, "another id key"),
        ("feature_schema", schema_fingerprint(), "other features"),
    ):
        if champion.tags.get(tag) != value:
            raise TrainingError(
                f"the champion, {champion}, was trained with {words} and could not read the new statistics:"
                " nothing was published; appoint the new model in its place, or use the champion's"
            )
    return False


def publish(
    candidate: Candidate,
    report: Path,
    publisher: Publisher,
    *,
    folder: Path,
    id_key_fingerprint: str,
    appoint: bool,
) -> Published:
    """Register model and statistics in one run with its report; aliases move when everything is in place.

    Parameters
    ----------
    report
        Folder whose files are kept with the run.
    folder
        Where the bundle and the statistics are written before they are uploaded.
    appoint
        See `may_appoint`, which is asked again: the champion may be another by now.
    """
    appoint = may_appoint(publisher, id_key_fingerprint=id_key_fingerprint, appoint=appoint)
    digests = _write_bundles(candidate, folder, id_key_fingerprint=id_key_fingerprint)
    as_of = {"as_of": candidate.snapshot.as_of}
    identity = {"id_key_fingerprint": id_key_fingerprint, "feature_schema": schema_fingerprint()}
    with publisher.run(EXPERIMENT, "train", as_of) as run:
        _log(run, candidate, report)
        versions = [
            publisher.publish(
                name, folder / name, run_id=run.run_id, tags=identity | tags | {"manifest_sha256": digests[name]}
            )
            for name, tags in ((MODEL_NAME, {}), (STATISTICS_NAME, as_of))
        ]
    model, statistics = versions
    if appoint:
        publisher.set_alias(MODEL_NAME, CHAMPION, model.version)
    publisher.set_alias(STATISTICS_NAME, CURRENT, statistics.version)
    return Published(model, statistics, appoint)


def _write_bundles(candidate: Candidate, folder: Path, *, id_key_fingerprint: str) -> Mapping[str, str]:
    """Write both folders and return the SHA-256 of each one's manifest."""
    model_digest = write_bundle(
        folder / MODEL_NAME,
        booster_text=candidate.booster_text,
        cutoffs=candidate.cutoffs,
        golden=candidate.golden,
        id_key_fingerprint=id_key_fingerprint,
        facts=candidate.facts,
    )
    statistics_digest = write_snapshot(
        folder / STATISTICS_NAME, candidate.snapshot, id_key_fingerprint=id_key_fingerprint, facts={}
    )
    return {MODEL_NAME: model_digest, STATISTICS_NAME: statistics_digest}


def _log(run: RunHandle, candidate: Candidate, report: Path) -> None:
    run.log_metrics(candidate.metrics)
    run.log_params({name: value for name, value in candidate.facts.items() if not isinstance(value, dict)})
    run.log_params(asdict(candidate.cutoffs))
    for path in sorted(report.iterdir()):
        run.log_file(path, "report")
