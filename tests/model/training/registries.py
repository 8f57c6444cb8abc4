"""What tests of training ask of a registry and of a run, whichever bank they are about."""

from pathlib import Path
from typing import Any

import pytest

from model.registry import (
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    Version,
    open_publisher,
    open_reader,
)
from model.training.progress import Stages

ID_KEY = "a key that only these tests know"
_NAMES = {CHAMPION: MODEL_NAME, CHALLENGER: MODEL_NAME, CURRENT: STATISTICS_NAME}


def numbers_of(uri: str, *aliases: str) -> dict[str, str | None]:
    """Return which version each alias names, None where it names none."""
    publisher = open_publisher(uri)
    found = {alias: publisher.find_alias(_NAMES[alias], alias) for alias in aliases}
    return {alias: version.version if version else None for alias, version in found.items()}


def downloaded(uri: str, version: Version, below: Path) -> Path:
    """Return the folder of a version's files, which are downloaded once."""
    folder = below / f"{version.name}-{version.version}"
    if not folder.exists():
        open_reader(uri).download(version, folder)
    return folder


def stages_begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that every stage is added to when it begins."""
    begun: list[str] = []
    begin = Stages.begin

    def counted(self: Stages, name: str, **parts: Any) -> None:
        begun.append(name)
        begin(self, name, **parts)

    monkeypatch.setattr(Stages, "begin", counted)
    return begun
