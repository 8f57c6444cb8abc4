"""The stream's own pages: is the process alive, can it decide now, and what is counted."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from service.problems import MEDIA_TYPE, problem

READ_SECONDS: Final = 10.0

Page = Callable[[], tuple[int, str, bytes]]


def refused(status: int, detail: str) -> tuple[int, str, bytes]:
    """Return a page of problem details, as the service has them."""
    return status, MEDIA_TYPE, bytes(problem(status, detail).body)


def json_page(body: bytes) -> tuple[int, str, bytes]:
    """Return a page of JSON."""
    return 200, "application/json", body


def metrics_page(body: bytes) -> tuple[int, str, bytes]:
    """Return a page of metrics."""
    return 200, CONTENT_TYPE_LATEST, body


@contextmanager
def served(listener: socket, pages: dict[str, Page]) -> Iterator[None]:
    """Serve pages on a listening socket, in threads of their own, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = READ_SECONDS

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = refused(404, "See docs/stream.md for what can be asked.") if page is None else page()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing: probes come every second."""

    server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
