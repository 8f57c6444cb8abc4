"""What only a real `mlflow server` can show; liars and broken lines are in tests/model/test_registry.py."""

import base64
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    AliasNotFoundError,
    ArtifactError,
    LockedError,
    MoveState,
    Publisher,
    RefusedError,
    RegistryError,
    RegistryUnavailableError,
    Version,
    open_publisher,
    open_reader,
)
from tests.integration.mlflow_server import mlflow_server, platform
from tests.model.registry.others import Other, crash_between, others, race_for_an_alias, take_over_from_the_dead

pytestmark = pytest.mark.integration

FILES = {"manifest.json": b"{}", "model.txt": os.urandom(3 * 2**20), "sub/rows-1.bin": b"\0\1", "empty": b""}


@pytest.fixture(scope="module", params=["SQLite and a folder", "PostgreSQL and S3"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("server")
    if request.param == "SQLite and a folder":
        with mlflow_server(home) as address:
            yield address
    else:
        with platform(home) as found:
            yield found.mlflow.url


@pytest.fixture(scope="module")
def publisher(address: str) -> Publisher:
    return open_publisher(address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "bundle"


def publish(publisher: Publisher, folder: Path, name: str = MODEL_NAME) -> Version:
    with publisher.run("training", "a run", {"why": "test"}) as run:
        run.log_params({"trees": 200})
        run.log_metrics({"recall": 0.95})
        run.log_file(folder / "manifest.json", "reports")
        return publisher.publish(name, folder, run_id=run.run_id, tags={"manifest_sha256": "abc"})


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_mlflow_published_comes_back_by_rest_byte_for_byte(
    address: str, publisher: Publisher, folder: Path, tmp_path: Path
) -> None:
    version = publish(publisher, folder)
    publisher.set_alias(MODEL_NAME, CHAMPION, version.version)

    reader = open_reader(address)
    found = reader.resolve(MODEL_NAME, CHAMPION)
    reader.download(found, tmp_path / "pod")

    assert found == version == publisher.find_alias(MODEL_NAME, CHAMPION)
    assert found.tags == {"manifest_sha256": "abc"}
    assert read_files(tmp_path / "pod") == FILES


def test_a_moved_alias_is_seen_at_the_next_question(address: str, publisher: Publisher, folder: Path) -> None:
    reader = open_reader(address)
    for version in (publish(publisher, folder, STATISTICS_NAME), publish(publisher, folder, STATISTICS_NAME)):
        publisher.set_alias(STATISTICS_NAME, CURRENT, version.version)
        assert reader.resolve(STATISTICS_NAME, CURRENT) == version


def test_a_version_registered_by_its_run_address_is_found(
    address: str, publisher: Publisher, folder: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    version = publish(publisher, folder)
    client, place = MlflowClient(address), version.source.partition("/artifacts/")[2]
    by_run = client.create_model_version(MODEL_NAME, f"runs:/{version.run_id}/{place}", run_id=version.run_id)
    publisher.set_alias(MODEL_NAME, "by-run", str(by_run.version))
    reader = open_reader(address)
    reader.download(reader.resolve(MODEL_NAME, "by-run"), tmp_path / "pod")

    assert read_files(tmp_path / "pod") == FILES


@pytest.mark.parametrize(("name", "alias"), [(MODEL_NAME, "nobody"), ("no-such-model", CHAMPION)])
def test_a_missing_alias_and_a_missing_model_say_what_to_run(
    address: str, publisher: Publisher, folder: Path, name: str, alias: str
) -> None:
    publish(publisher, folder)
    with pytest.raises(AliasNotFoundError, match="antifraud train"):
        open_reader(address).resolve(name, alias)
    assert publisher.find_alias(name, alias) is None
    assert publisher.versions("no-such-model") == []


def test_a_version_that_does_not_exist_cannot_be_downloaded(address: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailableError):
        open_reader(address).download(Version(MODEL_NAME, "99999", "", {}, None), tmp_path / "pod")
    assert list(tmp_path.iterdir()) == []


def test_files_that_were_lost_on_the_server_are_an_error_here(
    address: str, publisher: Publisher, folder: Path, tmp_path: Path
) -> None:
    from mlflow.artifacts import list_artifacts
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    version = publish(publisher, folder, "lost")
    get_artifact_repository(version.source, tracking_uri=address).delete_artifacts()
    assert list_artifacts(artifact_uri=version.source, tracking_uri=address) == []

    with pytest.raises(ArtifactError, match="has no files"):
        open_reader(address).download(version, tmp_path / "pod")
    assert not (tmp_path / "pod").exists()


def test_two_publishers_at_once_make_two_versions(address: str, folder: Path) -> None:
    made: list[str] = []

    def rush() -> None:
        made.append(publish(open_publisher(address), folder, "rush").version)

    threads = [threading.Thread(target=rush) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(made) == ["1", "2"]


def test_credentials_in_the_address_never_show(address: str) -> None:
    secret = base64.b32encode(os.urandom(10)).decode()
    with_secret = address.replace("://", f"://ada:{secret}@")
    with pytest.raises(AliasNotFoundError) as not_found:
        open_reader(with_secret).resolve("no-such-model", CHAMPION)
    with pytest.raises(RegistryError, match="refused") as refused:
        open_publisher(with_secret).set_alias("no-such-model", CHAMPION, "1")

    assert secret not in str(not_found.value) + str(refused.value)


# --- history, locks, deletion ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crew(address: str) -> Iterator[list[Other]]:
    with others(address, 3) as crew:
        yield crew


def test_of_two_processes_that_move_an_alias_at_once_exactly_one_wins(crew: list[Other], publisher: Publisher) -> None:
    race_for_an_alias(crew[1:], publisher, "race")


def test_a_killed_holder_is_replaced_by_one_waiter_at_a_time(
    crew: list[Other], publisher: Publisher, tmp_path: Path
) -> None:
    take_over_from_the_dead(crew, publisher, "dead", tmp_path)


@pytest.mark.parametrize(("after_alias", "state"), [(False, MoveState.NOT_MOVED), (True, MoveState.MOVED)])
def test_a_crash_beside_the_alias_shows_and_a_repeat_completes_the_move(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, after_alias: bool, state: MoveState
) -> None:
    name = f"crash-{after_alias}"
    assert crash_between(publisher, monkeypatch, name, after_alias=after_alias)[0].state == state
    publisher.move_alias(name, "champion", "2", who="test", why="again", expected="1")
    assert publisher.moves(name)[0].state == MoveState.DONE


def test_moves_rollback_and_the_reader_agree(address: str, publisher: Publisher, folder: Path) -> None:
    name = "story"
    for expected in (None, "1", "2"):
        version = publish(publisher, folder, name).version
        publisher.move_alias(name, CHAMPION, version, who="job", why="better é\n", expected=expected)
    with pytest.raises(AliasMovedError, match="names version 3 now, not version 1"):
        publisher.move_alias(name, CHAMPION, "2", who="job", why="late", expected="1")
    with pytest.raises(RefusedError, match="no version 9"):
        publisher.move_alias(name, CHAMPION, "9", who="job", why="wrong")
    assert [publisher.rollback(name, CHAMPION, who="sre", why="w").after for _ in range(2)] == ["2", "1"]
    assert open_reader(address).resolve(name, CHAMPION).version == "1"
    publisher.set_alias(name, CHAMPION, "3")
    told = [(move.before, move.after, str(move.state)) for move in publisher.moves(name)]
    assert told == [
        ("1", "3", "moved outside this tool"),
        ("2", "1", "done"),
        ("3", "2", "done"),
        ("2", "3", "done"),
        ("1", "2", "done"),
        (None, "1", "done"),
    ]
    assert publisher.moves(name)[3].why == "better é"


def test_a_lock_holds_against_other_machines(address: str, publisher: Publisher) -> None:
    other = open_publisher(address).lock("job", "two")
    with publisher.lock("job", "one"), pytest.raises(LockedError, match="held by one"), other:
        pytest.fail("two hold the lock")


def test_a_deleted_version_takes_its_files_along_and_no_other_ones(
    address: str, publisher: Publisher, folder: Path, tmp_path: Path
) -> None:
    from mlflow.artifacts import list_artifacts

    name, reader = "deleted", open_reader(address)
    first, second = publish(publisher, folder, name), publish(publisher, folder, name)
    publisher.move_alias(name, CHAMPION, "1", who="job", why="w")
    with pytest.raises(RefusedError, match="the alias 'champion' names it"):
        publisher.delete_version(name, "1")
    publisher.move_alias(name, CHAMPION, "2", who="job", why="w")
    with pytest.raises(RefusedError, match="less than 24 hours ago"):
        publisher.delete_version(name, "1")

    assert publisher.delete_version(name, "1", left_within=timedelta(0)).kept_files == ""
    assert list_artifacts(artifact_uri=first.source, tracking_uri=address) == []
    assert publisher.versions(name) == [second]
    reader.download(reader.resolve(name, CHAMPION), tmp_path / "pod")
    assert read_files(tmp_path / "pod") == FILES
    with pytest.raises(RefusedError, match="no version 1"):
        publisher.delete_version(name, "1")


def test_pruning_leaves_the_newest_and_the_needed(publisher: Publisher, folder: Path) -> None:
    name = "pruned"
    for _ in range(4):
        publish(publisher, folder, name)
    publisher.move_alias(name, CHAMPION, "2", who="job", why="w")
    pruned = publisher.prune(name, keep=1, younger_than=timedelta(0))
    assert [(one.version, one.kept_files) for one in pruned] == [("1", ""), ("3", "")]
    assert [one.version for one in publisher.versions(name)] == ["4", "2"]
