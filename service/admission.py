"""Who is let in: a short queue in front of one worker, measured in time and not in places.

A request is admitted if what waits before it can be answered within the longest wait allowed. Work is one thread of
computation, so the wait is known: requests waiting times the time an answer takes. Everybody else is told to come back,
at once and cheaply. Health and readiness never pass through here.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Work = TypeVar("Work")

SMOOTHING = 0.05  # weight of the newest answer in the mean time of one
FIRST_GUESS = 0.0005  # seconds an answer takes, until answers were seen


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Work]):
    """Work in the queue, and when it came."""

    work: Work
    arrived: float


class AdmissionQueue(Generic[Work]):
    """A queue that admits what it can serve in time.

    Parameters
    ----------
    longest_wait
        Seconds; also the deadline after which admitted work is not started any more.
    clock
        Seconds, monotonic.
    """

    def __init__(self, longest_wait: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_wait = longest_wait
        self._clock = clock
        self._waiting: deque[Waiting[Work]] = deque()
        self.answer_seconds = FIRST_GUESS

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, work: Work) -> bool:
        """Admit work, or return False if it would wait too long. The first in an empty queue is always admitted."""
        if len(self._waiting) * self.answer_seconds > self._longest_wait:
            return False
        self._waiting.append(Waiting(work, self._clock()))
        return True

    def take(self) -> tuple[Work, bool]:
        """Return the work that waits longest, and whether its deadline has not passed.

        Raises
        ------
        IndexError
            If nothing waits.
        """
        waiting = self._waiting.popleft()
        return waiting.work, self._clock() - waiting.arrived <= self._longest_wait

    def learn(self, seconds: float) -> None:
        """Take note of how long an answer took."""
        self.answer_seconds += SMOOTHING * (seconds - self.answer_seconds)
