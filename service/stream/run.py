"""The process of `antifraud stream`: settings, pages, the loaded pair, and an end in good order."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before LightGBM is loaded: its threads only make single rows slower

from pydantic_core import to_json

from model.settings import Settings
from service.decision_log import open_decision_log
from service.judge import NOT_LOADED, Judge
from service.listening import listen_on
from service.loading import wait_for_champion
from service.scorer import Scorer
from service.stream.brokers import BrokersAwayError, common, member_name
from service.stream.member import Member
from service.stream.meters import Beat, Meters
from service.stream.pages import Page, json_page, metrics_page, refused, served
from service.telemetry import Telemetry
from service.upkeep import Upkeep

NO_BROKER: Final = 3  # exit code where no broker could be reached within the start time
LEAVE_SECONDS: Final = 8.0  # after which a process that was told to end goes, whatever the brokers do
COLLECT_AFTER: Final = (20_000, 20, 20)  # a transaction's messages live on until it commits: not worth looking at
SWITCH_SECONDS: Final = 0.0005  # longest that decisions wait for a thread that reloads or counts

log = logging.getLogger("antifraud")


class Stream:
    """Everything of one process: what decides, what reads and writes, and what is said about it.

    Attributes
    ----------
    member
        None until a pair is loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.judge = Judge(Telemetry(), open_decision_log(settings.decision_log))
        self.meters, self.beat = Meters(self.judge.telemetry.registry), Beat()
        self.member: Member | None = None

    def pages(self) -> dict[str, Page]:
        """Return what is served over HTTP, by path."""
        return {
            "/health": self.health,
            "/ready": self.ready,
            "/metrics": lambda: metrics_page(self.judge.telemetry.render()),
        }

    def health(self) -> tuple[int, str, bytes]:
        """Return 200 as long as the loop turns; brokers that are away do not stop it."""
        if self.member is not None and self.beat.is_stuck:
            return refused(503, "The loop of the stream has not turned for a minute.")
        return json_page(b'{"status":"alive"}')

    def ready(self) -> tuple[int, str, bytes]:
        """Return 200 once a pair is loaded and the group has given this member its share, until told to end."""
        scorer, member = self.judge.scorer, self.member
        if scorer is None or member is None:
            return refused(503, NOT_LOADED)
        if member.stopping:
            return refused(503, "This instance is about to end.")
        if not member.connected:
            return refused(503, "No broker is connected.")
        if not member.joined:
            return refused(503, "The consumer group has not given this member its share yet.")
        limit = self.settings.max_statistics_age.total_seconds()
        if limit and self.judge.telemetry.freshness.statistics_age > limit:
            return refused(503, "The statistics are older than FRAUD_MAX_STATISTICS_AGE.")
        loaded = scorer.loaded
        said: dict[str, Any] = {"status": "ready", "model_version": loaded.model_version}
        return json_page(to_json(said | {"statistics_as_of": loaded.snapshot.as_of}))

    def stop(self, *_: object) -> None:
        """Begin to leave; a watch ends the process where the brokers do not let it."""
        member = self.member
        if member is None:
            sys.exit(0)
        if member.stopping:
            return
        member.stop()
        watch = threading.Timer(LEAVE_SECONDS, self._go)
        watch.daemon = True
        watch.start()

    def _go(self) -> None:
        log.warning("told to end, and the brokers do not answer: what is open is aborted by them or the next start")
        with suppress(Exception):
            self.judge.close()
        os._exit(0)

    async def work(self) -> None:
        """Decide until told to end."""
        assert self.member is not None  # noqa: S101  made before
        member = self.member
        async with Upkeep(self.settings, busy=lambda: member.busy)(self.judge):
            await member.run()


def run_stream(settings: Settings) -> int:
    """Decide on the payments of a topic until told to stop; return the exit code.

    Settings are checked, the port is taken and the champion loaded and verified before the first message is read.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(settings.log_level.upper())
    common(settings)
    stream = Stream(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stream.stop)
    with listen_on(settings.host, settings.stream_port, setting="FRAUD_STREAM_PORT") as listener:
        host, port = listener.getsockname()[:2]
        with served(listener, stream.pages()):
            loaded = wait_for_champion(settings)
            stream.judge.take(Scorer(loaded, settings.id_hasher()))
            log.info(
                "member %s of %s decides on %s with model %s and statistics as of %s; pages on http://%s:%d",
                member_name(settings),
                settings.stream_group,
                settings.stream_input,
                loaded.model_version,
                loaded.snapshot.as_of,
                host,
                port,
            )
            stream.member = Member(settings, stream.judge, stream.meters, stream.beat)
            return _work(stream)


def _work(stream: Stream) -> int:
    # What is loaded now stays for good: without this a full collection walks through all of it, again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        asyncio.run(stream.work())
    except BrokersAwayError as error:
        log.error("%s", error)
        return NO_BROKER
    finally:
        stream.judge.close()
    return 0
