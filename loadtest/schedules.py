"""When payments arrive: moments in seconds from the start of a load, fixed before it begins."""

import itertools
import random


def even_schedule(rate: float, seconds: float) -> list[float]:
    """Return the moments, in seconds from the start, of arrivals at equal distances over [0, seconds)."""
    return [number / rate for number in range(round(rate * seconds))]


def random_schedule(rate: float, seconds: float, rng: random.Random) -> list[float]:
    """Return the moments of independent arrivals (a Poisson process) over [0, seconds)."""
    arrivals = itertools.accumulate(iter(lambda: rng.expovariate(rate), None))
    return list(itertools.takewhile(lambda moment: moment < seconds, arrivals))
