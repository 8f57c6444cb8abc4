import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from model.bundle import BundleError
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasNotFoundError,
    RegistryReader,
    RegistryUnavailableError,
    Version,
    open_publisher,
    open_reader,
    registry_uri,
)
from model.settings import Settings, SettingsError
from service.loading import load_champion, wait_for_champion
from service.scorer import Loaded
from service.trial import try_here

load = partial(load_champion, attempt=try_here)  # the trial in a process of its own is in test_reload.py
OTHER_KEY = "another key than that of the small bank"


@pytest.fixture
def pod(settings: Settings, loaded: Loaded, tmp_path: Path) -> Settings:
    """Settings of a second pod on the small bank's registry, with a disk of its own."""
    assert loaded.model_version == "1"
    return settings.model_copy(update={"work_folder": tmp_path / "pod", "tracking_uri": registry_uri(settings)})


def cached(pod: Settings) -> list[Path]:
    return sorted(path for path in (pod.work_folder / "cache").iterdir() if path.is_dir())


class Counting:
    """A registry reader that counts its downloads, and may answer with other tags."""

    def __init__(self, reader: RegistryReader, *, without_tags: bool = False) -> None:
        self.downloads = 0
        self._reader = reader
        self._without_tags = without_tags

    def resolve(self, name: str, alias: str) -> Version:
        found = self._reader.resolve(name, alias)
        return replace(found, tags={}) if self._without_tags else found

    def download(self, version: Version, folder: Path) -> None:
        self.downloads += 1
        self._reader.download(version, folder)


@pytest.fixture
def registry(pod: Settings, monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(open_reader(pod.tracking_uri))
    monkeypatch.setattr("service.loading.open_reader", lambda _: counting)
    monkeypatch.setattr("service.trial.open_reader", lambda _: counting)
    return counting


def test_the_champion_and_the_current_statistics_are_loaded(pod: Settings, loaded: Loaded) -> None:
    again = load(pod)
    assert (again.model_version, again.statistics_version) == (loaded.model_version, loaded.statistics_version)
    assert again.snapshot.as_of == loaded.snapshot.as_of
    names = [folder.name for folder in cached(pod)]
    assert [name[: name.index("-1-") + 2] for name in names] == ["fraud-model-1", *["fraud-statistics-1"] * 2]
    assert names[2] == f"{names[1]}-profiles"


def test_a_second_start_downloads_nothing(pod: Settings, registry: Counting) -> None:
    load(pod)
    load(pod)
    assert registry.downloads == 2


@pytest.mark.parametrize("damage", ["cut", "gone", "changed", "manifest"])
def test_files_that_were_damaged_on_this_disk_are_downloaded_again(
    pod: Settings, registry: Counting, damage: str
) -> None:
    load(pod)
    model = cached(pod)[0]
    if damage == "cut":
        (model / "model.txt").write_text((model / "model.txt").read_text()[:1000])
    elif damage == "gone":
        (model / "golden.json").unlink()
    elif damage == "changed":
        (model / "model.txt").write_text((model / "model.txt").read_text().replace("1", "2", 1))
    else:
        (model / "manifest.json").write_text("{}")
    assert load(pod).model_version == "1"
    assert registry.downloads == 3


def test_files_that_are_damaged_in_the_registry_stop_the_start(
    pod: Settings, registry: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = registry.download

    def damaged(version: Version, folder: Path) -> None:
        download(version, folder)
        if version.name == MODEL_NAME:
            (folder / "model.txt").write_text("tree")

    monkeypatch.setattr(registry, "download", damaged)
    for _ in range(2):
        with pytest.raises(BundleError, match=r"model\.txt is not the file that was published"):
            load(pod)


def test_another_id_key_stops_the_start_and_is_not_told(pod: Settings) -> None:
    from pydantic import SecretStr

    other = pod.model_copy(update={"id_key": SecretStr(OTHER_KEY)})
    with pytest.raises(BundleError, match="another id key") as refused:
        load(other)
    assert OTHER_KEY not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_no_id_key_stops_the_start_before_the_registry_is_asked(pod: Settings) -> None:
    nowhere = pod.model_copy(update={"id_key": None, "tracking_uri": "http://registry.invalid"})
    with pytest.raises(SettingsError, match="FRAUD_ID_KEY_FILE or FRAUD_ID_KEY must be set"):
        load(nowhere)


def test_no_registry_stops_the_start_and_none_is_made(pod: Settings, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(RegistryUnavailableError, match="there is no registry"):
        load(pod.model_copy(update={"work_folder": empty, "tracking_uri": ""}))
    assert not empty.exists()


def test_a_registry_without_champion_stops_the_start(pod: Settings, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    open_publisher(address)
    with pytest.raises(AliasNotFoundError, match="'fraud-model' carries the alias 'champion'"):
        load(pod.model_copy(update={"tracking_uri": address}))


def test_a_version_whose_manifest_is_not_vouched_for_is_refused(pod: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Counting(open_reader(pod.tracking_uri), without_tags=True)
    monkeypatch.setattr("service.loading.open_reader", lambda _: silent)
    with pytest.raises(BundleError, match="does not say the SHA-256"):
        load(pod)
    assert silent.downloads == 0


def test_statistics_in_place_of_a_model_are_refused(
    pod: Settings, registry: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = registry.resolve(STATISTICS_NAME, CURRENT)
    resolve = registry.resolve
    monkeypatch.setattr(
        registry, "resolve", lambda name, alias: statistics if alias == CHAMPION else resolve(name, alias)
    )
    with pytest.raises(BundleError, match="not of kind 'model'"):
        load(pod)


def test_a_disk_that_takes_nothing_is_one_clear_error(pod: Settings) -> None:
    shutil.rmtree(pod.work_folder, ignore_errors=True)
    pod.work_folder.write_text("a file where a folder should be")
    with pytest.raises(Exception, match="cannot be written") as refused:
        load(pod)
    assert len(str(refused.value).splitlines()) == 1


def test_a_start_that_may_wait_serves_the_champion_that_comes_meanwhile(
    pod: Settings, registry: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = pod.model_copy(update={"start_seconds": 60.0})
    pauses: list[float] = []
    resolve = registry.resolve

    def not_yet(name: str, alias: str) -> Version:
        if len(pauses) < 2:
            raise (RegistryUnavailableError("away"), AliasNotFoundError(name, alias))[len(pauses)]
        return resolve(name, alias)

    monkeypatch.setattr(registry, "resolve", not_yet)
    # Of this module alone: other threads of the process sleep as well.
    monkeypatch.setattr("service.loading.time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))
    assert wait_for_champion(patient, attempt=try_here).model_version == "1"
    assert len(pauses) == 2


def test_a_start_that_may_not_wait_fails_at_once(
    pod: Settings, registry: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str, alias: str) -> Version:
        raise RegistryUnavailableError("away")

    monkeypatch.setattr(registry, "resolve", away)
    with pytest.raises(RegistryUnavailableError, match="away"):
        wait_for_champion(pod, attempt=try_here)
