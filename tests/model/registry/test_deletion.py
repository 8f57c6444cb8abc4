from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from model.registry import (
    CHAMPION,
    MODEL_NAME,
    ArtifactError,
    Publisher,
    RefusedError,
    RegistryUnavailableError,
    deletion,
)
from model.registry.embedded import local_path
from tests.model.registry.conftest import put, register
from tests.model.registry.test_serving import answering

NEVER = timedelta(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundle" / "sub").mkdir(parents=True)
    (tmp_path / "bundle" / "manifest.json").write_bytes(b"{}")
    (tmp_path / "bundle" / "sub" / "rows").write_bytes(b"\0")
    return tmp_path / "bundle"


def publish(publisher: Publisher, name: str, folder: Path, count: int = 1) -> list[Path]:
    """Publish versions in one run, and return where the files of each lie."""
    with publisher.run("deletion", "a run", {}) as run:
        made = [publisher.publish(name, folder, run_id=run.run_id, tags={}) for _ in range(count)]
    return [local_path(version.source) for version in made]


def numbers(publisher: Publisher, name: str) -> list[str]:
    return [version.version for version in publisher.versions(name)]


def test_a_version_goes_with_its_files_and_nothing_else(publisher: Publisher, name: str, folder: Path) -> None:
    first, second = publish(publisher, name, folder, 2)
    deleted = publisher.delete_version(name, "1")

    assert (str(deleted), deleted.kept_files) == (f"{name} version 1", "")
    assert numbers(publisher, name) == ["2"]
    assert not first.exists()
    assert sorted(path.name for path in second.rglob("*")) == ["manifest.json", "rows", "sub"]
    publisher.delete_version(name, "2")
    assert not second.parent.exists()
    assert publisher._page(name).tags == {}


def test_the_next_version_does_not_take_a_deleted_number(publisher: Publisher, name: str, folder: Path) -> None:
    publish(publisher, name, folder)
    publisher.delete_version(name, "1")
    publish(publisher, name, folder)
    assert numbers(publisher, name) == ["2"]


def test_what_an_alias_names_stays(publisher: Publisher, name: str) -> None:
    put(publisher, name, "anything", *register(publisher, name))
    with pytest.raises(RefusedError, match=f"{name} version 1 stays: the alias 'anything' names it"):
        publisher.delete_version(name, "1", left_within=NEVER)
    assert numbers(publisher, name) == ["1"]


def test_what_an_alias_named_within_a_day_stays(publisher: Publisher, name: str) -> None:
    put(publisher, name, CHAMPION, *register(publisher, name, 2))
    with pytest.raises(RefusedError, match=r"an alias named it until .* less than 24 hours ago"):
        publisher.delete_version(name, "1")
    publisher.delete_version(name, "1", left_within=NEVER)
    assert numbers(publisher, name) == ["2"]


def test_what_an_alias_named_until_someone_moved_it_by_hand_stays(publisher: Publisher, name: str) -> None:
    put(publisher, name, CHAMPION, *register(publisher, name, 2)[:1])
    publisher.set_alias(name, CHAMPION, "2")
    with pytest.raises(RefusedError, match="less than 24 hours ago"):
        publisher.delete_version(name, "1")


@pytest.mark.parametrize("wrong", ["7", "none", "../1"])
def test_what_is_not_there_cannot_be_deleted(publisher: Publisher, name: str, wrong: str) -> None:
    register(publisher, name)
    with pytest.raises(RefusedError, match=r"there is no version 7|is not a version"):
        publisher.delete_version(name, wrong)
    with pytest.raises(RefusedError, match="there is no version 1"):
        publisher.delete_version(f"{name}-unknown", "1")


SERVED = b'{"model_version": "1", "statistics_version": "2"}'


def test_what_a_running_service_uses_stays(fresh: Publisher) -> None:
    register(fresh, MODEL_NAME, 2)
    with answering(SERVED) as address:
        with pytest.raises(RefusedError, match="version 1 stays: a running service uses it"):
            fresh.delete_version(MODEL_NAME, "1", services=[address])
        fresh.delete_version(MODEL_NAME, "2", services=[address])
    assert numbers(fresh, MODEL_NAME) == ["1"]


def test_while_a_service_cannot_be_asked_everything_stays(fresh: Publisher) -> None:
    register(fresh, MODEL_NAME)
    with answering(SERVED, 503) as address, pytest.raises(RefusedError, match="could not be asked"):
        fresh.delete_version(MODEL_NAME, "1", services=[address])
    with answering(SERVED, 503) as address, pytest.raises(RefusedError, match="could not be asked"):
        fresh.prune(MODEL_NAME, keep=1, services=[address])
    assert numbers(fresh, MODEL_NAME) == ["1"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_crash_before_the_files_are_gone_is_repaired_by_the_next_call(
    publisher: Publisher, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files, _) = publish(publisher, name, folder, 2)
    put(publisher, name, CHAMPION, "1", "2")

    def die(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(deletion, "delete_files", die)
        with pytest.raises(KeyboardInterrupt):
            publisher.delete_version(name, "1", left_within=NEVER)
    assert numbers(publisher, name) == ["2"]
    assert files.exists()

    publisher.delete_version(name, "1")
    assert not files.exists()
    with pytest.raises(RefusedError, match="no version 1"):
        publisher.delete_version(name, "1")


def test_a_crash_before_the_version_is_gone_changes_nothing_that_matters(
    publisher: Publisher, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = publish(publisher, name, folder)[0]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publisher._client, "delete_model_version", die)
        with pytest.raises(KeyboardInterrupt):
            publisher.delete_version(name, "1")
    put(publisher, name, CHAMPION, "1")
    with pytest.raises(RefusedError, match="names it"):
        publisher.delete_version(name, "1")
    assert publisher.prune(name, keep=1, younger_than=NEVER, left_within=NEVER) == []
    assert files.exists()


def test_files_that_cannot_be_deleted_are_tried_again(
    publisher: Publisher, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = publish(publisher, name, folder)[0]

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("model.registry.places.shutil.rmtree", refuse)
        with pytest.raises(ArtifactError, match="Permission denied"):
            publisher.delete_version(name, "1")
    publisher.delete_version(name, "1")
    assert not files.exists()


def test_files_already_gone_are_no_mistake(publisher: Publisher, name: str, folder: Path) -> None:
    files = publish(publisher, name, folder)[0]
    files.rename(files.with_name("elsewhere"))
    assert publisher.delete_version(name, "1").kept_files == ""


def test_files_that_another_version_has_too_stay(publisher: Publisher, name: str, folder: Path) -> None:
    files = publish(publisher, name, folder)[0]
    (original,) = publisher.versions(name)
    publisher._client.create_model_version(name, original.source, run_id=original.run_id, await_creation_for=None)

    assert "another version" in publisher.delete_version(name, "1").kept_files
    assert files.exists()
    assert publisher.delete_version(name, "2").kept_files == ""
    assert not files.exists()


def outside(files: Path, name: str) -> Path:
    """A folder that looks as if `publish` had made it, but elsewhere."""
    return files.parents[4] / "elsewhere" / "artifacts" / name / "0123456789ab"


Source = Callable[[Path, str], Path]


@pytest.mark.parametrize(
    "source",
    [
        lambda files, name: files.parents[1],
        lambda files, name: files.parent,
        lambda files, name: files / "sub",
        lambda files, name: files.parent / ".." / name / files.name,
        lambda files, name: files.parents[1] / "other" / files.name,
        outside,
        lambda files, name: Path("/"),
    ],
    ids=["the run's folder", "the model's", "inside", "by a detour", "another model's", "outside", "everything"],
)
def test_files_that_publish_did_not_put_there_stay(
    publisher: Publisher, name: str, folder: Path, source: Source
) -> None:
    files = publish(publisher, name, folder)[0]
    victim = source(files, name)
    if not victim.exists():
        victim.mkdir(parents=True)
    publisher._client.create_model_version(name, victim.as_uri().replace("%2E", "."), await_creation_for=None)

    assert publisher.delete_version(name, "2").kept_files
    assert victim.exists()
    assert (files / "sub" / "rows").exists()


def test_a_link_is_not_followed(publisher: Publisher, name: str, folder: Path, tmp_path: Path) -> None:
    files = publish(publisher, name, folder)[0]
    files.rename(tmp_path / "kept")
    files.symlink_to(tmp_path / "kept")

    assert "outside" in publisher.delete_version(name, "1").kept_files
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["manifest.json", "sub"]


@pytest.mark.parametrize("source", ["s3://bucket/1/artifacts/{name}/0123456789ab", "somewhere"])
def test_files_that_an_embedded_registry_does_not_keep_stay(publisher: Publisher, name: str, source: str) -> None:
    publisher._ensure_model(name)
    publisher._client.create_model_version(name, source.format(name=name), await_creation_for=None)
    assert publisher.delete_version(name, "1").kept_files


# --- pruning ---------------------------------------------------------------------------------------------------------


def test_the_oldest_beyond_those_kept_are_pruned_but_no_needed_one(publisher: Publisher, name: str) -> None:
    register(publisher, name, 6)
    put(publisher, name, "old", "2")
    put(publisher, name, CHAMPION, "3", "5")

    pruned = publisher.prune(name, keep=2, younger_than=NEVER)
    assert [one.version for one in pruned] == ["1", "4"]
    assert numbers(publisher, name) == ["6", "5", "3", "2"]
    assert [one.version for one in publisher.prune(name, keep=2, younger_than=NEVER, left_within=NEVER)] == ["3"]


def test_young_versions_are_not_pruned(publisher: Publisher, name: str) -> None:
    register(publisher, name, 3)
    assert publisher.prune(name, keep=1) == []
    assert len(publisher.prune(name, keep=1, younger_than=NEVER)) == 2


def test_what_a_service_uses_is_not_pruned(fresh: Publisher) -> None:
    register(fresh, MODEL_NAME, 4)
    with answering(SERVED) as address:
        pruned = fresh.prune(MODEL_NAME, keep=1, younger_than=NEVER, services=[address])
    assert [one.version for one in pruned] == ["2", "3"]


def test_one_version_that_cannot_be_deleted_does_not_stop_the_rest(
    publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    register(publisher, name, 4)
    delete = publisher._client.delete_model_version

    def refuse_two(model: str, version: str) -> None:
        if version == "2":
            raise RegistryUnavailableError("gone for a moment")
        delete(model, version)

    monkeypatch.setattr(publisher._client, "delete_model_version", refuse_two)
    assert [one.version for one in publisher.prune(name, keep=1, younger_than=NEVER)] == ["1", "3"]
    assert "version 2 was not deleted: gone for a moment" in caplog.text


def test_what_a_crash_left_is_pruned(
    publisher: Publisher, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = publish(publisher, name, folder, 2)[0]

    def fail(*_: object, **__: object) -> str:
        raise ArtifactError("disk")

    with monkeypatch.context() as patched:
        patched.setattr(deletion, "delete_files", fail)
        assert publisher.prune(name, keep=1, younger_than=NEVER) == []
    assert [one.version for one in publisher.prune(name, keep=1)] == ["1"]
    assert not files.exists()


def test_at_least_one_version_is_kept(publisher: Publisher, name: str) -> None:
    with pytest.raises(ValueError, match="keep: at least 1"):
        publisher.prune(name, keep=0)
