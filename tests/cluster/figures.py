"""What the cluster showed, in a file and at the end of the run."""

import json
from pathlib import Path
from typing import Any

from loadtest.ledger import LoadResult

SHOWN = ("rate", "seconds", "due", "answered", "refused", "retried", "p50_ms", "p99_ms", "max_ms", "causes")


class Report:
    """Figures observed, written to a file as they come and printed in the end.

    Parameters
    ----------
    keep
        Go on with what the file holds, for a run of some of the tests.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self._path = path
        self.figures: dict[str, Any] = {}
        if keep and path.is_file():
            self.figures = json.loads(path.read_text(encoding="utf-8"))

    def note(self, name: str, **figures: Any) -> None:
        """Keep figures under a name."""
        self.figures.setdefault(name, {}).update(figures)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.figures, indent=2) + "\n", encoding="utf-8")

    def count(self, name: str, way: str, results: list[LoadResult]) -> None:
        """Keep what came of a load that went one way: by ingress, by service."""
        rows = [{**{part: one.as_json()[part] for part in SHOWN}, "lost": one.errors} for one in results]
        self.note(name, **{way: rows})
