"""One landing from its settings to its end: `antifraud land`."""

from threading import Event

from model.settings import Settings
from model.training.landing.buffers import Limits
from model.training.landing.kinds import KINDS
from model.training.landing.metrics import shown
from model.training.landing.sink import Sink, Tally
from model.training.landing.store import Store, claim
from model.training.landing.topic import connection, group_of
from model.training.landing.waiting import Say


def land(kind_name: str, address: str, *, settings: Settings, once: bool, stop: Event, say: Say) -> Tally:
    """Land the committed records of a topic as files.

    Parameters
    ----------
    kind_name
        `decisions` or `reports`.
    address
        Of the folder: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    once
        Whether to end when all that was committed at the start has landed; else it goes on until `stop` is set.

    Raises
    ------
    LandingError
        If it cannot go on; `AwayError` if brokers or store were away for longer than `landing_patience`.
    OSError
        If the port of the metrics is taken.
    """
    kind = KINDS[kind_name]
    topic = settings.stream_output if kind_name == "decisions" else settings.landing_reports
    store = Store(address)
    limits = Limits(
        settings.landing_records, settings.landing_memory_mb * 1024 * 1024, settings.landing_every.total_seconds()
    )
    sink = Sink(
        kind,
        topic,
        store,
        reach=connection(settings),
        limits=limits,
        patience=settings.landing_patience.total_seconds(),
        once=once,
        stop=stop,
        say=say,
    )
    with shown(sink.metrics, host=settings.host, port=settings.landing_port) as port:
        say(f"landing {topic} at {store.address}; metrics on port {port}")
        return sink.land(
            group_of(topic, store.address),
            lambda topic_id: claim(store, kind=kind_name, topic=topic, topic_id=topic_id),
        )
