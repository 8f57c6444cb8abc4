import gc

from prometheus_client import CollectorRegistry

from service.pauses import BUCKETS, NAME, GcPauses


class Clock:
    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> float:
        return self.times.pop(0)


def values(pauses: GcPauses) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(pauses)
    found = {str(bound): registry.get_sample_value(f"{NAME}_bucket", {"le": str(bound)}) for bound in BUCKETS}
    found |= {name: registry.get_sample_value(f"{NAME}_{name}") for name in ("count", "sum")}
    return {name: value for name, value in found.items() if value is not None}


def test_five_milliseconds_is_a_bound_of_the_histogram() -> None:
    assert 0.005 in BUCKETS  # requirement: no pause over it, which a soak test reads here


def test_a_pause_is_counted_up_to_its_bound() -> None:
    clock = Clock()
    pauses = GcPauses(clock)
    for start, end in ((1.0, 1.005), (2.0, 2.0051), (3.0, 3.00005), (4.0, 9.0)):
        clock.times += [start, end]
        pauses._note("start", {})
        pauses._note("stop", {})
    found = values(pauses)
    assert (found["0.0001"], found["0.002"], found["0.005"], found["0.01"], found["0.1"]) == (1, 1, 2, 3, 3)
    assert found["count"] == 4
    assert found["sum"] > 5


def test_collections_of_this_process_are_timed_while_it_watches() -> None:
    pauses = GcPauses()
    gc.collect()
    assert values(pauses)["count"] == 0
    with pauses.watching():
        gc.collect()
        gc.collect()
    seen = values(pauses)["count"]
    gc.collect()
    assert 2 <= seen == values(pauses)["count"]
    assert pauses._note not in gc.callbacks
