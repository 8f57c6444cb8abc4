"""Another model or newer statistics every two seconds while payments are answered by a real process."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic_core import to_json

from loadtest.ledger import Outcome
from loadtest.open_loop import run_load_blocking
from model.registry import open_reader
from model.settings import Settings
from service.loading import Loader, resolve_pair
from service.schemas import Transaction
from service.scorer import Loaded, Scorer
from service.trial import try_here
from tests.integration.test_under_load import Instance, payments
from tests.service.shelf import Shelf, make_shelf, pod_on, serving, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.integration]

SWAP_SECONDS = 2.0
SWAPS = 5
RATE = 150
BATCH = 60


@pytest.fixture(scope="module")
def shelf(settings: Settings, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with serving(make_shelf(tmp_path_factory.mktemp("registry"), settings, loaded)) as shelf:
        yield shelf


@contextmanager
def instance_on(shelf: Shelf, folder: Path, **given: str) -> Iterator[Instance]:
    settings = pod_on(shelf, folder / "pod")
    instance = Instance(settings, folder / "instance", tracking_uri=shelf.uri, **given)
    try:
        yield instance
    finally:
        instance.process.kill()
        instance.process.communicate()


def get(instance: Instance, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{instance.port}{path}", timeout=60, trust_env=False)


def is_served(instance: Instance, model: str, statistics: str) -> bool:
    found = get(instance, "/version").json()
    return bool((found["model_version"], found["statistics_version"]) == (model, statistics))


def metrics(instance: Instance) -> dict[str, float]:
    lines = get(instance, "/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


class Expected:
    """What each pair that was ever registered answers, computed here and not by the service."""

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self._settings = pod_on(shelf, folder)
        self._loader = Loader(self._settings, attempt=try_here)
        self._reader = open_reader(shelf.uri)
        self._scorers: dict[tuple[str, str], Scorer] = {}

    def learn(self) -> None:
        """Load the pair that the registry names now."""
        loaded = self._loader.load(resolve_pair(self._reader))
        scorer = Scorer(loaded, self._settings.id_hasher())
        self._scorers[loaded.model_version, loaded.snapshot.as_of] = scorer

    def answer(self, body: bytes, given: dict[str, Any]) -> bytes:
        """Return what the pair that an answer names says of a payment; a pair that never was is an error."""
        scorer = self._scorers[given["model_version"], given["statistics_as_of"]]
        return to_json(scorer.answer(Transaction.model_validate_json(body))[0], inf_nan_mode="null")


def test_a_swap_every_two_seconds_under_load_costs_no_answer_and_mixes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    expected = Expected(shelf, tmp_path / "expected")
    expected.learn()
    pairs = []
    for number in range(SWAPS):
        model = shelf.add_model(trees=20 + number) if number % 2 else "1"
        pairs.append((model, shelf.add_statistics(later_by=number + 1)))
        shelf.point(champion=model, current=pairs[-1][1])
        expected.learn()
    shelf.point(champion="1", current="1")
    seen: list[tuple[bytes, bytes]] = []
    batches: list[list[dict[str, Any]]] = []
    done = threading.Event()

    def observe(outcome: Outcome, request: bytes, response: bytes) -> None:
        assert outcome is Outcome.ANSWERED
        seen.append((request, response))

    with instance_on(shelf, tmp_path, poll_seconds="0.2") as instance:

        def turn() -> None:
            # New pairs, each tried in a process first; then to and fro between two that are in memory.
            for model, statistics in [*pairs, *pairs[-2:] * 2]:
                shelf.point(champion=model, current=statistics)
                next_turn = time.monotonic() + SWAP_SECONDS
                wait_until(partial(is_served, instance, model, statistics))
                done.wait(max(next_turn - time.monotonic(), 0))

        def ask_batches() -> None:
            bodies = [json.loads(body) for body, _ in zip(payments(10**6), range(BATCH), strict=False)]
            with httpx.Client(base_url=f"http://127.0.0.1:{instance.port}", timeout=60, trust_env=False) as client:
                while not done.is_set():
                    response = client.post("/predict/batch", json={"transactions": bodies}).raise_for_status()
                    batches.append(response.json()["answers"])

        threads = [threading.Thread(target=work) for work in (turn, ask_batches)]
        for thread in threads:
            thread.start()
        start = 0
        while threads[0].is_alive():
            result = run_load_blocking(
                "127.0.0.1", instance.port, RATE, 4, payments(start), timeout=20.0, observe=observe
            )
            assert result.due == result.answered, result
            start += result.due
        done.set()
        for thread in threads:
            thread.join()
        found = metrics(instance)
        assert instance.end() == 0
        logged = instance.lines()
    assert found['fraud_reloads_total{result="swapped"}'] == SWAPS + 4
    assert found['fraud_reloads_total{result="refused"}'] == 0
    assert len(logged) == start + BATCH * len(batches)
    used = set()
    for request, response in seen:
        answer = json.loads(response)
        used.add((answer["model_version"], answer["statistics_as_of"]))
        assert response == expected.answer(request, answer)
    assert len(used) == SWAPS + 1
    for answers in batches:
        assert len({(answer["model_version"], answer["statistics_as_of"]) for answer in answers}) == 1


def test_a_service_outlives_its_registry_and_starts_without_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.manner = "honest"
    shelf.point(champion="1", current="1")
    with instance_on(shelf, tmp_path / "first", poll_seconds="0.2") as instance:
        assert get(instance, "/version").json()["source"] == "registry"
        last_poll = metrics(instance)["fraud_registry_last_poll_timestamp_seconds"]
        for manner in ("error", "garbage", "hanging"):
            shelf.manner = manner
            asked = shelf.asked
            wait_until(lambda asked=asked: shelf.asked > asked)
            assert get(instance, "/health").status_code == get(instance, "/ready").status_code == 200
            result = run_load_blocking("127.0.0.1", instance.port, 100, 1, payments(), timeout=20.0)
            assert result.due == result.answered
        found = metrics(instance)
        assert found['fraud_registry_polls_total{result="failed"}'] > 0
        assert found["fraud_registry_last_poll_timestamp_seconds"] > 0
        assert found["fraud_registry_last_poll_timestamp_seconds"] - last_poll < 30
        assert found["fraud_gc_pause_seconds_count"] > 0
    shelf.manner = "error"
    folder = tmp_path / "first"
    again = Instance(pod_on(shelf, folder / "pod"), folder / "again", tracking_uri=shelf.uri, poll_seconds="0.2")
    try:
        version = get(again, "/version").json()
        assert (version["source"], version["model_version"]) == ("last verified copy", "1")
        assert metrics(again)["fraud_loaded_from_disk"] == 1
        assert get(again, "/ready").status_code == 200
        shelf.manner = "honest"
        wait_until(lambda: get(again, "/version").json()["source"] == "registry")
    finally:
        again.process.kill()
        again.process.communicate()


def test_a_challenger_in_shadow_is_seen_and_its_end_changes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    shelf.manner = "honest"
    shelf.point(champion="1", current="1")
    number = shelf.add_model(trees=15)
    shelf.aliases["fraud-model", "challenger"] = number
    with instance_on(shelf, tmp_path, poll_seconds="0.2", shadow_share="0.5") as instance:
        wait_until(lambda: get(instance, "/version").json()["challenger"] == {"model_version": number})
        result = run_load_blocking("127.0.0.1", instance.port, 100, 3, payments(), timeout=20.0)
        assert result.due == result.answered == 300
        wait_until(lambda: metrics(instance)["fraud_shadow_score_count"] == 150)
        del shelf.aliases["fraud-model", "challenger"]
        wait_until(lambda: get(instance, "/version").json()["challenger"] is None)
        result = run_load_blocking("127.0.0.1", instance.port, 100, 1, payments(), timeout=20.0)
        assert result.due == result.answered
