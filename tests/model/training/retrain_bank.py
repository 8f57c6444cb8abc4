"""A small bank with a registry, for tests of what retrains and promotes."""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model.bundle import read_bundle, read_snapshot
from model.registry import CHALLENGER, CHAMPION, CURRENT, MODEL_NAME, Publisher, Version, embedded_uri, open_publisher
from model.settings import Settings, load_settings
from model.training import making, report_files
from model.training.periods import Periods
from model.training.retrain import RetrainOutcome, retrain
from tests.model.training.registries import ID_KEY, downloaded, numbers_of

POOR = {"trees": 1, "leaves": 2}
GOOD = {"trees": 40, "learning_rate": 0.1}
FEW_ROWS = {"gate_fpr_tolerance": 0.05}  # of a week of a small bank no false positive rate is sure


@dataclass(frozen=True)
class Bank:
    """A work folder with its registry."""

    folder: Path

    @property
    def uri(self) -> str:
        return embedded_uri(self.folder)

    def settings(self, **given: Any) -> Settings:
        return load_settings(**(FEW_ROWS | {"id_key": ID_KEY, "work_folder": self.folder, "threads": 1} | given))

    def retrain(self, **given: Any) -> RetrainOutcome:
        return retrain("unread", settings=self.settings(**given), tracking_uri=self.uri, progress=False)

    def publisher(self) -> Publisher:
        return open_publisher(self.uri)

    def alias(self, name: str, alias: str) -> Version | None:
        return self.publisher().find_alias(name, alias)

    def aliases(self) -> dict[str, str | None]:
        return numbers_of(self.uri, CHAMPION, CHALLENGER, CURRENT)

    def verified(self, name: str, alias: str) -> bool:
        """Read a version as a pod does; raise if it is not complete and right."""
        version = self.alias(name, alias)
        assert version is not None
        folder = downloaded(self.uri, version, self.folder / "checked")
        read = read_bundle if name == MODEL_NAME else read_snapshot
        digest, key = version.tags["manifest_sha256"], self.settings().id_hasher().fingerprint
        return read(folder, id_key_fingerprint=key, manifest_sha256=digest) is not None


def fast(patch: pytest.MonkeyPatch, periods: Periods) -> None:
    """Clean and draw nothing again."""
    patch.setattr(making, "read_periods", lambda *_, **__: periods)
    patch.setattr(report_files, "write_figures", lambda folder, **_: folder.mkdir())


def moved_registry(source: Path, target: Path) -> None:
    """Copy an embedded registry to another place, with the addresses that it holds."""
    shutil.copytree(source, target)
    with sqlite3.connect(target / "mlflow.db") as database:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (str(source), str(target)),
            )
    database.close()
