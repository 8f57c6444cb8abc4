"""How the loop of a member goes on: that it turns, how it waits, and that it was told to end."""

import time
from typing import Final

from service.stream.meters import Beat

IDLE_SECONDS: Final = 0.1  # longest that the loop waits before it looks after other things


class StoppedError(Exception):
    """The process was told to end while something was waited for."""


class Pace:
    """What everything that takes time calls in between.

    Parameters
    ----------
    beat
        Told that the loop turns.

    Attributes
    ----------
    stopping
        Set to end.
    """

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self.stopping = False

    def turn(self) -> None:
        """Say that the loop turns."""
        self._beat.turn()

    def breathe(self) -> None:
        """Say that the loop turns, and end what waits once the process was told to.

        Raises
        ------
        StoppedError
            If it was.
        """
        self.turn()
        if self.stopping:
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Wait, and breathe; errors as of `breathe`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.breathe()
            time.sleep(min(IDLE_SECONDS, max(end - time.monotonic(), 0)))
