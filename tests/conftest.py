"""A small real bank for all tests: simulated, trained and registered once a session, loaded as a pod would."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from starlette.testclient import TestClient

from model.registry import registry_uri
from model.settings import Settings, load_settings
from model.training.simulation import PROFILES, simulate
from model.training.train import TrainingOutcome, train
from service.app import create_app
from service.loading import load_champion
from service.scorer import Loaded, Scorer

# No limit on the time of one example: machines are noisy. Where a whole submission hangs on it, no chance either.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("tests")

ID_KEY = "a key that is used by the tests only"


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month of a few hundred customers, one Parquet file a day, with a little of each kind of dirt."""
    folder = tmp_path_factory.mktemp("bank") / "history"
    simulate(replace(PROFILES["small"], customers=500, terminals=800, days=40, dirt=0.002, seed=7), folder)
    return folder


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the small bank; its registry is embedded in the work folder."""
    return load_settings(id_key=ID_KEY, work_folder=tmp_path_factory.mktemp("work"), trees=60)


@pytest.fixture(scope="session")
def outcome(history: Path, settings: Settings) -> TrainingOutcome:
    """The small bank's first training run: its model is the champion, its statistics are current."""
    return train(history, settings=settings, tracking_uri=registry_uri(settings), progress=False)


@pytest.fixture(scope="session")
def loaded(outcome: TrainingOutcome, settings: Settings) -> Loaded:
    """The champion and the current statistics, downloaded and verified as a pod does."""
    assert outcome.is_champion
    return load_champion(settings)


@pytest.fixture(scope="session")
def scorer(loaded: Loaded, settings: Settings) -> Scorer:
    """The data plane over the loaded pair."""
    return Scorer(loaded, settings.id_hasher())


@pytest.fixture(scope="session")
def client(loaded: Loaded, settings: Settings) -> Iterator[TestClient]:
    """The whole application in this process; an unexpected error is a 500 and not an exception."""
    with TestClient(create_app(settings, lambda _: loaded), raise_server_exceptions=False) as client:
        yield client
