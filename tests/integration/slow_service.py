"""The service with a model so large that an answer takes ten milliseconds of a processor; `python -m` runs it."""

import sys
import time

from model.settings import Settings, load_settings
from model.statistics import Floats
from service import server
from service.loading import load_champion
from service.scorer import Loaded

ANSWER_SECONDS = 0.01


def load_slowed(settings: Settings) -> Loaded:
    """Load the champion, and let it explain each payment again and again until the time is up."""
    loaded = load_champion(settings)
    explain = loaded.bundle.explainer.explain_into

    def slowly(row: Floats, contributions: Floats, /) -> float:
        end = time.thread_time() + ANSWER_SECONDS
        while time.thread_time() < end:
            margin = explain(row, contributions)
        return margin

    loaded.bundle.explainer.explain_into = slowly
    return loaded


if __name__ == "__main__":
    vars(server)["wait_for_champion"] = load_slowed
    sys.exit(server.serve(load_settings()))
