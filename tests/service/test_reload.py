"""One poll after the other, in this thread; trials run in this process, but where a process of its own matters."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from model.bundle import BundleError
from model.registry import CHALLENGER, MODEL_NAME, STATISTICS_NAME, Version
from model.settings import Settings
from service.freshness import Freshness
from service.loading import Loader, load_champion
from service.reload import LONGEST_BACKOFF, Reloader
from service.schemas import Transaction
from service.scorer import Loaded, Scorer
from service.trial import try_here
from tests.service.shelf import Shelf, make_shelf, pod_on, serving
from tests.service.wire import payment

Held = tuple[Loaded, ...]


@pytest.fixture
def shelf(settings: Settings, loaded: Loaded, tmp_path: Path) -> Iterator[Shelf]:
    with serving(make_shelf(tmp_path / "registry", settings, loaded)) as shelf:
        yield shelf


class Pod:
    """A service without its HTTP side: it loads, polls and notes what it was told to serve."""

    def __init__(self, shelf: Shelf, folder: Path, **changed: Any) -> None:
        self.settings = pod_on(shelf, folder, **changed)
        self.served: list[Held] = []
        self.followed: list[Version | None] = []
        self.now = 1000.0
        self.registry = CollectorRegistry()
        self.cache = folder / "cache"
        first = load_champion(self.settings, attempt=try_here)
        self.reloader = Reloader(
            self.settings,
            first,
            swap=self.served.append,
            freshness=Freshness(self.registry),
            follow=self.followed.append,
            loader=Loader(self.settings, attempt=try_here),
            clock=lambda: self.now,
        )

    def poll(self) -> tuple[str, str]:
        """Ask once, and return the versions in service."""
        self.reloader.poll()
        return self.reloader.current.model_version, self.reloader.current.statistics_version

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None
        return value

    def folders(self) -> set[str]:
        return {path.name.rpartition("-")[0] for path in self.cache.iterdir() if path.is_dir()}


@pytest.fixture
def pod(shelf: Shelf, tmp_path: Path) -> Pod:
    return Pod(shelf, tmp_path / "pod")


def score(loaded: Loaded, settings: Settings) -> float:
    transaction = Transaction.model_validate(payment())
    return float(Scorer(loaded, settings.id_hasher()).answer(transaction)[0]["score"])


def test_nothing_new_changes_nothing_and_downloads_nothing(pod: Pod, shelf: Shelf) -> None:
    before = len(shelf.downloads)
    assert pod.poll() == ("1", "1")
    assert (pod.served, len(shelf.downloads)) == ([], before)
    assert pod.metric("fraud_registry_polls_total", result="unchanged") == 1
    assert pod.metric("fraud_registry_last_poll_timestamp_seconds") > 0


def test_newer_statistics_are_taken_with_the_same_model(pod: Pod, shelf: Shelf) -> None:
    first = pod.reloader.current
    shelf.point(champion="1", current=shelf.add_statistics(later_by=1))
    assert pod.poll() == ("1", "2")
    (held,) = pod.served
    assert held[0].bundle is first.bundle
    assert held[0].snapshot.as_of_hour == first.snapshot.as_of_hour + 1
    assert held[1] is first


def test_a_swapped_pair_scores_as_one_that_was_loaded_at_start(pod: Pod, shelf: Shelf, tmp_path: Path) -> None:
    before = score(pod.reloader.current, pod.settings)
    shelf.point(champion=shelf.add_model(trees=20), current=shelf.add_statistics(later_by=3))
    assert pod.poll() == ("2", "2")
    fresh = load_champion(pod_on(shelf, tmp_path / "other"), attempt=try_here)
    assert score(pod.reloader.current, pod.settings) == score(fresh, pod.settings) != before


def test_the_way_back_needs_no_download_and_no_trial(pod: Pod, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pod.reloader.current
    shelf.point(champion=shelf.add_model(trees=20), current="1")
    pod.poll()
    before = len(shelf.downloads)
    monkeypatch.setattr(Loader, "_tried", None)
    shelf.point(champion="1", current="1")
    assert pod.poll() == ("1", "1")
    assert pod.reloader.current.bundle is first.bundle
    assert len(shelf.downloads) == before


def test_the_model_before_is_kept_through_refreshes_of_the_statistics(
    pod: Pod, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pod.reloader.current
    shelf.point(champion=shelf.add_model(trees=20), current="1")
    pod.poll()
    for hour in (1, 2, 3):
        shelf.point(champion="2", current=shelf.add_statistics(later_by=hour))
        assert pod.poll() == ("2", str(hour + 1))
    assert [(one.model_version, one.statistics_version) for one in pod.reloader.kept] == [("2", "3"), ("1", "4")]
    monkeypatch.setattr(Loader, "_tried", None)
    shelf.point(champion="1", current="4")
    assert pod.poll() == ("1", "4")
    assert pod.reloader.current.bundle is first.bundle


def test_the_cache_keeps_what_is_in_use_and_before_and_never_grows(pod: Pod, shelf: Shelf) -> None:
    (pod.cache / ".fraud-model-9-abandoned").mkdir()
    for hour in range(1, 6):
        shelf.point(champion=shelf.add_model(trees=10 + hour), current=shelf.add_statistics(later_by=hour))
        pod.poll()
    assert pod.folders() - {".fraud-model-9"} == {
        "fraud-model-5",
        "fraud-model-6",
        "fraud-statistics-5",
        "fraud-statistics-5-" + pod.reloader.kept[0].statistics_digest[:16],
        "fraud-statistics-6",
        "fraud-statistics-6-" + pod.reloader.current.statistics_digest[:16],
    }
    # What was deleted and what lies beside it in memory still answer.
    assert score(pod.reloader.kept[0], pod.settings) >= 0


def break_file(shelf: Shelf, name: str, number: str, file: str, content: bytes | None = None) -> None:
    path = shelf.folder_of(name, number) / file
    path.write_bytes(path.read_bytes()[:-7] if content is None else content)


@pytest.mark.parametrize(
    ("name", "file"),
    [(MODEL_NAME, "model.txt"), (MODEL_NAME, "manifest.json"), (STATISTICS_NAME, "customer_sums.npy")],
)
def test_a_damaged_pair_is_not_taken_and_said_once(
    pod: Pod, shelf: Shelf, caplog: pytest.LogCaptureFixture, name: str, file: str
) -> None:
    shelf.point(champion=shelf.add_model(trees=20), current=shelf.add_statistics(later_by=1))
    break_file(shelf, name, "2", file)
    for _ in range(5):
        assert pod.poll() == ("1", "1")
        pod.now += 100
    assert pod.served == []
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert file in errors[0]
    assert "model 2 with statistics 2 is not taken" in errors[0]
    assert pod.metric("fraud_refused_version") == 1
    assert 1 < pod.metric("fraud_reloads_total", result="refused") < 5


def test_a_pair_that_failed_is_tried_again_less_and_less_often_and_taken_when_it_is_whole(
    pod: Pod, shelf: Shelf
) -> None:
    number = shelf.add_statistics(later_by=1)
    whole = (shelf.folder_of(STATISTICS_NAME, number) / "terminal_keys.npy").read_bytes()
    break_file(shelf, STATISTICS_NAME, number, "terminal_keys.npy")
    shelf.point(champion="1", current=number)
    attempts = 0
    while pod.now < 1000 + 2 * LONGEST_BACKOFF:
        pod.poll()
        pod.now += pod.settings.poll_seconds
        attempts += 1
    tried = pod.metric("fraud_reloads_total", result="refused")
    assert 5 < tried < 12 < attempts
    break_file(shelf, STATISTICS_NAME, number, "terminal_keys.npy", whole)
    pod.now += LONGEST_BACKOFF
    assert pod.poll() == ("1", number)
    assert pod.metric("fraud_refused_version") == 0


def test_a_bad_pair_does_not_hold_up_the_good_one_after_it(pod: Pod, shelf: Shelf) -> None:
    shelf.point(champion=shelf.add_model(trees=20), current="1")
    break_file(shelf, MODEL_NAME, "2", "model.txt")
    assert pod.poll() == ("1", "1")
    shelf.point(champion=shelf.add_model(trees=30), current="1")
    assert pod.poll() == ("3", "1")


@pytest.mark.parametrize("manner", ["garbage", "error"])
def test_a_registry_out_of_its_mind_changes_nothing_and_is_said_once(
    pod: Pod, shelf: Shelf, caplog: pytest.LogCaptureFixture, manner: str
) -> None:
    caplog.set_level(logging.INFO, "antifraud")
    shelf.manner = manner
    for _ in range(3):
        assert pod.poll() == ("1", "1")
    shelf.manner = "honest"
    pod.poll()
    said = [record.getMessage() for record in caplog.records if record.name == "antifraud"]
    assert ["stay as they are" in line for line in said] == [True, False]
    assert "answers again" in said[1]
    assert pod.metric("fraud_registry_polls_total", result="failed") == 3


@pytest.mark.parametrize("aliases", [{}, {(MODEL_NAME, "champion"): "99", (STATISTICS_NAME, "current"): "98"}])
def test_an_alias_that_leads_nowhere_changes_nothing(pod: Pod, shelf: Shelf, aliases: dict[Any, str]) -> None:
    shelf.aliases = dict(aliases)
    assert pod.poll() == ("1", "1")


def test_a_version_without_a_digest_is_no_reason_to_end(pod: Pod, shelf: Shelf) -> None:
    shelf.digests[MODEL_NAME, "2"] = "../../../../etc"
    shelf.point(champion="2", current="1")
    assert pod.poll() == ("1", "1")


def test_a_disk_that_takes_nothing_keeps_the_pair(pod: Pod, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    shelf.point(champion="1", current=shelf.add_statistics(later_by=1))
    with monkeypatch.context() as patch:
        patch.setattr("service.trial.write_profiles", full)
        assert pod.poll() == ("1", "1")
        patch.setattr("model.registry.files.tempfile.mkdtemp", full)
        shelf.point(champion="1", current=shelf.add_statistics(later_by=2))
        assert pod.poll() == ("1", "1")
    shelf.point(champion="1", current=shelf.add_statistics(later_by=3))
    assert pod.poll() == ("1", "4")


def test_a_note_that_cannot_be_written_does_not_stop_the_swap(
    pod: Pod, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.point(champion="1", current=shelf.add_statistics(later_by=1))
    (pod.cache / "last-verified.json").unlink()
    (pod.cache / "last-verified.json").mkdir()
    assert pod.poll() == ("1", "2")
    assert "could not be noted" in caplog.text
    assert not list(pod.cache.glob(".last*"))


def test_without_a_registry_the_copy_verified_last_is_served_and_said_so(
    pod: Pod, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.point(champion=shelf.add_model(trees=20), current=shelf.add_statistics(later_by=1))
    pod.poll()
    shelf.manner = "error"
    again = load_champion(pod.settings, attempt=try_here)
    assert (again.model_version, again.statistics_version, again.from_disk) == ("2", "2", True)
    assert "serving the copy verified last on this disk: model 2 with statistics 2" in caplog.text


def test_a_champion_that_fails_at_start_gives_way_to_the_copy_verified_last(pod: Pod, shelf: Shelf) -> None:
    shelf.point(champion=shelf.add_model(trees=20), current="1")
    break_file(shelf, MODEL_NAME, "2", "model.txt")
    assert load_champion(pod.settings, attempt=try_here).model_version == "1"


@pytest.mark.parametrize("damage", ["note", "files"])
def test_a_damaged_copy_is_no_copy(pod: Pod, shelf: Shelf, damage: str) -> None:
    shelf.manner = "error"
    if damage == "note":
        (pod.cache / "last-verified.json").write_text('{"model": {"version": "../1"')
    else:
        (next(pod.cache.glob("fraud-model-1-*")) / "model.txt").write_text("tree")
    with pytest.raises(Exception, match="answered with an error"):
        load_champion(pod.settings, attempt=try_here)


def test_a_copy_is_called_the_registrys_again_when_the_registry_names_it(shelf: Shelf, tmp_path: Path) -> None:
    Pod(shelf, tmp_path / "pod")
    shelf.manner = "error"
    pod = Pod(shelf, tmp_path / "pod")
    first = pod.reloader.current
    assert first.from_disk
    pod.poll()
    shelf.manner = "honest"
    pod.poll()
    assert [held[0].from_disk for held in pod.served] == [False]


def test_the_challenger_is_told_unless_it_is_the_champion(pod: Pod, shelf: Shelf) -> None:
    pod.poll()
    shelf.aliases[MODEL_NAME, CHALLENGER] = number = shelf.add_model(trees=20)
    pod.poll()
    shelf.point(champion=number, current="1")
    pod.poll()
    told = [None if version is None else version.version for version in pod.followed]
    assert told == [None, number, None]


def test_an_error_that_nobody_expected_does_not_harm(pod: Pod, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.point(champion=shelf.add_model(trees=20), current="1")
    with monkeypatch.context() as patch:
        patch.setattr("service.trial.read_bundle", lambda *_, **__: 1 / 0)
        assert pod.poll() == ("1", "1")
    pod.now += LONGEST_BACKOFF
    assert pod.poll() == ("2", "1")


# --- the trial in a process of its own --------------------------------------------------------------------------------


def in_processes(shelf: Shelf, folder: Path, **changed: Any) -> Loader:
    return Loader(pod_on(shelf, folder, **changed))


def test_a_trial_in_a_process_of_its_own_finds_what_one_here_finds(pod: Pod, shelf: Shelf, tmp_path: Path) -> None:
    from service.loading import resolve_pair

    pair = resolve_pair(pod.reloader._reader)
    loaded = in_processes(shelf, tmp_path / "other").load(pair)
    assert score(loaded, pod.settings) == score(pod.reloader.current, pod.settings)
    break_file(shelf, MODEL_NAME, "1", "model.txt")
    with pytest.raises(BundleError, match=r"model\.txt is not the file that was published"):
        in_processes(shelf, tmp_path / "third").load(pair)


def test_a_model_that_kills_lightgbm_kills_the_trial_only(pod: Pod, shelf: Shelf, tmp_path: Path) -> None:
    """Text that passes every check that Python can make, published with the right hash, that LightGBM aborts on."""
    from service.loading import resolve_pair

    number = shelf.add_model(trees=20)
    folder = shelf.folder_of(MODEL_NAME, number)
    text = (folder / "model.txt").read_text()
    (folder / "model.txt").write_text(text.replace("num_cat=0", "num_cat=9", 1))
    shelf.digests[MODEL_NAME, number] = sign_again(folder)
    shelf.point(champion=number, current="1")
    with pytest.raises(BundleError, match="the trial of it was ended by SIGABRT"):
        in_processes(shelf, tmp_path / "other").load(resolve_pair(pod.reloader._reader))


def sign_again(folder: Path) -> str:
    import hashlib
    import json

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.txt"] = hashlib.sha256((folder / "model.txt").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_a_trial_that_takes_too_long_is_ended(pod: Pod, shelf: Shelf, tmp_path: Path) -> None:
    from service.loading import resolve_pair

    pair = resolve_pair(pod.reloader._reader)
    with pytest.raises(BundleError, match=r"took longer than 0\.05 s"):
        in_processes(shelf, tmp_path / "other", trial_seconds=0.05).load(pair)
