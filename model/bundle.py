"""What a pod loads: a model bundle and a statistics snapshot, each a folder of plain files under one manifest.

Hashes are checked before anything is parsed (LightGBM ends the process on a truncated model), then the feature schema
and the id key, then the golden rows. Nothing is ever unpickled.
"""

import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from model.decision import CutOffs
from model.drift import Reference
from model.explain import Engine, TreeExplainer
from model.features import FEATURE_NAMES
from model.golden import GoldenCase, first_disagreement, golden_cases
from model.manifest import BundleError, read_json, reading, verify, write_json, write_manifest
from model.score import load_booster
from model.statistics import ENTITIES, SUM_COLUMNS, EntityStatistics, Snapshot, hour_text

__all__ = [
    "Bundle",
    "BundleError",
    "GoldenCase",
    "explainer_of",
    "golden_cases",
    "read_bundle",
    "read_snapshot",
    "write_bundle",
    "write_snapshot",
]

BUNDLE_FILES = ("model.txt", "bundle.json", "golden.json")
REFERENCE_FILE = "reference.json"  # for drift; a model may come without
SNAPSHOT_FILES = ("snapshot.json", *(f"{entity}_{part}.npy" for entity in ENTITIES for part in ("keys", "sums")))
LIBRARIES = ("lightgbm", "numpy")

log = logging.getLogger("antifraud")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified model: it explains rows of features, and its cut-offs turn scores into decisions.

    Attributes
    ----------
    explainer
        Of rows of all features in the order of `FEATURE_NAMES`, whichever of them the model uses.
    facts
        What training said of it: label delay, days covered, figures. Plain JSON values.
    feature_names
        The model's own features, in its order.
    reference
        What its training rows looked like, to see drift against; None where it does not say.
    """

    explainer: TreeExplainer
    cutoffs: CutOffs
    facts: Mapping[str, Any]
    feature_names: tuple[str, ...] = FEATURE_NAMES
    reference: Reference | None = None


def explainer_of(booster_text: str, *, engine: Engine | None = None) -> TreeExplainer:
    """Make the explainer of a model of some features that takes rows of all, in the order of `FEATURE_NAMES`.

    Raises
    ------
    BundleError
        If the model uses a feature that this version of the code does not have.
    UnsupportedModelError
        As `TreeExplainer` does.
    """
    names = _known_features(_feature_names(booster_text), what="the model")
    places = [FEATURE_NAMES.index(name) for name in names]
    return TreeExplainer(booster_text, engine=engine, places=places, row_length=len(FEATURE_NAMES))


def write_bundle(
    folder: Path,
    *,
    booster_text: str,
    cutoffs: CutOffs,
    golden: Iterable[GoldenCase],
    id_key_fingerprint: str,
    facts: Mapping[str, Any],
    reference: Reference | None = None,
) -> str:
    """Write a model bundle into a new folder and return the SHA-256 of its manifest.

    Parameters
    ----------
    booster_text
        LightGBM's native text; its raw score is the calibrated log-odds. It names its features: any of
        `FEATURE_NAMES`, in any order.
    reference
        What the training rows looked like, where drift is to be seen.
    """
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text(booster_text, encoding="utf-8")
    write_json(folder / "golden.json", [asdict(case) for case in golden])
    write_json(
        folder / "bundle.json",
        {
            "feature_names": _feature_names(booster_text),
            "cutoffs": asdict(cutoffs),
            "libraries": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
            "facts": dict(facts),
        },
    )
    if reference is not None:
        write_json(folder / REFERENCE_FILE, reference.as_dict())
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
        If a file is missing, changed or malformed, the key or the statistics are others, a feature is not known, the
        booster is of another kind, or a golden row has another answer.
    """
    named = verify(
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
        feature_names = _known_features(contents["feature_names"], what=what)
    with reading(what, "model.txt"):
        text = (folder / "model.txt").read_text(encoding="utf-8")
        booster = load_booster(text)
    if booster.feature_name() != list(feature_names):
        raise BundleError(f"{what}: the feature names in bundle.json are not those of model.txt in their order")
    reference = _read_reference(folder / REFERENCE_FILE, what=what) if REFERENCE_FILE in named else None
    with reading(what, "golden.json"):
        golden = [GoldenCase(**case) for case in read_json(folder / "golden.json")]
        explainer = _checked_explainer(text, cutoffs, golden, feature_names=feature_names, what=what)
    return Bundle(explainer, cutoffs, facts, feature_names, reference)


def _feature_names(booster_text: str) -> list[str]:
    """Return what the header of LightGBM's text calls its features; none where it does not say."""
    header = booster_text.partition("\n\n")[0].splitlines()
    return next((line for line in header if line.startswith("feature_names=")), "=").partition("=")[2].split()


def _known_features(names: Sequence[str], *, what: str) -> tuple[str, ...]:
    if not names or len(set(names)) != len(names):
        raise BundleError(f"{what}: its feature names must be a list of different ones")
    if unknown := [name for name in names if name not in FEATURE_NAMES]:
        shown = ", ".join(repr(name)[:60] for name in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise BundleError(f"{what}: needs features that this version of the code does not have: {shown}")
    return tuple(names)


def _checked_explainer(
    text: str, cutoffs: CutOffs, golden: list[GoldenCase], *, feature_names: Sequence[str], what: str
) -> TreeExplainer:
    """Return the fastest explainer that gives the golden rows the answers they were published with."""
    explainer = explainer_of(text)
    try:
        _check_golden(explainer, cutoffs, golden, feature_names=feature_names, what=what)
    except BundleError:
        if explainer.engine == "pred_contrib":
            raise
        explainer = explainer_of(text, engine="pred_contrib")
        _check_golden(explainer, cutoffs, golden, feature_names=feature_names, what=what)
        log.error("%s: the compiled explainer differs on golden rows; LightGBM's own, many times slower, is used", what)
    return explainer


def _check_golden(
    explainer: TreeExplainer, cutoffs: CutOffs, cases: list[GoldenCase], *, feature_names: Sequence[str], what: str
) -> None:
    if not cases:
        raise BundleError(f"{what}: golden.json has no rows, so nothing shows that the model scores correctly")
    place = first_disagreement(cases, explainer=explainer, cutoffs=cutoffs, feature_names=feature_names)
    if place is not None:
        raise BundleError(f"{what}: row {place} of golden.json gets another answer than it was published with")


def _read_reference(path: Path, *, what: str) -> Reference:
    with reading(what, path.name):
        return Reference.from_dict(read_json(path))


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
            "columns": {entity: list(columns) for entity, columns in SUM_COLUMNS.items()},
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
        columns = {entity: list(columns) for entity, columns in SUM_COLUMNS.items()}
        if contents["columns"] != columns or contents["as_of"] != hour_text(as_of_hour):
            raise BundleError(f"{what}: snapshot.json has other columns, or names its hour in two ways")
    customer, terminal = (_read_entity(folder, entity, what=what) for entity in ENTITIES)
    with reading(what, "the sums"):
        return Snapshot(as_of_hour, customer, terminal)


def _read_entity(folder: Path, entity: str, *, what: str) -> EntityStatistics:
    arrays = []
    for name in (f"{entity}_keys.npy", f"{entity}_sums.npy"):
        with reading(what, name), (folder / name).open("rb") as file:
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    with reading(what, f"{entity}_keys.npy with {entity}_sums.npy"):
        return EntityStatistics(*arrays)
