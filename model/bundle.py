"""What a pod loads: a model bundle and a statistics snapshot, each a folder of plain files under one manifest.

Hashes are checked before anything is parsed (LightGBM ends the process on a truncated model), then the feature schema
and the id key, then the golden rows. Nothing is ever unpickled.
"""

import logging
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from model.decision import CutOffs, decide
from model.explain import TreeExplainer, margins
from model.features import FEATURE_NAMES, build_features
from model.manifest import BundleError, read_json, reading, verify, write_json, write_manifest
from model.score import load_booster, probability
from model.statistics import ENTITIES, QUANTITIES, SUM_COLUMNS, WINDOWS, EntityStatistics, Floats, Snapshot, hour_text
from model.transaction import Transactions

__all__ = [
    "Bundle",
    "BundleError",
    "GoldenCase",
    "golden_cases",
    "read_bundle",
    "read_snapshot",
    "write_bundle",
    "write_snapshot",
]

BUNDLE_FILES = ("model.txt", "bundle.json", "golden.json")
SNAPSHOT_FILES = ("snapshot.json", *(f"{entity}_{part}.npy" for entity in ENTITIES for part in ("keys", "sums")))
GOLDEN_TOLERANCE = 1e-9  # log-odds; another processor may round differently, another model is further away
LIBRARIES = ("lightgbm", "numpy")

log = logging.getLogger("antifraud")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified model: it explains rows of features, and its cut-offs turn scores into decisions.

    Attributes
    ----------
    facts
        What training said of it: label delay, days covered, figures. Plain JSON values.
    """

    explainer: TreeExplainer
    cutoffs: CutOffs
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """A payment and what was known at its moment, with the answer that any correct scorer gives."""

    tx_seconds: int
    tx_amount: float
    sums: list[float | None]
    features: list[float | None]
    contributions: list[float]
    margin: float
    decision: str


def golden_cases(
    transactions: Transactions, sums: Floats, *, explainer: TreeExplainer, cutoffs: CutOffs
) -> list[GoldenCase]:
    """Return the golden cases that n transactions with their sums (n, 2, 3, 4) make."""
    features = build_features(transactions, sums)
    contributions, base_value = explainer.explain(features)
    rows = zip(
        transactions.tx_seconds.tolist(),
        transactions.tx_amount.tolist(),
        sums.reshape(len(features), -1).tolist(),
        features.tolist(),
        contributions.tolist(),
        margins(contributions, base_value).tolist(),
        strict=True,
    )
    return [
        GoldenCase(
            tx_seconds=seconds,
            tx_amount=amount,
            sums=_gaps(known),
            features=_gaps(row),
            contributions=shares,
            margin=margin,
            decision=decide(probability(margin), cutoffs),
        )
        for seconds, amount, known, row, shares, margin in rows
    ]


def write_bundle(
    folder: Path,
    *,
    booster_text: str,
    cutoffs: CutOffs,
    golden: Iterable[GoldenCase],
    id_key_fingerprint: str,
    facts: Mapping[str, Any],
) -> str:
    """Write a model bundle into a new folder and return the SHA-256 of its manifest.

    Parameters
    ----------
    booster_text
        LightGBM's native text; its raw score is the calibrated log-odds.
    """
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text(booster_text, encoding="utf-8")
    write_json(folder / "golden.json", [asdict(case) for case in golden])
    write_json(
        folder / "bundle.json",
        {
            "feature_names": list(FEATURE_NAMES),
            "cutoffs": asdict(cutoffs),
            "libraries": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
            "facts": dict(facts),
        },
    )
    return write_manifest(folder, kind="model", id_key_fingerprint=id_key_fingerprint)


def read_bundle(folder: Path, *, id_key_fingerprint: str, manifest_sha256: str | None = None) -> Bundle:
    """Verify a model bundle and load it.

    Parameters
    ----------
    id_key_fingerprint
        Of the key in use; a bundle made with another would find every customer unknown.
    manifest_sha256
        What the registry says of the manifest, where it does.

    Raises
    ------
    BundleError
        If a file is missing, changed or malformed, the features or the key are others, the booster is of another kind,
        or a golden row has another answer.
    """
    verify(
        folder,
        kind="model",
        files=BUNDLE_FILES,
        id_key_fingerprint=id_key_fingerprint,
        manifest_sha256=manifest_sha256,
    )
    what = f"model {folder.name}"
    with reading(what, "bundle.json"):
        contents = read_json(folder / "bundle.json")
        cutoffs, facts = CutOffs(**contents["cutoffs"]), dict(contents["facts"])
        if contents["feature_names"] != list(FEATURE_NAMES):
            raise BundleError(f"{what}: the feature names in bundle.json are not those of this version of the code")
    with reading(what, "model.txt"):
        text = (folder / "model.txt").read_text(encoding="utf-8")
        booster = load_booster(text)
    if booster.feature_name() != list(FEATURE_NAMES):
        raise BundleError(
            f"{what}: model.txt has {booster.num_feature()} features, not the {len(FEATURE_NAMES)} of this version of"
            " the code in their order"
        )
    with reading(what, "golden.json"):
        golden = [GoldenCase(**case) for case in read_json(folder / "golden.json")]
        return Bundle(_checked_explainer(text, cutoffs, golden, what=what), cutoffs, facts)


def _checked_explainer(text: str, cutoffs: CutOffs, golden: list[GoldenCase], *, what: str) -> TreeExplainer:
    """Return the fastest explainer that gives the golden rows the answers they were published with."""
    explainer = TreeExplainer(text)
    try:
        _check_golden(explainer, cutoffs, golden, what=what)
    except BundleError:
        if explainer.engine == "pred_contrib":
            raise
        explainer = TreeExplainer(text, engine="pred_contrib")
        _check_golden(explainer, cutoffs, golden, what=what)
        log.error("%s: the compiled explainer differs on golden rows; LightGBM's own, many times slower, is used", what)
    return explainer


def _check_golden(explainer: TreeExplainer, cutoffs: CutOffs, cases: list[GoldenCase], *, what: str) -> None:
    if not cases:
        raise BundleError(f"{what}: golden.json has no rows, so nothing shows that the model scores correctly")
    transactions = Transactions(
        np.array([case.tx_seconds for case in cases], dtype=np.int64),
        np.array([case.tx_amount for case in cases], dtype=np.float64),
    )
    sums = np.array([case.sums for case in cases], dtype=np.float64)
    again = golden_cases(
        transactions,
        sums.reshape(len(cases), len(ENTITIES), len(WINDOWS), len(QUANTITIES)),
        explainer=explainer,
        cutoffs=cutoffs,
    )
    for place, (expected, got) in enumerate(zip(cases, again, strict=True)):
        if not _agree(expected, got):
            raise BundleError(f"{what}: row {place} of golden.json gets another answer than it was published with")


def _agree(expected: GoldenCase, got: GoldenCase) -> bool:
    numbers = zip((*expected.contributions, expected.margin), (*got.contributions, got.margin), strict=True)
    return (
        expected.features == got.features
        and expected.decision == got.decision
        and all(math.isclose(a, b, rel_tol=0, abs_tol=GOLDEN_TOLERANCE) for a, b in numbers)
    )


def _gaps(numbers: list[float]) -> list[float | None]:
    return [None if math.isnan(number) else number for number in numbers]


def write_snapshot(folder: Path, snapshot: Snapshot, *, id_key_fingerprint: str, facts: Mapping[str, Any]) -> str:
    """Write a statistics snapshot into a new folder and return the SHA-256 of its manifest."""
    folder.mkdir(parents=True)
    for entity in ENTITIES:
        statistics: EntityStatistics = getattr(snapshot, entity)
        np.save(folder / f"{entity}_keys.npy", statistics.keys, allow_pickle=False)
        np.save(folder / f"{entity}_sums.npy", statistics.sums, allow_pickle=False)
    write_json(
        folder / "snapshot.json",
        {
            "as_of_hour": snapshot.as_of_hour,
            "as_of": snapshot.as_of,
            "columns": list(SUM_COLUMNS),
            "facts": dict(facts),
        },
    )
    return write_manifest(folder, kind="statistics", id_key_fingerprint=id_key_fingerprint)


def read_snapshot(folder: Path, *, id_key_fingerprint: str, manifest_sha256: str | None = None) -> Snapshot:
    """Verify a statistics snapshot and load it; parameters and errors as of `read_bundle`."""
    verify(
        folder,
        kind="statistics",
        files=SNAPSHOT_FILES,
        id_key_fingerprint=id_key_fingerprint,
        manifest_sha256=manifest_sha256,
    )
    what = f"statistics {folder.name}"
    with reading(what, "snapshot.json"):
        contents = read_json(folder / "snapshot.json")
        as_of_hour = int(contents["as_of_hour"])
        if contents["columns"] != list(SUM_COLUMNS) or contents["as_of"] != hour_text(as_of_hour):
            raise BundleError(f"{what}: snapshot.json has other columns, or names its hour in two ways")
    customer, terminal = (_read_entity(folder, entity, what=what) for entity in ENTITIES)
    return Snapshot(as_of_hour, customer, terminal)


def _read_entity(folder: Path, entity: str, *, what: str) -> EntityStatistics:
    arrays = []
    for name in (f"{entity}_keys.npy", f"{entity}_sums.npy"):
        with reading(what, name), (folder / name).open("rb") as file:
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    with reading(what, f"{entity}_keys.npy with {entity}_sums.npy"):
        return EntityStatistics(*arrays)
