"""The challenger in shadow, in a process of its own: `python -m service.challenger`.

It loads the model that the first line of standard input names, says so, and then scores the rows that follow. All
counts since its start go out as one line of JSON after each portion. It never sees an id, and if it crashes, hangs or
grows, the service does not notice but by its silence.
"""

import json
import os
import sys
import time
from bisect import bisect_left
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from model.bundle import Bundle, read_bundle
from model.decision import DECISIONS, decide
from model.features import FEATURE_NAMES
from model.registry import RegistryError, Version, open_reader
from model.score import probability
from model.statistics import Floats
from service import child
from service.cache import Cache

N_FEATURES: Final = len(FEATURE_NAMES)
WIDTH: Final = N_FEATURES + 2  # features, the champion's score, the place of its decision in DECISIONS
ROW_BYTES: Final = WIDTH * 8
LOWEST_PRIORITY: Final = 19
PORTION: Final = 64  # rows scored between two reports
DIFFERENCES: Final = (-0.5, -0.2, -0.1, -0.05, -0.01, -0.001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
SCORES: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)


class Tally:
    """What the challenger said of the payments it saw, beside what the champion had said."""

    def __init__(self) -> None:
        self.pairs = [[0] * len(DECISIONS) for _ in DECISIONS]
        self.differences = [0] * (len(DIFFERENCES) + 1)
        self.scores = [0] * (len(SCORES) + 1)
        self.sums = {"difference": 0.0, "score": 0.0, "seconds": 0.0}

    def add(self, bundle: Bundle, rows: Floats) -> None:
        """Score rows (m, 55) and count."""
        started = time.perf_counter()
        contributions = np.empty(N_FEATURES)
        for row in rows:
            features, champion = np.ascontiguousarray(row[:N_FEATURES]), float(row[N_FEATURES])
            score = probability(bundle.explainer.explain_into(features, contributions))
            decision = DECISIONS.index(decide(score, bundle.cutoffs))
            self.pairs[int(row[N_FEATURES + 1])][decision] += 1
            self.differences[bisect_left(DIFFERENCES, score - champion)] += 1
            self.scores[bisect_left(SCORES, score)] += 1
            self.sums["difference"] += score - champion
            self.sums["score"] += score
        self.sums["seconds"] += time.perf_counter() - started

    def as_json(self) -> dict[str, Any]:
        """Return all counts."""
        return {"pairs": self.pairs, "differences": self.differences, "scores": self.scores, "sums": self.sums}


def load(request: dict[str, Any]) -> Bundle:
    """Download and verify the model that a request names."""
    cache, version = Cache(Path(request["cache"])), Version(**request["version"])
    return cache.fetch(
        version,
        cache.model_folder(version),
        reader=open_reader(request["tracking_uri"]),
        read=partial(read_bundle, id_key_fingerprint=request["id_key_fingerprint"]),
    )


def main() -> int:
    """Load, then score until standard input ends."""
    output = child.take_output()
    request = json.loads(sys.stdin.buffer.readline())
    child.settle(memory_mb=request["memory_mb"], niceness=LOWEST_PRIORITY)
    try:
        bundle = load(request)
    except (RegistryError, ValueError, OSError) as error:
        _say(output, {"error": str(error).partition("\n")[0][:1000]})
        return 1
    tally = Tally()
    _say(output, tally.as_json())
    while rows := _rows(sys.stdin.buffer):
        tally.add(bundle, np.frombuffer(rows).reshape(-1, WIDTH))
        _say(output, tally.as_json())
    return 0


def _rows(stream: IO[bytes]) -> bytes:
    """Return as many whole rows as have arrived, one at least; nothing at the end."""
    found = stream.read1(ROW_BYTES * PORTION)  # type: ignore[attr-defined]  # of a buffered reader
    if missing := -len(found) % ROW_BYTES:
        found += stream.read(missing)
    return bytes(found) if len(found) % ROW_BYTES == 0 else b""


def _say(output: int, words: dict[str, Any]) -> None:
    os.write(output, json.dumps(words, allow_nan=False).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
