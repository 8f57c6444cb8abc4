"""What the client tells of the brokers: whether one is connected, and what is wrong, said once a minute at most."""

import logging
import time
from typing import Final

from confluent_kafka import KafkaError

from model.settings import Settings
from service.stream.brokers import StreamError, advice, is_away, is_hopeless
from service.stream.meters import Meters

AGAIN_SECONDS: Final = 60.0  # until the same line is said once more

log = logging.getLogger("antifraud")


class Connection:
    """The state of the connection to the brokers, as errors and statistics of the client show it.

    Attributes
    ----------
    is_up
        Whether a broker is connected.
    """

    def __init__(self, settings: Settings, meters: Meters) -> None:
        self._settings, self._meters = settings, meters
        self._refusal: KafkaError | None = None
        self._said: tuple[str, float] = ("", 0.0)
        self.is_up = False

    def note(self, error: KafkaError) -> None:
        """Say what is wrong, once a minute at most as long as it is the same."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.show(False)
        if is_hopeless(error):
            self._refusal = error
        text = advice(error, self._settings)
        said, when = self._said
        if text != said or time.monotonic() - when > AGAIN_SECONDS:
            self._said = text, time.monotonic()
            log.warning("%s", text) if is_away(error) else log.error("%s", text)

    def note_figures(self, text: str) -> None:
        """Look at the client's statistics, JSON, for a broker that is connected."""
        self.show('"state":"UP"' in text)

    def show(self, connected: bool) -> None:
        """Take it that a broker is connected, or that none is."""
        if connected and not self.is_up and self._said[0]:
            log.info("Kafka answers again")
            self._said = ("", 0.0)
        self.is_up = connected
        self._meters.connected.set(connected)

    def require_welcome(self) -> None:
        """Raise `StreamError` if the brokers have refused this client."""
        if self._refusal is not None:
            raise StreamError(advice(self._refusal, self._settings))
