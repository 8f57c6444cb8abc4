"""A member's share of the topic, without brokers: who may ask for it, and when."""

from threading import Event, Thread

from prometheus_client import CollectorRegistry, generate_latest

from model.settings import load_settings
from service.stream.brokers import make_consumer
from service.stream.meters import Meters
from service.stream.share import LOOK_SECONDS, Share
from tests.conftest import ID_KEY

NOBODY = "127.0.0.1:1"
READ_SECONDS = 8.0


def test_metrics_do_not_wait_for_the_loop_that_reads() -> None:
    # The client lets one thread at a time ask it: who asks while the loop waits for messages gets no answer until then.
    reads = Event()
    settings = load_settings(id_key=ID_KEY, kafka_bootstrap=NOBODY)
    consumer = make_consumer(settings, on_error=lambda _: reads.set(), on_figures=print)
    registry = CollectorRegistry()
    share = Share(consumer, settings.stream_input, Meters(registry))
    share.advance({0: 5})
    loop = Thread(target=consumer.consume, args=(1, READ_SECONDS))
    loop.start()
    assert reads.wait(60)
    assert b"fraud_stream_lag" in generate_latest(registry)
    assert loop.is_alive()
    loop.join()
    consumer.close()


def test_lag_is_what_the_last_look_found() -> None:
    class Told:
        """A client that knows where partition 0 ends, and of partition 1 that nothing was read yet."""

        asked = 0

        def get_watermark_offsets(self, place: object, *, cached: bool) -> tuple[int, int]:
            assert cached
            self.asked += 1
            return (0, 12) if place.partition == 0 else (-1001, -1001)  # type: ignore[attr-defined]

    client = Told()
    now = [100.0]
    share = Share(client, "payments", Meters(CollectorRegistry()), clock=lambda: now[0])
    share.advance({0: 5, 1: 3})
    assert share.lags() == []
    share.look()
    assert share.lags() == [(0, 7), (1, 0)]
    share.advance({0: 12})
    assert share.lags() == [(0, 0), (1, 0)]
    share.look()
    assert client.asked == 2  # a moment later there is nothing new
    now[0] += LOOK_SECONDS
    share.look()
    assert client.asked == 4
