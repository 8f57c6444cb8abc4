"""What a pod loads: a model bundle and a statistics snapshot, each a folder of plain files under one manifest.

Hashes are checked before anything is parsed (LightGBM ends the process on a truncated model), then the feature schema
and the id key, then the golden rows. Nothing is ever unpickled.
"""

import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from model.decision import CutOffs, decide
from model.explain import BoosterExplainer, Explainer, margins
from model.features import FEATURE_NAMES, build_features, schema_fingerprint
from model.score import load_booster, probability
from model.statistics import ENTITIES, QUANTITIES, SUM_COLUMNS, WINDOWS, EntityStatistics, Floats, Snapshot
from model.transaction import Transactions

FORMAT = 1
MANIFEST = "manifest.json"
GOLDEN_TOLERANCE = 1e-9  # log-odds; another processor may round differently, another model is further away
LIBRARIES = ("lightgbm", "numpy")


class BundleError(ValueError):
    """A bundle or snapshot that must not be used: damaged, for other features, or of another id key."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified model: it explains rows of features, and its cut-offs turn scores into decisions.

    Attributes
    ----------
    facts
        What training said of it: label delay, days covered, figures. Plain JSON values.
    """

    explainer: Explainer
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
    transactions: Transactions, sums: Floats, *, explainer: Explainer, cutoffs: CutOffs
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
    _write_json(folder / "golden.json", [asdict(case) for case in golden])
    _write_json(
        folder / "bundle.json",
        {
            "feature_names": list(FEATURE_NAMES),
            "cutoffs": asdict(cutoffs),
            "libraries": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
            "facts": dict(facts),
        },
    )
    return _write_manifest(folder, kind="model", id_key_fingerprint=id_key_fingerprint)


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
        If a file is missing or changed, the features or the key are others, or a golden row has another answer.
    """
    _verify(folder, kind="model", id_key_fingerprint=id_key_fingerprint, manifest_sha256=manifest_sha256)
    contents = _read_json(folder / "bundle.json")
    if contents["feature_names"] != list(FEATURE_NAMES):
        raise BundleError(f"bundle {folder.name}: its feature names are not those of this version of the code")
    booster = load_booster((folder / "model.txt").read_text(encoding="utf-8"))
    if booster.num_feature() != len(FEATURE_NAMES):
        raise BundleError(f"bundle {folder.name}: the booster has {booster.num_feature()} features")
    bundle = Bundle(BoosterExplainer(booster), CutOffs(**contents["cutoffs"]), contents["facts"])
    _check_golden(bundle, [GoldenCase(**case) for case in _read_json(folder / "golden.json")], name=folder.name)
    return bundle


def _check_golden(bundle: Bundle, cases: list[GoldenCase], *, name: str) -> None:
    if not cases:
        raise BundleError(f"bundle {name}: it has no golden rows, so nothing shows that it scores correctly")
    transactions = Transactions(
        np.array([case.tx_seconds for case in cases], dtype=np.int64),
        np.array([case.tx_amount for case in cases], dtype=np.float64),
    )
    sums = np.array([case.sums for case in cases], dtype=np.float64)
    again = golden_cases(
        transactions,
        sums.reshape(len(cases), len(ENTITIES), len(WINDOWS), len(QUANTITIES)),
        explainer=bundle.explainer,
        cutoffs=bundle.cutoffs,
    )
    for place, (expected, got) in enumerate(zip(cases, again, strict=True)):
        if not _agree(expected, got):
            raise BundleError(f"bundle {name}: golden row {place} gets another answer than it was published with")


def _agree(expected: GoldenCase, got: GoldenCase) -> bool:
    numbers = zip((*expected.contributions, expected.margin), (*got.contributions, got.margin), strict=True)
    return (
        expected.features == got.features
        and expected.decision == got.decision
        and all(math.isclose(a, b, rel_tol=0, abs_tol=GOLDEN_TOLERANCE) for a, b in numbers)
    )


def write_snapshot(folder: Path, snapshot: Snapshot, *, id_key_fingerprint: str, facts: Mapping[str, Any]) -> str:
    """Write a statistics snapshot into a new folder and return the SHA-256 of its manifest."""
    folder.mkdir(parents=True)
    for entity in ENTITIES:
        statistics: EntityStatistics = getattr(snapshot, entity)
        np.save(folder / f"{entity}_keys.npy", statistics.keys, allow_pickle=False)
        np.save(folder / f"{entity}_sums.npy", statistics.sums, allow_pickle=False)
    _write_json(
        folder / "snapshot.json",
        {
            "as_of_hour": snapshot.as_of_hour,
            "as_of": snapshot.as_of,
            "columns": list(SUM_COLUMNS),
            "facts": dict(facts),
        },
    )
    return _write_manifest(folder, kind="statistics", id_key_fingerprint=id_key_fingerprint)


def read_snapshot(folder: Path, *, id_key_fingerprint: str, manifest_sha256: str | None = None) -> Snapshot:
    """Verify a statistics snapshot and load it; parameters and errors as of `read_bundle`."""
    _verify(folder, kind="statistics", id_key_fingerprint=id_key_fingerprint, manifest_sha256=manifest_sha256)
    contents = _read_json(folder / "snapshot.json")
    entities = {
        entity: EntityStatistics(
            np.load(folder / f"{entity}_keys.npy", allow_pickle=False),
            np.load(folder / f"{entity}_sums.npy", allow_pickle=False),
        )
        for entity in ENTITIES
    }
    return Snapshot(int(contents["as_of_hour"]), entities["customer"], entities["terminal"])


def _write_manifest(folder: Path, *, kind: str, id_key_fingerprint: str) -> str:
    _write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "kind": kind,
            "feature_schema": schema_fingerprint(),
            "id_key_fingerprint": id_key_fingerprint,
            "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
        },
    )
    return _sha256(folder / MANIFEST)


def _verify(folder: Path, *, kind: str, id_key_fingerprint: str, manifest_sha256: str | None) -> None:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{kind} {folder.name}: {MANIFEST} is missing")
    if manifest_sha256 is not None and _sha256(path) != manifest_sha256:
        raise BundleError(f"{kind} {folder.name}: {MANIFEST} is not the one that was published")
    manifest = _read_json(path)
    if manifest.get("format") != FORMAT or manifest.get("kind") != kind:
        raise BundleError(f"{kind} {folder.name}: {MANIFEST} is not of kind {kind!r}, format {FORMAT}")
    for name, digest in manifest["files"].items():
        file = folder / Path(name).name
        if not file.is_file():
            raise BundleError(f"{kind} {folder.name}: {name} is missing")
        if _sha256(file) != digest:
            raise BundleError(f"{kind} {folder.name}: {name} is not the file that was published (SHA-256 differs)")
    if manifest["feature_schema"] != schema_fingerprint():
        raise BundleError(f"{kind} {folder.name}: made for other features than this version of the code has")
    if manifest["id_key_fingerprint"] != id_key_fingerprint:
        raise BundleError(
            f"{kind} {folder.name}: made with another id key than the one configured; every customer would be unknown"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gaps(numbers: list[float]) -> list[float | None]:
    return [None if math.isnan(number) else number for number in numbers]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path.parent.name}: {path.name} is not valid JSON") from error
