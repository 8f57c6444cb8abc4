"""The process: one socket, one event loop, one thread of work."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from types import FrameType

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before LightGBM is loaded: its threads only make single rows slower

import uvicorn

from model.settings import Settings
from service.app import create_app
from service.decision_log import open_decision_log
from service.lane import SWEEP_SECONDS, Lane, LaneProtocol
from service.listening import ListenError, listen_on
from service.loading import wait_for_champion
from service.scorer import Loaded
from service.upkeep import Upkeep

SWITCH_SECONDS = 0.0005  # longest that answers wait for a thread that reloads or counts; Python's own is ten times that

log = logging.getLogger("antifraud")


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the configured host and port; raises `ListenError`."""
    return listen_on(settings.host, settings.port, setting="FRAUD_PORT")


def serve(settings: Settings) -> int:
    """Serve until told to stop; return the exit code.

    The port is taken and the champion loaded and verified before the first request, so that a failure of either is one
    line and not a trace.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(settings.log_level.upper())
    _stop_quietly()
    with listen(settings) as listener:
        loaded = wait_for_champion(settings)
        log.info(
            "serving model %s with statistics as of %s on http://%s:%d%s",
            loaded.model_version,
            loaded.snapshot.as_of,
            *listener.getsockname()[:2],
            " from the copy verified last on this disk" if loaded.from_disk else "",
        )
        return run(settings, loaded, listener)


def _stop_quietly() -> None:
    """Let SIGTERM and Ctrl-C end the process with exit code 0 while it still loads."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


class DrainingServer(uvicorn.Server):
    """A server that leaves in an orderly way.

    Told to end, it first says that it is not ready, and goes on answering for the drain time, so that whoever sends
    payments can learn of it; connections are closed with their next answer. Then it finishes what is under way. Told
    twice, it ends at once. In all cases the exit code is 0.
    """

    def __init__(self, config: uvicorn.Config, lane: Lane, *, drain_seconds: float) -> None:
        super().__init__(config)
        self.lane = lane
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as usual, and begin to look after connections that do not get on."""
        await super().startup(sockets)
        self._sweep()

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if isinstance(connection, LaneProtocol):
                connection.sweep(now)
        asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave, or leave at once."""
        told_before, self.lane.judge.draining = self.lane.judge.draining, True
        if told_before or not self._drain_seconds:
            self.force_exit = told_before
            # Told twice, uvicorn leaves the application unended, and the loop then complains of that with a trace.
            logging.getLogger("uvicorn.error").disabled = told_before
            self.should_exit = True
            return
        log.info("told to end: not ready any more, answering for %g s", self._drain_seconds)
        timer = threading.Timer(self._drain_seconds, self._leave)
        timer.daemon = True  # it must not keep a process alive that was told twice
        timer.start()

    def _leave(self) -> None:
        self.should_exit = True


def run(settings: Settings, loaded: Loaded, listener: socket.socket) -> int:
    """Serve a loaded pair on a listening socket until told to stop; return the exit code."""
    server = make_server(settings, loaded)
    # What is loaded now stays for good: without this a full collection walks through all of it, again and again.
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    server.run(sockets=[listener])
    server.lane.judge.close()  # also where the application had no time to end in order
    return 0 if server.started else 1


def make_server(settings: Settings, loaded: Loaded) -> DrainingServer:
    """Return a server for a loaded pair, with the short way for payments."""
    upkeep = Upkeep(settings, busy=lambda: len(lane.queue) > 0)
    app = create_app(settings, lambda _: loaded, open_decision_log(settings.decision_log), upkeep=upkeep)
    lane = Lane(app.state.judge, longest_wait=settings.longest_wait_ms / 1000)
    protocol = partial(
        LaneProtocol,
        lane=lane,
        limit=settings.max_body_bytes,
        read_seconds=settings.read_seconds,
        idle_seconds=settings.keep_alive_seconds,
    )
    config = uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]  # called like the class it wraps
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        server_header=False,
    )
    return DrainingServer(config, lane, drain_seconds=settings.drain_seconds)


__all__ = ["DrainingServer", "ListenError", "listen", "make_server", "run", "serve"]
