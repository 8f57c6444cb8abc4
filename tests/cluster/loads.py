"""Payments that arrive at a constant rate while something happens to the pods, counted each."""

from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.ledger import LoadResult
from tests.cluster.figures import Report
from tests.cluster.release import Release
from tests.cluster.traffic import Door, Stage, Traffic

RATE = 100.0  # requirement: payments a second during a rollout, each way


class Load:
    """Payments by the ingress with one retry, as gateways send them, and past any proxy without one."""

    def __init__(self, ways: dict[str, Traffic]) -> None:
        self._ways = ways
        self.results: dict[str, list[LoadResult]] = {}

    @property
    def seconds_left(self) -> float:
        """How long payments still arrive."""
        return min(way.seconds_left for way in self._ways.values())

    def end(self) -> None:
        """Wait for the last answers."""
        self.results = {name: way.end() for name, way in self._ways.items()}

    def stop(self) -> None:
        """End at once."""
        for way in self._ways.values():
            way.stop()


@contextmanager
def under_load(release: Release, report: Report, name: str, *stages: Stage) -> Iterator[Load]:
    """Let payments arrive while the block runs; all of the block must happen before the last of them."""
    doors: dict[str, Door | None] = {"by_ingress": release.ingress_door(), "by_service": release.service_door()}
    ways = {
        way: release.traffic(door, *stages, run=f"{name[:8]}{way[3]}", retry_once=way == "by_ingress")
        for way, door in doors.items()
        if door is not None
    }
    load = Load(ways)
    try:
        yield load
        spare = load.seconds_left
        load.end()
    except BaseException:
        load.stop()
        raise
    for way, results in load.results.items():
        report.count(name, way, results)
    if "by_service" not in ways:
        report.note(name, by_service="left out: the Service's address cannot be reached from here")
    assert spare > 0, f"the load was over {-spare:.0f} s before what it was to accompany"


def split(release: Release, rate: float) -> float:
    """Return the share of a rate that each way carries."""
    return rate / (2 if release.service_door() else 1)


def lost(load: Load) -> dict[str, int]:
    """Return by way how many payments were neither answered nor told to come back."""
    return {way: sum(result.errors for result in results) for way, results in load.results.items()}


def refused_share(load: Load) -> float:
    """Return the share of payments that were told to come back, the larger one of both ways."""
    return max(
        sum(one.refused for one in results) / sum(one.due for one in results) for results in load.results.values()
    )
