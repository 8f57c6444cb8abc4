"""A tested model and its statistics go into the registry, together or not at all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.bundle import GoldenCase, write_bundle, write_snapshot
from model.decision import CutOffs
from model.drift import Reference
from model.features import schema_fingerprint
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    Publisher,
    RunHandle,
    Version,
    default_who,
)
from model.statistics import Snapshot
from model.training.fit import TrainingError

EXPERIMENT = "antifraud"
_DIGESTED = ("data", "sampling")  # facts whose parts are settings of the run
_KIND = ("id_key_fingerprint", "feature_schema")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tested model with fresh statistics, and all that is said of it, before it is published.

    Attributes
    ----------
    booster_text
        LightGBM's native text; its raw score is the calibrated log-odds.
    reference
        What payments and scores looked like, for drift to be measured against.
    metrics
        Figures of the test, for the registry.
    facts
        Settings, periods and figures, plain JSON values, for the bundle.
    """

    booster_text: str
    cutoffs: CutOffs
    golden: list[GoldenCase]
    reference: Reference
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
    told = appoint
    appoint = may_appoint(publisher, id_key_fingerprint=id_key_fingerprint, appoint=appoint)
    with publisher.run(EXPERIMENT, "train", {"as_of": candidate.snapshot.as_of}) as run:
        model, statistics = register(
            candidate, report, publisher, run=run, folder=folder, id_key_fingerprint=id_key_fingerprint
        )
    who, why = f"antifraud train, {default_who()}", "told to" if told else "there was no champion yet"
    if appoint:
        publisher.move_pair(model.version, statistics.version, who=who, why=why)
    elif not is_fresher(publisher.find_alias(STATISTICS_NAME, CURRENT), statistics):
        publisher.move_alias(STATISTICS_NAME, CURRENT, statistics.version, who=who, why="trained, not appointed")
    return Published(model, statistics, appoint)


def is_fresher(present: Version | None, new: Version) -> bool:
    """Return whether statistics that are in use are of a later hour than new ones of the same kind."""
    if present is None or not same_kind(present, new):
        return False
    return present.tags.get("as_of", "") > new.tags["as_of"]


def same_kind(one: Version, other: Version) -> bool:
    """Return whether two versions, each a model or statistics, have the same id key and features."""
    return all(one.tags.get(tag) == other.tags.get(tag) for tag in _KIND)


def register(
    candidate: Candidate, report: Path, publisher: Publisher, *, run: RunHandle, folder: Path, id_key_fingerprint: str
) -> tuple[Version, Version]:
    """Register model and statistics in an open run, with all that explains them; no alias moves.

    Parameters
    ----------
    report
        Folder whose files are kept with the run.
    folder
        Where both are written before they are uploaded; the model stays there under `MODEL_NAME`.
    """
    digests = _write_bundles(candidate, folder, id_key_fingerprint=id_key_fingerprint)
    as_of = {"as_of": candidate.snapshot.as_of}
    identity = {"id_key_fingerprint": id_key_fingerprint, "feature_schema": schema_fingerprint()}
    _log(run, candidate, report)
    model, statistics = (
        publisher.publish(
            name, folder / name, run_id=run.run_id, tags=identity | tags | {"manifest_sha256": digests[name]}
        )
        for name, tags in ((MODEL_NAME, {}), (STATISTICS_NAME, as_of))
    )
    return model, statistics


def _write_bundles(candidate: Candidate, folder: Path, *, id_key_fingerprint: str) -> Mapping[str, str]:
    """Write both folders and return the SHA-256 of each one's manifest."""
    model_digest = write_bundle(
        folder / MODEL_NAME,
        booster_text=candidate.booster_text,
        cutoffs=candidate.cutoffs,
        golden=candidate.golden,
        id_key_fingerprint=id_key_fingerprint,
        facts=candidate.facts,
        reference=candidate.reference,
    )
    statistics_digest = write_snapshot(
        folder / STATISTICS_NAME, candidate.snapshot, id_key_fingerprint=id_key_fingerprint, facts={}
    )
    return {MODEL_NAME: model_digest, STATISTICS_NAME: statistics_digest}


def _log(run: RunHandle, candidate: Candidate, report: Path) -> None:
    run.log_metrics(candidate.metrics)
    for name, value in candidate.facts.items():
        nested = name in _DIGESTED and isinstance(value, dict)
        run.log_params({f"{name}_{part}": one for part, one in value.items()} if nested else {})
    run.log_params({name: value for name, value in candidate.facts.items() if not isinstance(value, dict)})
    run.log_params(asdict(candidate.cutoffs))
    for path in sorted(report.iterdir()):
        run.log_file(path, "report")
