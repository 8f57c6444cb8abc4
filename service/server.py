"""The process: one socket, one event loop, one thread of work."""

import errno
import gc
import logging
import os
import signal
import socket
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before LightGBM is loaded: its threads only make single rows slower

import uvicorn

from model.settings import Settings
from service.app import create_app
from service.loading import load_champion
from service.scorer import Loaded

log = logging.getLogger("antifraud")


class ListenError(OSError):
    """The address cannot be listened on."""


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the configured host and port.

    Raises
    ------
    ListenError
        If the port is taken or the host is not one of this machine's; the message says what to do.
    """
    address = f"{settings.host}:{settings.port}"
    try:
        return socket.create_server((settings.host, settings.port), backlog=2048, reuse_port=False)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ListenError(f"port {settings.port} is in use: stop what runs there, or set FRAUD_PORT") from error
        reason = str(error.strerror).partition(" (while")[0]  # the rest names the address once more
        raise ListenError(f"cannot listen on {address}: {reason}") from error


def serve(settings: Settings) -> int:
    """Serve until told to stop; return the exit code.

    The port is taken and the champion loaded and verified before the first request, so that a failure of either is one
    line and not a trace.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(settings.log_level.upper())
    _stop_quietly()
    with listen(settings) as listener:
        loaded = load_champion(settings)
        log.info(
            "serving model %s with statistics as of %s on http://%s:%d",
            loaded.model_version,
            loaded.snapshot.as_of,
            *listener.getsockname()[:2],
        )
        return run(settings, loaded, listener)


def _stop_quietly() -> None:
    """Let SIGTERM and Ctrl-C end the process with exit code 0, also while it still loads.

    Once uvicorn has answered what was under way it raises the signal again, to be handled as it was found.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def run(settings: Settings, loaded: Loaded, listener: socket.socket) -> int:
    """Serve a loaded pair on a listening socket until told to stop; return the exit code."""
    config = uvicorn.Config(
        create_app(settings, lambda _: loaded),
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        server_header=False,
    )
    server = uvicorn.Server(config)
    # What is loaded now stays for good: without this a full collection walks through all of it, again and again.
    gc.collect()
    gc.freeze()
    server.run(sockets=[listener])
    return 0 if server.started else 1
