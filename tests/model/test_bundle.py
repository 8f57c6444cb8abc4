import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from model import bundle as bundle_module
from model import manifest as manifest_module
from model.bundle import (
    BUNDLE_FILES,
    REFERENCE_FILE,
    SNAPSHOT_FILES,
    Bundle,
    BundleError,
    explainer_of,
    golden_cases,
    read_bundle,
    read_snapshot,
    write_bundle,
    write_snapshot,
)
from model.decision import CutOffs
from model.drift import Reference, make_reference
from model.explain import Engine, TreeExplainer, margins
from model.features import FEATURE_NAMES, build_features
from model.statistics import ENTITIES, SUM_COLUMNS, SUMS, EntityStatistics, Floats, Snapshot, windows_of
from model.transaction import Transactions

KEY = "fingerprint of the id key in use"
CUTOFFS = CutOffs(review=0.2, decline=0.7)
FACTS = {"trees": 5, "periods": {"test": ["2018-07-01T00:00:00Z", "2018-07-08T00:00:00Z"]}}
HOUR = 430_000
ROWS = 400

Edit = Callable[[Path], object]


def known_entities(entity: str, rng: np.random.Generator, *, n: int) -> EntityStatistics:
    windows = list(windows_of(entity))
    counts = np.sort(rng.integers(0, 90, (n, len(windows))), axis=1).astype(np.float64)
    total = np.round(counts * rng.uniform(500, 20_000, (n, 1)))
    reports = np.sort(rng.integers(0, 4, (n, len(windows))), axis=1)
    known = {
        "transactions": counts,
        "amount": total,
        "amount_squared": np.round(1.3 * total * total / np.maximum(counts, 1)),
        "reports": reports,
    }
    sums = np.stack([known[one.quantity][:, windows.index(one.window)] for one in SUMS[entity]], axis=1)
    return EntityStatistics(np.sort(rng.choice(10**6, n, replace=False)) - 500_000, sums.astype(np.float64))


def make_snapshot(seed: int) -> Snapshot:
    rng = np.random.default_rng(seed)
    return Snapshot(HOUR + seed, known_entities("customer", rng, n=50), known_entities("terminal", rng, n=20))


def payments(seed: int) -> tuple[Transactions, Floats]:
    """Some payments, a few of them by unknown customers, and what was known of each."""
    rng, snapshot = np.random.default_rng(seed), make_snapshot(seed)
    transactions = Transactions(rng.integers(0, 10**9, ROWS), np.round(rng.uniform(0, 400, ROWS), 2))
    customers = rng.choice([*snapshot.customer.keys, 7_000_000], ROWS)
    return transactions, snapshot.lookup(customers, rng.choice(snapshot.terminal.keys, ROWS))


def make_booster(seed: int, *, columns: int = len(FEATURE_NAMES), names: Any = None, **parameters: Any) -> str:
    features = build_features(*payments(seed))[:, :columns]
    label = (np.nan_to_num(features[:, 0]) > 250).astype(int)
    table = lgb.Dataset(features, label, feature_name=list(names or FEATURE_NAMES[:columns]))
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 8, "learning_rate": 0.5, "seed": seed} | parameters
    text: str = lgb.train(settings, table, 5).model_to_string()
    return text


def write_model(
    folder: Path, *, seed: int = 1, golden_rows: int = 6, text: str | None = None, reference: Reference | None = None
) -> str:
    booster_text = make_booster(seed)
    transactions, sums = payments(seed)
    chosen = slice(0, golden_rows)
    golden = golden_cases(
        Transactions(transactions.tx_seconds[chosen], transactions.tx_amount[chosen]),
        sums[chosen],
        explainer=TreeExplainer(booster_text),
        cutoffs=CUTOFFS,
    )
    return write_bundle(
        folder,
        booster_text=text or booster_text,
        cutoffs=CUTOFFS,
        golden=golden,
        id_key_fingerprint=KEY,
        facts=FACTS | {"seed": seed},
        reference=reference,
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two published models and two snapshots, never changed."""
    folder = tmp_path_factory.mktemp("published")
    for seed in (1, 2):
        write_model(folder / f"model-{seed}", seed=seed)
        write_snapshot(folder / f"statistics-{seed}", make_snapshot(seed), id_key_fingerprint=KEY, facts={})
    return folder


@pytest.fixture
def model(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published / "model-1", tmp_path / "model-1"))


@pytest.fixture
def statistics(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published / "statistics-1", tmp_path / "statistics-1"))


def read(folder: Path, **given: Any) -> Bundle | Snapshot:
    return (read_bundle if "model" in folder.name else read_snapshot)(folder, **({"id_key_fingerprint": KEY} | given))


def refusal(folder: Path, **given: Any) -> str:
    with pytest.raises(BundleError) as caught:
        read(folder, **given)
    message = str(caught.value)
    assert folder.name in message
    assert "\n" not in message
    return message


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def reseal(folder: Path) -> None:
    """Make the manifest's hashes fit the files again, as someone would who may write to the registry."""

    def with_hashes(manifest: dict[str, Any]) -> dict[str, Any]:
        hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
        return manifest | {"files": hashes}

    change_json(folder / "manifest.json", with_hashes)


FOLDERS = ("model", "statistics")
ALL_FILES = [("model", name) for name in ("manifest.json", *BUNDLE_FILES)]
ALL_FILES += [("statistics", name) for name in ("manifest.json", *SNAPSHOT_FILES)]
SEALED_FILES = [(kind, name) for kind, name in ALL_FILES if name != "manifest.json"]


# --- what was written is read -----------------------------------------------------------------------------------------


def test_a_model_is_read_as_it_was_written_to_the_last_bit(model: Path) -> None:
    bundle = read_bundle(model, id_key_fingerprint=KEY)
    assert (bundle.cutoffs, bundle.facts) == (CUTOFFS, FACTS | {"seed": 1})
    features = build_features(*payments(5))
    contributions, base_value = bundle.explainer.explain(features)
    expected, expected_base = TreeExplainer(make_booster(1)).explain(features)
    assert np.array_equal(contributions, expected)
    assert base_value == expected_base
    assert np.ptp(margins(contributions, base_value)) > 0.1


@pytest.mark.parametrize("n", [0, 1, 50])
def test_statistics_are_read_as_they_were_written_to_the_last_bit(tmp_path: Path, n: int) -> None:
    rng = np.random.default_rng(3)
    snapshot = Snapshot(HOUR, known_entities("customer", rng, n=n), known_entities("terminal", rng, n=20))
    write_snapshot(tmp_path / "statistics-9", snapshot, id_key_fingerprint=KEY, facts={})
    again = read_snapshot(tmp_path / "statistics-9", id_key_fingerprint=KEY)
    assert again.as_of_hour == HOUR
    for entity in ENTITIES:
        one, other = getattr(snapshot, entity), getattr(again, entity)
        assert one.keys.tobytes() == other.keys.tobytes()
        assert one.sums.tobytes() == other.sums.tobytes()


def test_the_same_model_written_twice_has_the_same_manifest(tmp_path: Path) -> None:
    digests = {write_model(tmp_path / name) for name in ("model-a", "model-b")}
    assert len(digests) == 1
    digest = hashlib.sha256((tmp_path / "model-a" / "manifest.json").read_bytes()).hexdigest()
    assert digests == {digest}


def test_a_bundle_is_never_written_over_another(model: Path) -> None:
    with pytest.raises(FileExistsError):
        write_model(model)


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_digest_that_the_registry_knows_is_accepted(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert read(folder, manifest_sha256=digest)


@pytest.mark.parametrize("kind", FOLDERS)
def test_files_that_the_manifest_does_not_name_are_harmless(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    (folder / "model.pkl").write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")
    (folder / "notes").mkdir()
    assert read(folder)


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), SEALED_FILES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(kind: str, name: str, share: float, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    assert f"{name} is not the file that was published" in refusal(folder)


@pytest.mark.parametrize(("kind", "name"), SEALED_FILES)
def test_one_flipped_bit_anywhere_is_noticed(kind: str, name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    whole = (folder / name).read_bytes()
    for place in np.linspace(0, len(whole) - 1, 9).astype(int):
        changed = bytearray(whole)
        changed[place] ^= 1 << (int(place) % 8)
        (folder / name).write_bytes(changed)
        assert f"{name} is not the file that was published" in refusal(folder)


@pytest.mark.parametrize(("kind", "name"), ALL_FILES)
def test_a_missing_file_is_named(kind: str, name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    (folder / name).unlink()
    assert f"{name} is missing" in refusal(folder)
    (folder / name).mkdir()
    assert f"{name} is missing" in refusal(folder)


@pytest.mark.parametrize(("kind", "name"), SEALED_FILES)
def test_a_file_of_another_bundle_is_named(
    kind: str, name: str, published: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    shutil.copyfile(published / f"{kind}-2" / name, folder / name)
    assert f"{name} is not the file that was published" in refusal(folder)


def test_a_truncated_model_ends_no_process(model: Path) -> None:
    whole = (model / "model.txt").read_bytes()
    (model / "model.txt").write_bytes(whole[: len(whole) // 2])
    program = (
        "import sys; from pathlib import Path; from model.bundle import BundleError, read_bundle\n"
        "try: read_bundle(Path(sys.argv[1]), id_key_fingerprint=sys.argv[2])\n"
        "except BundleError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", program, model, KEY], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "model.txt is not the file that was published" in ran.stdout


def test_hashes_are_checked_before_lightgbm_sees_a_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(text: str) -> None:
        raise AssertionError(text[:20])

    monkeypatch.setattr(bundle_module, "load_booster", unreachable)
    (model / "golden.json").write_text("[]")
    assert "golden.json is not the file that was published" in refusal(model)


def test_another_folder_or_none_is_refused(tmp_path: Path, model: Path) -> None:
    assert "manifest.json is missing" in refusal(tmp_path / "no-model")
    with pytest.raises(BundleError, match="is not of kind 'statistics'"):
        read_snapshot(model, id_key_fingerprint=KEY)


# --- the manifest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b'"manifest"',
        b"7",
        b"{}",
        b"[" * 100_000,
        b'{"format": 1' + b"0" * 5000 + b"}",
    ],
)
def test_a_manifest_that_is_no_object_is_refused(kind: str, content: bytes, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    (folder / "manifest.json").write_bytes(content)
    assert "manifest.json is malformed" in refusal(folder)


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_manifest_is_refused(kind: str, share: float, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    whole = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(whole[: int(len(whole) * share)])
    assert "manifest.json is malformed" in refusal(folder)


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("key", ["format", "kind", "feature_schema", "id_key_fingerprint", "files"])
def test_a_manifest_without_one_of_its_keys_is_refused(kind: str, key: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    change_json(folder / "manifest.json", lambda manifest: {name: manifest[name] for name in manifest if name != key})
    message = refusal(folder)
    assert "manifest.json is malformed" in message
    assert key in message


@pytest.mark.parametrize("files", [None, [], "model.txt", 7, {"model.txt": None}, {}])
def test_a_manifest_whose_list_of_files_is_none_is_refused(model: Path, files: Any) -> None:
    change_json(model / "manifest.json", lambda manifest: manifest | {"files": files})
    assert "manifest.json" in refusal(model)


@pytest.mark.parametrize(("kind", "name"), SEALED_FILES)
def test_a_file_that_the_manifest_does_not_vouch_for_is_not_read(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)

    def without(manifest: dict[str, Any]) -> dict[str, Any]:
        return manifest | {"files": {file: manifest["files"][file] for file in manifest["files"] if file != name}}

    change_json(folder / "manifest.json", without)
    assert f"manifest.json does not name {name}" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["../model.txt", "/etc/hostname", "..", ".", "", "a/b", "a\\b", ".hidden", "model.txt\0", "mod\nel.txt"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(model / "model.txt", tmp_path / "model.txt")
    digest = hashlib.sha256((model / "model.txt").read_bytes()).hexdigest()
    change_json(model / "manifest.json", lambda manifest: manifest | {"files": manifest["files"] | {name: digest}})
    assert "is not a plain file name" in refusal(model)


@pytest.mark.parametrize("value", [0, 2, "1", None])
def test_an_unknown_format_is_refused(model: Path, value: Any) -> None:
    change_json(model / "manifest.json", lambda manifest: manifest | {"format": value})
    assert "format 1" in refusal(model)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_manifest_that_the_registry_does_not_know_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    change_json(folder / "manifest.json", lambda manifest: manifest | {"note": "changed"})
    assert "manifest.json is not the one that was published" in refusal(folder, manifest_sha256=digest)


@pytest.mark.parametrize("kind", FOLDERS)
def test_another_id_key_is_refused_with_what_it_would_do(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    assert "another id key than the one configured" in refusal(folder, id_key_fingerprint="another")


@pytest.mark.parametrize("kind", FOLDERS)
def test_statistics_of_other_sums_and_models_made_from_them_are_refused(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path = request.getfixturevalue(kind)
    monkeypatch.setattr(manifest_module, "sums_fingerprint", lambda: "0" * 32)
    assert "made for other features" in refusal(folder)


# --- a bundle that is whole but wrong ---------------------------------------------------------------------------------


def shift_a_leaf(folder: Path) -> None:
    booster = lgb.Booster(model_file=folder / "model.txt")
    for leaf in range(booster.dump_model()["tree_info"][0]["num_leaves"]):
        booster.set_leaf_output(0, leaf, booster.get_leaf_output(0, leaf) + 1e-6)
    booster.save_model(folder / "model.txt")


def lower_the_cutoffs(folder: Path) -> None:
    change_json(folder / "bundle.json", lambda contents: contents | {"cutoffs": {"review": 0.0, "decline": 0.0}})


def change_golden(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Edit:
    def edit(folder: Path) -> None:
        change_json(folder / "golden.json", lambda cases: [cases[0], change(cases[1]), *cases[2:]])

    return edit


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (shift_a_leaf, r"\d"),
        (lower_the_cutoffs, r"\d"),
        (change_golden(lambda case: case | {"decision": "perhaps"}), "1"),
        (change_golden(lambda case: case | {"margin": case["margin"] + 1e-6}), "1"),
        (change_golden(lambda case: case | {"margin": float("nan")}), "1"),
        (change_golden(lambda case: case | {"contributions": [0.0] * len(FEATURE_NAMES)}), "1"),
        (change_golden(lambda case: case | {"contributions": []}), "1"),
        (change_golden(lambda case: case | {"features": [0.0] * len(FEATURE_NAMES)}), "1"),
        (change_golden(lambda case: case | {"tx_amount": case["tx_amount"] + 1000}), "1"),
    ],
)
def test_a_model_that_answers_golden_rows_otherwise_is_refused(model: Path, edit: Edit, place: str) -> None:
    edit(model)
    reseal(model)
    assert re.search(rf"row {place} of golden\.json gets another answer", refusal(model))


def test_golden_rows_leave_room_for_another_processors_rounding(model: Path) -> None:
    change_golden(lambda case: case | {"margin": case["margin"] + 1e-12})(model)
    reseal(model)
    assert read(model)


def test_a_model_without_golden_rows_is_refused(model: Path) -> None:
    (model / "golden.json").write_text("[]")
    reseal(model)
    assert "golden.json has no rows" in refusal(model)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "7",
        "[7]",
        "[{}]",
        '[{"tx_seconds": "soon"}]',
        "[" * 100_000,
    ],
)
def test_golden_rows_that_make_no_sense_are_refused(model: Path, content: str) -> None:
    (model / "golden.json").write_text(content)
    reseal(model)
    assert "golden.json is malformed" in refusal(model)


@pytest.mark.parametrize(
    "change",
    [
        {"sums": [1.0]},
        {"sums": None},
        {"contributions": ["high"] * len(FEATURE_NAMES)},
        {"tx_seconds": 10**30},
        {"tx_amount": "much"},
        {"surprise": 1},
    ],
)
def test_a_golden_row_with_a_malformed_field_is_refused(model: Path, change: dict[str, Any]) -> None:
    change_golden(lambda case: case | change)(model)
    reseal(model)
    assert "golden.json is malformed" in refusal(model)


@pytest.mark.parametrize(
    "change",
    [
        {"cutoffs": {"review": 0.9, "decline": 0.1}},
        {"cutoffs": {"review": 0.9}},
        {"cutoffs": None},
        {"cutoffs": {"review": "low", "decline": 1}},
        {"facts": None},
    ],
)
def test_a_malformed_description_of_a_model_is_refused(model: Path, change: dict[str, Any]) -> None:
    change_json(model / "bundle.json", lambda contents: contents | change)
    reseal(model)
    assert "bundle.json is malformed" in refusal(model)


@pytest.mark.parametrize("key", ["cutoffs", "facts", "feature_names"])
def test_a_description_without_one_of_its_keys_is_refused(model: Path, key: str) -> None:
    change_json(model / "bundle.json", lambda contents: {name: contents[name] for name in contents if name != key})
    reseal(model)
    assert "bundle.json is malformed" in refusal(model)


def test_feature_names_in_another_order_are_refused(model: Path) -> None:
    change_json(model / "bundle.json", lambda contents: contents | {"feature_names": contents["feature_names"][::-1]})
    reseal(model)
    assert "feature names in bundle.json are not those of model.txt in their order" in refusal(model)


@pytest.mark.parametrize(
    ("booster", "words"),
    [
        ({"columns": 10}, "row 0 of golden.json gets another answer"),
        ({"names": FEATURE_NAMES[::-1]}, "row 0 of golden.json gets another answer"),
        ({"objective": "regression"}, "model.txt is malformed .*objective=binary"),
        ({"objective": "multiclass", "num_class": 3}, "model.txt is malformed .*num_class=1"),
        ({"sigmoid": 3.0}, "model.txt is malformed .*sigmoid:1"),
    ],
)
def test_a_booster_of_another_kind_is_refused(tmp_path: Path, booster: dict[str, Any], words: str) -> None:
    write_model(tmp_path / "model-7", text=make_booster(1, **booster))
    assert re.search(words, refusal(tmp_path / "model-7"))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_a_model_cut_off_before_it_was_published_is_refused(model: Path, share: float) -> None:
    whole = (model / "model.txt").read_text()
    (model / "model.txt").write_text(whole[: int(whole.index("\nend of trees") * share)])
    reseal(model)
    assert "model.txt is malformed (BoosterError" in refusal(model)


def test_a_leaf_edited_by_hand_is_refused_where_the_text_has_another_length(model: Path) -> None:
    text = (model / "model.txt").read_text()
    (model / "model.txt").write_text(text.replace("\nleaf_value=", "\nleaf_value=0", 1))
    reseal(model)
    assert "cut off or edited: tree 1 is not in its place" in refusal(model)


def test_a_model_that_is_no_text_is_refused(model: Path) -> None:
    (model / "model.txt").write_bytes(b"\xff\xfe\x00")
    reseal(model)
    assert "model.txt is malformed (UnicodeDecodeError" in refusal(model)


# --- a snapshot that is whole but wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SNAPSHOT_FILES if name.endswith(".npy")])
def test_an_array_of_pickled_objects_is_refused_and_never_unpickled(statistics: Path, name: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(statistics / "sprung").touch, ())

    np.save(statistics / name, np.array([Trap()], dtype=object), allow_pickle=True)
    reseal(statistics)
    assert f"{name} is malformed" in refusal(statistics)
    assert not (statistics / "sprung").exists()


@pytest.mark.parametrize("name", [name for name in SNAPSHOT_FILES if name.endswith(".npy")])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 0.999])
def test_an_array_cut_off_before_it_was_published_is_refused(statistics: Path, name: str, share: float) -> None:
    whole = (statistics / name).read_bytes()
    (statistics / name).write_bytes(whole[: int(len(whole) * share)])
    reseal(statistics)
    assert f"{name} is malformed" in refusal(statistics)


def test_an_array_that_claims_to_be_huge_is_refused(statistics: Path) -> None:
    whole = (statistics / "customer_keys.npy").read_bytes()
    claim, room = b"(50,), }", b"(99999999999999,), }"
    assert claim.ljust(len(room)) in whole
    (statistics / "customer_keys.npy").write_bytes(whole.replace(claim.ljust(len(room)), room, 1))
    reseal(statistics)
    assert "customer_keys.npy is malformed" in refusal(statistics)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("customer_keys.npy", np.arange(50)[::-1].copy()),
        ("customer_keys.npy", np.zeros(50, dtype=np.int64)),
        ("customer_keys.npy", np.arange(50, dtype=np.uint64)),
        ("customer_keys.npy", np.arange(50, dtype=">i8")),
        ("customer_keys.npy", np.arange(51)),
        ("customer_keys.npy", np.int64(7)),
        ("customer_sums.npy", np.zeros((49, 12))),
        ("customer_sums.npy", np.zeros((50, 12), dtype=np.float32)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(statistics: Path, name: str, array: Any) -> None:
    np.save(statistics / name, array)
    reseal(statistics)
    assert "customer_keys.npy with customer_sums.npy is malformed" in refusal(statistics)


def test_sums_of_another_number_of_columns_are_refused(statistics: Path) -> None:
    np.save(statistics / "customer_sums.npy", np.zeros((50, 11)))
    reseal(statistics)
    assert "sums of a customer are 12 numbers, these are of shape (50, 11)" in refusal(statistics)


def test_an_archive_in_place_of_an_array_is_refused(statistics: Path) -> None:
    np.savez(statistics / "keys.npz", keys=np.arange(50))
    (statistics / "keys.npz").replace(statistics / "customer_keys.npy")
    reseal(statistics)
    assert "customer_keys.npy is malformed" in refusal(statistics)


@pytest.mark.parametrize(
    "change",
    [
        {"columns": {entity: list(columns[::-1]) for entity, columns in SUM_COLUMNS.items()}},
        {"columns": list(SUM_COLUMNS["customer"])},
        {"as_of_hour": HOUR},
        {"as_of": "2019-01-01T00:00:00Z"},
        {"as_of_hour": "soon"},
        {"as_of_hour": 10**18},
        {"as_of_hour": None},
    ],
)
def test_a_malformed_description_of_statistics_is_refused(statistics: Path, change: dict[str, Any]) -> None:
    change_json(statistics / "snapshot.json", lambda contents: contents | change)
    reseal(statistics)
    assert "snapshot.json" in refusal(statistics)


# --- a model of some features -----------------------------------------------------------------------------------------

SOME_FEATURES = ("terminal_reports_7d", "amount", "customer_amount_mean_30d", "hour", "customer_amount_ratio_7d")
ENGINES: tuple[Engine, ...] = ("native", "numpy", "pred_contrib")


def booster_of(names: Sequence[str], *, seed: int = 1) -> str:
    """Train on the named features only, in their order."""
    features = build_features(*payments(seed))
    label = (np.nan_to_num(features[:, 0]) > 250) ^ (features[:, 1] > 18)
    columns = features[:, [FEATURE_NAMES.index(name) for name in names]]
    table = lgb.Dataset(columns, label.astype(int), feature_name=list(names))
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 8, "learning_rate": 0.5, "seed": seed}
    text: str = lgb.train(settings, table, 5).model_to_string()
    return text


def write_some(folder: Path, names: Sequence[str]) -> str:
    text = booster_of(names)
    transactions, sums = payments(2)
    golden = golden_cases(transactions, sums, explainer=explainer_of(text), cutoffs=CUTOFFS, feature_names=names)
    write_bundle(
        folder, booster_text=text, cutoffs=CUTOFFS, golden=golden[:6], id_key_fingerprint=KEY, facts={}, reference=None
    )
    return text


def test_a_model_of_some_features_in_any_order_explains_rows_of_all(tmp_path: Path) -> None:
    text = write_some(tmp_path / "model-1", SOME_FEATURES)
    bundle = read_bundle(tmp_path / "model-1", id_key_fingerprint=KEY)
    assert bundle.feature_names == SOME_FEATURES
    features = build_features(*payments(7))
    columns = [FEATURE_NAMES.index(name) for name in SOME_FEATURES]
    expected = np.asarray(lgb.Booster(model_str=text).predict(features[:, columns], pred_contrib=True))
    contributions, base = bundle.explainer.explain(features)
    assert contributions[:, columns] == pytest.approx(expected[:, :-1], abs=1e-10)
    assert base == pytest.approx(expected[0, -1])
    assert not np.delete(contributions, columns, axis=1).any()
    row, shares = features[3].copy(), np.full(len(FEATURE_NAMES), np.nan)
    assert bundle.explainer.explain_into(row, shares) == pytest.approx(expected[3].sum())
    assert np.array_equal(shares, contributions[3])


def test_every_engine_maps_features_alike() -> None:
    text, features = booster_of(SOME_FEATURES), build_features(*payments(7))[:20]
    one, *others = (explainer_of(text, engine=engine).explain(features) for engine in ENGINES)
    for other in others:
        assert other[0] == pytest.approx(one[0], abs=1e-10)
        assert other[1] == pytest.approx(one[1])


def test_golden_rows_hold_the_models_own_features_and_are_checked_on_them(tmp_path: Path) -> None:
    folder = tmp_path / "model-1"
    write_some(folder, SOME_FEATURES)
    cases = json.loads((folder / "golden.json").read_text())
    assert {len(case["features"]) for case in cases} == {len(case["contributions"]) for case in cases} == {5}
    change_golden(lambda case: case | {"contributions": case["contributions"][::-1]})(folder)
    reseal(folder)
    assert "row 1 of golden.json gets another answer" in refusal(folder)


def test_a_model_of_all_features_is_explained_by_the_same_call_as_without_a_mapping() -> None:
    plain, mapped = TreeExplainer(make_booster(1)), explainer_of(make_booster(1))
    assert type(mapped.explain_into) is type(plain.explain_into)
    features = build_features(*payments(3))
    assert np.array_equal(mapped.explain(features)[0], plain.explain(features)[0])


def test_a_feature_that_the_code_does_not_have_is_named(tmp_path: Path) -> None:
    names = ("amount", "phase_of_the_moon", "hour")
    table = lgb.Dataset(np.random.default_rng(1).random((200, 3)), np.arange(200) % 2, feature_name=list(names))
    text = lgb.train({"objective": "binary", "verbose": -1}, table, 2).model_to_string()
    write_model(tmp_path / "model-7", text=text)
    message = refusal(tmp_path / "model-7")
    assert "needs features that this version of the code does not have: 'phase_of_the_moon'" in message
    with pytest.raises(BundleError, match="phase_of_the_moon"):
        explainer_of(text)


@pytest.mark.parametrize("names", [[], ["amount", "amount"], "amount", [["amount"]], 7, None])
def test_feature_names_that_are_no_list_of_names_are_refused(model: Path, names: Any) -> None:
    change_json(model / "bundle.json", lambda contents: contents | {"feature_names": names})
    reseal(model)
    refusal(model)


# --- the reference for drift ------------------------------------------------------------------------------------------


def a_reference() -> Reference:
    return make_reference(build_features(*payments(1)), np.random.default_rng(1).random(ROWS))


def test_a_model_is_read_with_its_reference_or_without_one(model: Path, tmp_path: Path) -> None:
    assert read_bundle(model, id_key_fingerprint=KEY).reference is None
    write_model(tmp_path / "model-9", reference=a_reference())
    assert read_bundle(tmp_path / "model-9", id_key_fingerprint=KEY).reference == a_reference()


def test_a_reference_that_the_manifest_does_not_vouch_for_is_not_read(model: Path) -> None:
    (model / REFERENCE_FILE).write_text(json.dumps(a_reference().as_dict()))
    assert read_bundle(model, id_key_fingerprint=KEY).reference is None


@pytest.mark.parametrize("content", ["", "7", "null", "[]", "{}", '{"amount": {}}', '{"amount": 7}', "[" * 100_000])
def test_a_changed_or_malformed_reference_is_refused(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "model-9"
    write_model(folder, reference=a_reference())
    (folder / REFERENCE_FILE).write_text(content)
    assert f"{REFERENCE_FILE} is not the file that was published" in refusal(folder)
    reseal(folder)
    assert f"{REFERENCE_FILE} is malformed" in refusal(folder)
    (folder / REFERENCE_FILE).unlink()
    assert f"{REFERENCE_FILE} is missing" in refusal(folder)


# --- golden rows ------------------------------------------------------------------------------------------------------


def test_golden_rows_survive_json_with_what_is_not_known_as_null() -> None:
    transactions, sums = payments(1)
    cases = golden_cases(transactions, sums, explainer=TreeExplainer(make_booster(1)), cutoffs=CUTOFFS)
    assert len(cases) == ROWS
    assert any(None in case.sums for case in cases)
    assert {case.decision for case in cases} >= {"approve", "decline"}
    again = json.loads(json.dumps([asdict(case) for case in cases], allow_nan=False))
    assert [replace(case) for case in cases] == [type(cases[0])(**case) for case in again]


def test_a_compiled_explainer_that_differs_is_replaced_by_lightgbms_own_and_said_so(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Differs(TreeExplainer):
        """Explains correctly only with LightGBM's own values."""

        def explain(self, rows: Any) -> tuple[Floats, float]:
            contributions, base = super().explain(rows)
            return contributions + 1e-6 * (self.engine != "pred_contrib"), base

    monkeypatch.setattr("model.bundle.TreeExplainer", Differs)
    bundle = read_bundle(model, id_key_fingerprint=KEY)
    assert bundle.explainer.engine == "pred_contrib"
    assert "differs on golden rows" in caplog.text


def test_an_explainer_that_agrees_is_used_without_a_word(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_bundle(model, id_key_fingerprint=KEY).explainer.engine == TreeExplainer(make_booster(1)).engine
    assert not caplog.text
