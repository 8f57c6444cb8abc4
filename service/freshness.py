"""What Prometheus sees of the loaded pair: which it is, how old, whether the registry answers, how swaps went."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from model.statistics import HOUR
from service.scorer import Loaded

POLL_RESULTS = ("unchanged", "changed", "failed")
RELOAD_RESULTS = ("swapped", "refused", "unavailable")


class Freshness:
    """The metrics of what is loaded; ages are computed when somebody asks.

    Parameters
    ----------
    registry
        Where the metrics are registered.
    clock
        Seconds since 1970.
    """

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._as_of = self._trained_until = math.nan
        self._loaded = Gauge(
            "fraud_loaded_info", "The loaded pair; always 1.", ("model", "statistics"), registry=registry
        )
        self._explainer = Gauge(
            "fraud_explainer_info",
            "What computes the SHAP values: native, or many times slower pred_contrib; always 1.",
            ("engine",),
            registry=registry,
        )
        self._from_disk = Gauge(
            "fraud_loaded_from_disk",
            "1 while the pair is the copy verified last on this disk, because the registry could not be asked.",
            registry=registry,
        )
        self._as_of_gauge = Gauge(
            "fraud_statistics_as_of_timestamp_seconds", "The hour the statistics are as of.", registry=registry
        )
        age = Gauge("fraud_statistics_age_seconds", "Now less the hour the statistics are as of.", registry=registry)
        age.set_function(lambda: self.statistics_age)
        age = Gauge(
            "fraud_model_age_seconds", "Now less the end of the period the model was trained on.", registry=registry
        )
        age.set_function(lambda: self._clock() - self._trained_until)
        self.polls = Counter("fraud_registry_polls", "Questions to the registry.", ("result",), registry=registry)
        self._last_poll = Gauge(
            "fraud_registry_last_poll_timestamp_seconds",
            "When the registry last answered sensibly; 0 until it did.",
            registry=registry,
        )
        self.reloads = Counter("fraud_reloads", "Attempts to load another pair.", ("result",), registry=registry)
        self._reload_seconds = Gauge(
            "fraud_reload_seconds", "How long the latest attempt took, download and trial included.", registry=registry
        )
        self._refused = Gauge(
            "fraud_refused_version", "1 while the registry names a pair that could not be loaded.", registry=registry
        )
        for result in POLL_RESULTS:
            self.polls.labels(result)
        for result in RELOAD_RESULTS:
            self.reloads.labels(result)

    @property
    def statistics_age(self) -> float:
        """Seconds since the hour the statistics are as of; NaN before anything is loaded."""
        return self._clock() - self._as_of

    def show_loaded(self, loaded: Loaded) -> None:
        """Say which pair answers from now on."""
        self._model_info(loaded)
        self._as_of = loaded.snapshot.as_of_hour * HOUR
        self._as_of_gauge.set(self._as_of)
        self._trained_until = _trained_until(loaded)
        self._from_disk.set(loaded.from_disk)

    def _model_info(self, loaded: Loaded) -> None:
        self._loaded.clear()
        self._loaded.labels(loaded.model_version, loaded.statistics_version).set(1)
        self._explainer.clear()
        self._explainer.labels(loaded.bundle.explainer.engine).set(1)

    def count_poll(self, result: str) -> None:
        """Count a question to the registry, one of `POLL_RESULTS`."""
        self.polls.labels(result).inc()
        if result != "failed":
            self.note_answer()

    def note_answer(self) -> None:
        """Say that the registry answered sensibly just now."""
        self._last_poll.set(self._clock())

    def count_reload(self, result: str, seconds: float) -> None:
        """Count an attempt to load another pair, one of `RELOAD_RESULTS`."""
        self.reloads.labels(result).inc()
        self._reload_seconds.set(seconds)

    def show_refused(self, refused: bool) -> None:
        """Say whether the registry names a pair that could not be loaded."""
        self._refused.set(refused)


def _trained_until(loaded: Loaded) -> float:
    """Return the end of the training period in seconds since 1970; NaN where the model does not say."""
    with suppress(LookupError, TypeError, ValueError):
        return datetime.fromisoformat(loaded.bundle.facts["periods"]["train"][1]).timestamp()
    return math.nan
