"""What a person sees while long work goes on, and how long each part of it took."""

import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

from tqdm import tqdm

_TICK_SECONDS = 1.0


class Stages:
    """Name the stage at work on a progress bar and keep the seconds that each, and each step of it, took.

    The bar is drawn on a terminal only; into a log file nothing is written.

    Parameters
    ----------
    total
        Number of stages to come.
    shown
        Whether to draw a bar at all.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self.seconds: dict[str, float] = {}
        self._bar = tqdm(
            total=total, disable=None if shown else True, bar_format="{desc:<32} {bar:30} {elapsed}", leave=False
        )
        self._name, self._since, self._begun = "", time.perf_counter(), 0
        self._unit, self._parts, self._parts_done = "", 0, 0
        self._closed = Event()

    def __enter__(self) -> Self:
        if not self._bar.disable:
            Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._note_time()
        self._closed.set()
        self._bar.n = self._begun
        self._bar.refresh()
        self._bar.close()

    def begin(self, name: str, *, parts: int = 0, unit: str = "") -> None:
        """End the stage before, if any, and begin one; `part` may then count its parts, such as 200 trees."""
        self._unit, self._parts, self._parts_done = unit, parts, 0
        self._bar.n = self._begun  # also where the parts of the stage before did not add up to a whole
        self._begun += 1
        self.step(name)

    def step(self, name: str) -> None:
        """Name the step at work within the stage; it is timed by itself."""
        self._note_time()
        self._name = name
        self._bar.set_description_str(name)

    def part(self) -> None:
        """Count one more part of the stage at work as done."""
        self._parts_done += 1
        words = f"{self._name}, {self._parts_done} of {self._parts} {self._unit}"
        self._bar.set_description_str(words, refresh=False)
        self._bar.update(1 / self._parts)

    def _note_time(self) -> None:
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._since
        self._since = now

    def _tick(self) -> None:
        """Let the clock on the bar go on while one long query says nothing."""
        while not self._closed.wait(_TICK_SECONDS):
            self._bar.refresh()
