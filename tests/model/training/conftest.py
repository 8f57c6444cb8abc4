"""The tests' small bank, cleaned once, with a poor champion that is easily beaten."""

from pathlib import Path

import pytest

from model.settings import load_settings
from model.training.periods import Periods, read_periods
from model.training.progress import Stages
from model.training.promote import Verdict
from tests.model.training.registries import ID_KEY
from tests.model.training.retrain_bank import POOR, Bank, fast, moved_registry


@pytest.fixture(scope="session")
def periods(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Periods:
    """The tests' small bank, cleaned and looked up once."""
    settings = load_settings(id_key=ID_KEY)
    hasher, scratch = settings.id_hasher(), tmp_path_factory.mktemp("periods")
    with Stages(2, shown=False) as stages:
        return read_periods(history, settings=settings, hasher=hasher, scratch=scratch, stages=stages)


@pytest.fixture(scope="session")
def poor(periods: Periods, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder whose champion is one poor tree, the first model there was."""
    bank = Bank(tmp_path_factory.mktemp("poor") / "work")
    with pytest.MonkeyPatch.context() as patch:
        fast(patch, periods)
        first = bank.retrain(**POOR)
    assert (first.verdict, first.champion, first.reasons) == (
        Verdict.PROMOTED,
        None,
        ("There was no champion yet.",),
    )
    return bank.folder


@pytest.fixture
def bank(poor: Path, periods: Periods, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bank:
    """A copy of the bank with the poor champion."""
    fast(monkeypatch, periods)
    moved_registry(poor, tmp_path / "work")
    return Bank(tmp_path / "work")
