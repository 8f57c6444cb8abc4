"""Finished parts of an evaluation, kept as files, so that an interrupted one goes on where it stopped."""

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Key = dict[str, Any]


class Cells:
    """Results by key, one JSON file each; what was computed for other settings or other rows is never read.

    Parameters
    ----------
    folder
        Made if missing.
    common
        What all results hang on: settings, fingerprint of the rows, versions.
    """

    def __init__(self, folder: Path, common: Key) -> None:
        self._folder, self._common = folder, common

    def path(self, name: str, key: Key) -> Path:
        """Return the file of a result; its name ends in a digest of all that the result hangs on."""
        text = json.dumps(self._common | key, sort_keys=True, default=str)
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return self._folder / f"{name}-{digest}.json"

    def has(self, name: str, key: Key) -> bool:
        """Say whether a result was computed before."""
        return self.path(name, key).exists()

    def get(self, name: str, key: Key, compute: Callable[[], Any]) -> Any:
        """Return a result as plain JSON values, from its file if it has one; else compute it and write the file."""
        path = self.path(name, key)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            result = plain(compute())
            write_json(path, result)
            return result


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: what is not a finite number becomes None."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file at once: whoever ends this half-way leaves the file before, or none."""
    text = json.dumps(plain(value), indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
