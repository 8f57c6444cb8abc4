"""A challenger in a process of its own: what it says, and that nothing it does harms."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from model.decision import DECISIONS, decide
from model.features import FEATURE_NAMES
from model.registry import CHALLENGER, MODEL_NAME, Version, open_reader
from model.score import probability
from model.settings import Settings
from service.challenger import DIFFERENCES, SCORES, Tally
from service.scorer import Loaded
from service.shadow import ROOM, Shadow
from tests.service.shelf import Shelf, make_shelf, pod_on, serving, wait_until


@pytest.fixture(scope="module")
def shelf(settings: Settings, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with serving(make_shelf(tmp_path_factory.mktemp("registry"), settings, loaded)) as shelf:
        yield shelf


def rows_like_payments(count: int) -> list[Any]:
    rng = np.random.default_rng(3)
    return list(np.abs(rng.normal(size=(count, len(FEATURE_NAMES)))) * 50)


class Watched:
    def __init__(self, shelf: Shelf, folder: Path, **changed: Any) -> None:
        self.busy = False
        self.shown: list[str | None] = []
        self.now = 1000.0
        self.shadow = Shadow(
            pod_on(shelf, folder, **{"shadow_share": 1.0} | changed),
            busy=lambda: self.busy,
            show=self.shown.append,
            clock=lambda: self.now,
        )
        self.registry = CollectorRegistry()
        self.registry.register(self.shadow)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def seen(self) -> float:
        return self.value("fraud_shadow_score_count")


def challenger_on(shelf: Shelf, number: str) -> Version:
    shelf.aliases[MODEL_NAME, CHALLENGER] = number
    return open_reader(shelf.uri).resolve(MODEL_NAME, CHALLENGER)


def test_a_challenger_is_loaded_asked_and_counted_in_a_process_of_its_own(
    shelf: Shelf, loaded: Loaded, tmp_path: Path
) -> None:
    watched = Watched(shelf, tmp_path)
    rows = rows_like_payments(300)
    try:
        watched.shadow.sample(rows[0], {"score": 0.1, "decision": "approve"})
        watched.shadow.follow(challenger_on(shelf, "1"))
        wait_until(lambda: watched.shown == ["1"])
        assert watched.seen() == 0  # nothing was kept for a challenger that was not there
        expected = {(one, other): 0 for one in DECISIONS for other in DECISIONS}
        differences = []
        contributions = np.empty(len(FEATURE_NAMES))
        for place, row in enumerate(rows):
            score = probability(loaded.bundle.explainer.explain_into(row, contributions))
            champion = DECISIONS[place % 3]
            expected[champion, decide(score, loaded.bundle.cutoffs)] += 1
            differences.append(score - 0.25)
            watched.shadow.sample(row, {"score": 0.25, "decision": champion})
        wait_until(lambda: watched.seen() == 300)
    finally:
        watched.shadow.close()
    found = {
        (one, other): watched.value("fraud_shadow_decisions_total", champion=one, challenger=other)
        for one, other in expected
    }
    assert found == expected
    bounds = {str(bound): bound for bound in DIFFERENCES} | {"+Inf": float("inf")}
    for name, bound in bounds.items():
        below = sum(one <= bound for one in differences)
        assert watched.value("fraud_shadow_score_difference_bucket", le=name) == below
    assert watched.value("fraud_shadow_seconds_total") > 0
    assert watched.shown[-1] is None
    assert watched.value("fraud_shadow_info", model="1") == 0


def test_a_challenger_that_cannot_be_loaded_or_dies_is_said_once_and_tried_again_later(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    number = shelf.add_model(trees=20)
    version = challenger_on(shelf, number)
    path = shelf.folder_of(MODEL_NAME, number) / "model.txt"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    watched = Watched(shelf, tmp_path)
    try:
        for failures in (1, 2):
            wait_until(lambda failures=failures: told(watched, version) == failures)
            wait_until(lambda: not watched.shadow._thread.is_alive())  # type: ignore[union-attr]
            assert told(watched, version) == failures  # too early
            assert not watched.shadow._thread.is_alive()  # type: ignore[union-attr]
            watched.now += 1000
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "model.txt is not the file that was published" in caplog.text
        path.write_bytes(whole)
        watched.shadow.follow(version)
        wait_until(lambda: watched.shown[-1] == number)
        assert watched.shadow._process is not None
        watched.shadow._process.kill()
        for row in rows_like_payments(5):
            watched.shadow.sample(row, {"score": 0.25, "decision": "approve"})
        wait_until(lambda: watched.shadow.failed == 3)
        assert watched.shown[-1] is None
    finally:
        watched.shadow.close()


def told(watched: Watched, version: Version) -> int:
    """Tell it of the challenger, as a poll does, and return how often that failed so far."""
    watched.shadow.follow(version)
    return watched.shadow.failed


class Idle(Shadow):
    """One whose challenger is there, as far as it knows, and takes nothing."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, busy=lambda: True)
        self._active = "7"

    @property
    def waiting(self) -> int:
        return len(self._rows)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 400), (0.25, 100), (0.1, 40), (0.001, 0)])
def test_the_share_that_is_asked_for_is_sampled(shelf: Shelf, tmp_path: Path, share: float, expected: int) -> None:
    idle = Idle(pod_on(shelf, tmp_path, shadow_share=share))
    row = rows_like_payments(1)[0]
    for _ in range(400):
        idle.sample(row, {"score": 0.1, "decision": "review"})
    assert abs(idle.waiting - expected) <= 1


def test_what_nobody_takes_is_dropped_and_counted(shelf: Shelf, tmp_path: Path) -> None:
    idle = Idle(pod_on(shelf, tmp_path, shadow_share=1.0))
    row = rows_like_payments(1)[0]
    for _ in range(ROOM + 7):
        idle.sample(row, {"score": 0.1, "decision": "review"})
    assert (idle.waiting, idle.dropped) == (ROOM, 7)


def test_nothing_is_scored_while_a_payment_waits(shelf: Shelf, tmp_path: Path) -> None:
    watched = Watched(shelf, tmp_path)
    watched.busy = True
    try:
        watched.shadow.follow(challenger_on(shelf, "1"))
        wait_until(lambda: watched.shown == ["1"])
        watched.shadow.sample(rows_like_payments(1)[0], {"score": 0.1, "decision": "review"})
        time.sleep(0.5)
        assert watched.seen() == 0
        watched.busy = False
        wait_until(lambda: watched.seen() == 1)
    finally:
        watched.shadow.close()


@pytest.mark.parametrize("report", [{}, {"pairs": [[0]]}, {**Tally().as_json(), "scores": [1]}])
def test_a_report_that_makes_no_sense_is_refused(shelf: Shelf, tmp_path: Path, report: dict[str, Any]) -> None:
    idle = Idle(pod_on(shelf, tmp_path, shadow_share=1.0))
    with pytest.raises((RuntimeError, LookupError)):
        idle._take(report)


def test_a_score_on_a_bound_counts_below_it() -> None:
    assert list(DIFFERENCES) == sorted(DIFFERENCES)
    assert list(SCORES) == sorted(SCORES)
