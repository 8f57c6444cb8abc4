"""Time calls in slices, here or in a peer's process; standard library only, because it runs in every environment.

A peer's process is told one JSON document a line and answers with one line: `{"load": "200x31"}` makes its ways to
explain ready, `{"way": name, "seconds": 0.1}` lets one of them work. Between two lines it waits and costs nothing, so
peers and this process take turns on the same core.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

LEAST_SAMPLES = 3  # in a slice, unless they take twice its time
SAMPLE_NS = 200_000  # quicker calls are timed several at once: reading the clock takes half a microsecond itself
MOST_AT_ONCE = 40


class Timed(Protocol):
    """A way to explain rows that can be given a slice of time."""

    name: str
    rows: int

    def run(self, seconds: float) -> list[int]:
        """Work for about so long and return the nanoseconds of calls."""


class Way:
    """A call that is timed with one input after the other, over and over.

    Times are processor time of this process, all threads together: what a neighbour takes of the core does not count,
    and neither does it help to work with two threads.

    Parameters
    ----------
    inputs
        What it is called with: a row each, or a batch.
    rows
        How many rows one input has.
    """

    def __init__(self, name: str, call: Callable[[Any], object], inputs: Sequence[Any], *, rows: int = 1) -> None:
        self.name = name
        self.rows = rows
        self._call = call
        self._inputs: Iterator[Any] = itertools.cycle(inputs)
        self._at_once = 1

    def run(self, seconds: float) -> list[int]:
        """Work for about so long and return the nanoseconds of a call, one figure for each sample of some calls."""
        found: list[int] = []
        begin = time.perf_counter()
        spent = 0.0
        while not found or spent < seconds or (len(found) < LEAST_SAMPLES and spent < 2 * seconds):
            found.append(self._sample())
            self._at_once = max(1, min(MOST_AT_ONCE, SAMPLE_NS // max(found[-1], 1)))
            spent = time.perf_counter() - begin
        return found

    def _sample(self) -> int:
        inputs, call = list(itertools.islice(self._inputs, self._at_once)), self._call
        start = time.process_time_ns()
        for one in inputs:
            call(one)
        return (time.process_time_ns() - start) // len(inputs)


Load = Callable[[str], tuple[Sequence[Way], Mapping[str, Any]]]
"""From the name of a shape to the ways to explain it, and what is to be said of them."""


def serve(load: Load, about: Mapping[str, Any]) -> None:
    """Answer on standard output what is asked on standard input, until that ends.

    Parameters
    ----------
    about
        Said first: versions.
    """
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    ways: dict[str, Way] = {}
    print(json.dumps(dict(about)), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        if "load" in asked:
            made, said = load(asked["load"])
            ways = {way.name: way for way in made}
            answer: dict[str, Any] = {**said, "ways": {way.name: way.rows for way in made}}
        else:
            answer = {"nanoseconds": ways[asked["way"]].run(asked["seconds"])}
        print(json.dumps(answer), file=answers)
