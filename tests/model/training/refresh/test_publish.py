"""What reaches the registry, with a registry in memory that others use at the same time."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from model.bundle import read_snapshot
from model.features import schema_fingerprint
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    Publisher,
    RegistryUnavailableError,
    Version,
)
from model.statistics import Snapshot
from model.training.refresh.contract import RefreshError
from model.training.refresh.publish import Office, hour_of
from tests.model.training.histories import HASHER, payment
from tests.model.training.refresh.banks import Bank, refreshed

KEY = HASHER.fingerprint
IDENTITY = {"id_key_fingerprint": KEY, "feature_schema": schema_fingerprint()}


@dataclass
class Registry:
    """As much of a `Publisher` as a refresh needs; `meanwhile` is what another job does before an alias moves."""

    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    moves: list[tuple[str, str]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    run_id: str = "a run"

    def add(self, name: str, alias: str, **tags: str) -> Version:
        version = Version(name, str(len(self.versions) + 1), "", tags, None)
        self.versions[version.version] = version
        self.aliases[name, alias] = version.version
        return version

    def find_alias(self, name: str, alias: str) -> Version | None:
        number = self.aliases.get((name, alias))
        return self.versions[number] if number else None

    @contextmanager
    def run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Iterator["Registry"]:
        assert (experiment, run_name, list(tags)) == ("antifraud", "refresh", ["as_of"])
        yield self

    def log_metrics(self, figures: dict[str, float]) -> None:
        self.figures = figures

    def publish(self, name: str, folder: Path, *, run_id: str, tags: dict[str, str]) -> Version:
        assert run_id == self.run_id
        read_snapshot(folder, id_key_fingerprint=KEY, manifest_sha256=tags["manifest_sha256"])
        version = Version(name, str(len(self.versions) + 1), "", tags, run_id)
        self.versions[version.version] = version
        return version

    def move_alias(self, name: str, alias: str, version: str, *, who: str, why: str, expected: str | None) -> None:
        self.meanwhile()
        present = self.aliases.get((name, alias))
        if present != expected:
            raise AliasMovedError(name, alias, expected=expected, current=present)
        self.aliases[name, alias] = version
        self.moves.append((who, why))

    def prune(self, name: str, *, keep: int) -> list[str]:
        assert name == STATISTICS_NAME
        return ["a deletion"] * keep


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.add(MODEL_NAME, CHAMPION, **IDENTITY)
    return registry


@pytest.fixture
def office(registry: Registry) -> Office:
    return Office(cast(Publisher, registry), KEY)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    bank.write("a.parquet", [payment(number, customer_id=number) for number in range(1, 9)])
    found = refreshed(bank.task()).snapshot
    assert found is not None
    return found


@pytest.fixture
def register(office: Office, snapshot: Snapshot, tmp_path: Path) -> Callable[[], tuple[Version, bool]]:
    numbers = itertools.count()
    return lambda: office.register(snapshot, tmp_path / str(next(numbers)), figures={"customers": 8.0})


Register = Callable[[], tuple[Version, bool]]


def test_new_statistics_become_current_with_all_that_tells_what_they_are(
    registry: Registry, register: Register, snapshot: Snapshot
) -> None:
    version, is_new = register()
    assert is_new
    assert registry.find_alias(STATISTICS_NAME, CURRENT) == version
    assert version.tags == IDENTITY | {"as_of": snapshot.as_of, "manifest_sha256": version.tags["manifest_sha256"]}
    assert hour_of(version) == snapshot.as_of_hour
    assert registry.figures == {"customers": 8.0}
    ((who, why),) = registry.moves
    assert who.startswith("antifraud refresh, ")
    assert why == f"statistics as of {snapshot.as_of}"


def test_statistics_that_are_in_use_already_are_not_published_again(registry: Registry, register: Register) -> None:
    first, _ = register()
    assert register() == (first, False)
    assert len(registry.versions) == 2


@pytest.mark.parametrize(
    ("tag", "words"), [("id_key_fingerprint", "another id key"), ("feature_schema", "other features")]
)
def test_statistics_that_the_champion_could_not_read_are_refused(
    registry: Registry, office: Office, register: Register, tag: str, words: str
) -> None:
    registry.add(MODEL_NAME, CHAMPION, **(IDENTITY | {tag: "something else"}))
    for refused in (office.refuse_misfit, register):
        with pytest.raises(RefreshError, match=words):
            refused()
    assert registry.find_alias(STATISTICS_NAME, CURRENT) is None


def test_without_a_champion_statistics_may_come_first(registry: Registry, office: Office, register: Register) -> None:
    registry.aliases.clear()
    office.refuse_misfit()
    assert register()[1]


def test_statistics_of_another_kind_do_not_stand_against_new_ones(registry: Registry, register: Register) -> None:
    registry.add(STATISTICS_NAME, CURRENT, as_of="2030-01-01T00:00:00Z", **(IDENTITY | {"feature_schema": "old"}))
    version, is_new = register()
    assert is_new
    assert registry.find_alias(STATISTICS_NAME, CURRENT) == version


def test_statistics_of_a_later_hour_that_another_job_made_current_stay(registry: Registry, register: Register) -> None:
    def other_job() -> None:
        registry.add(STATISTICS_NAME, CURRENT, as_of="2030-01-01T00:00:00Z", **IDENTITY)

    registry.meanwhile = other_job
    with pytest.raises(RefreshError, match="never go back in time"):
        register()
    current = registry.find_alias(STATISTICS_NAME, CURRENT)
    assert current is not None
    assert current.tags["as_of"] == "2030-01-01T00:00:00Z"


def test_statistics_of_an_earlier_hour_that_another_job_made_current_give_way(
    registry: Registry, register: Register
) -> None:
    def other_job() -> None:
        registry.meanwhile = lambda: None
        registry.add(STATISTICS_NAME, CURRENT, as_of="2020-01-01T00:00:00Z", **IDENTITY)

    registry.meanwhile = other_job
    version, is_new = register()
    assert is_new
    assert registry.find_alias(STATISTICS_NAME, CURRENT) == version


def test_a_champion_that_another_job_appoints_meanwhile_is_asked_too(registry: Registry, register: Register) -> None:
    def other_job() -> None:
        registry.add(MODEL_NAME, CHAMPION, **(IDENTITY | {"feature_schema": "new"}))
        registry.add(STATISTICS_NAME, CURRENT, **(IDENTITY | {"feature_schema": "new"}))

    registry.meanwhile = other_job
    with pytest.raises(RefreshError, match="other features"):
        register()


def test_old_statistics_that_cannot_be_deleted_are_a_note_and_no_failure(office: Office, registry: Registry) -> None:
    def refuse(*_: Any, **__: Any) -> list[str]:
        raise RegistryUnavailableError("the registry is away")

    assert office.prune(keep=3) == (3, "")
    registry.prune = refuse  # type: ignore[method-assign]
    assert office.prune(keep=3) == (0, "old statistics could not be deleted: the registry is away")
