"""How long brokers or store may be away, and what is said of it meanwhile."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from model.training.landing.contract import AwayError, LandingError
from model.training.landing.store import StoreAwayError
from model.training.landing.topic import BrokersAwayError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between attempts
TOLD_SECONDS = 10.0

Say = Callable[[str], None]
Result = TypeVar("Result")


class StoppedError(Exception):
    """Somebody wants this run to end."""


class Waiting:
    """The patience of one run.

    Parameters
    ----------
    patience
        Seconds to wait for brokers or store that are away; 0 is for ever.
    stop
        Set by whoever wants the run to end.
    on_failure
        Called for each attempt that failed.

    Attributes
    ----------
    fatal
        Why the run cannot go on, to be raised once there is a caller to hear of it.
    """

    def __init__(self, *, patience: float, stop: Event, say: Say, on_failure: Callable[[], None]) -> None:
        self._patience, self._stop, self._say, self._on_failure = patience, stop, say, on_failure
        self.fatal: LandingError | None = None
        self._told, self._away_since = time.monotonic(), 0.0
        self._away_told = ""

    @property
    def is_stopped(self) -> bool:
        """Whether somebody wants the run to end."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> None:
        """Do nothing for so long, or until the run is to end."""
        self._stop.wait(seconds)

    def until_done(self, attempt: Callable[[], Result], *, pause: Callable[[float], None]) -> Result:
        """Return what an attempt returns; where brokers or store are away, pause and try again; raises as `check`."""
        seconds = FIRST_PAUSE
        while True:
            self.check()
            try:
                result = attempt()
            except (StoreAwayError, BrokersAwayError) as error:
                self._on_failure()
                self._is_away(str(error))
                pause(seconds)
                seconds = min(2 * seconds, LONGEST_PAUSE)
                continue
            self._is_back()
            return result

    def check(self) -> None:
        """Go on, or raise why not.

        Raises
        ------
        StoppedError
            If somebody wants the run to end.
        LandingError
            If it cannot go on; `AwayError` if brokers or store were away for too long.
        """
        if self.is_stopped:
            raise StoppedError
        if self.fatal is not None:
            raise self.fatal
        if self._away_since and self._patience and time.monotonic() - self._away_since > self._patience:
            raise AwayError(f"{self._away_told}; gave up after {self._patience:.0f} s, the next run goes on from here")

    def is_time_to_tell(self) -> bool:
        """Return whether nothing was said for a while; what is said now counts."""
        now = time.monotonic()
        if now - self._told < TOLD_SECONDS:
            return False
        self._told = now
        return True

    def _is_away(self, text: str) -> None:
        now = time.monotonic()
        if not self._away_since:
            self._away_since = now
        if text != self._away_told or now - self._told >= TOLD_SECONDS:
            self._told, self._away_told = now, text
            self._say(f"waiting: {text}; trying again")

    def _is_back(self) -> None:
        if self._away_since:
            self._say("going on")
        self._away_since, self._away_told = 0.0, ""
