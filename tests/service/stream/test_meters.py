"""The metrics of the stream, its pages, and when its loop counts as stuck."""

import json

import httpx
from prometheus_client import CollectorRegistry, generate_latest

from model.settings import Settings
from service.listening import listen_on
from service.stream.meters import STUCK_SECONDS, Beat, Meters
from service.stream.pages import served
from service.stream.run import Stream


def test_a_loop_that_does_not_turn_for_a_minute_is_stuck() -> None:
    now = [100.0]
    beat = Beat(lambda: now[0])
    seen = []
    for seconds in (0, STUCK_SECONDS, 0.1):
        now[0] += seconds
        seen.append(beat.is_stuck)
    beat.turn()
    assert [*seen, beat.is_stuck] == [False, False, True, False]


def test_ages_and_lags_are_shown_as_they_are() -> None:
    registry = CollectorRegistry()
    meters = Meters(registry)
    meters.ages.add([0.02, 0.2, 4000.0])
    meters.lag.source = lambda: [(0, 7), (5, 0)]
    text = generate_latest(registry).decode()
    assert 'fraud_stream_age_seconds_bucket{le="0.025"} 1.0' in text
    assert 'fraud_stream_age_seconds_bucket{le="1800.0"} 2.0' in text
    assert "fraud_stream_age_seconds_count 3.0" in text
    assert 'fraud_stream_lag{partition="0"} 7.0' in text
    assert 'fraud_stream_dead_letters_total{reason="not-json"} 0.0' in text


def test_pages_answer_before_anything_is_loaded(settings: Settings) -> None:
    stream = Stream(settings.model_copy(update={"decision_log": ""}))
    with listen_on("127.0.0.1", 0, setting="FRAUD_STREAM_PORT") as listener:
        address = "http://{}:{}".format(*listener.getsockname())
        with served(listener, stream.pages()), httpx.Client(base_url=address, trust_env=False) as client:
            assert client.get("/health").json() == {"status": "alive"}
            ready = client.get("/ready")
            assert (ready.status_code, ready.headers["content-type"]) == (503, "application/problem+json")
            assert "fraud_stream_lag" in client.get("/metrics").text
            assert "fraud_decisions_total" in client.get("/metrics").text
            assert json.loads(client.get("/predict").content)["status"] == 404
