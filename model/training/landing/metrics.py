"""What Prometheus sees of a landing, and the port that shows it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

HEALTH = json.dumps({"status": "alive"}).encode()


class Metrics:
    """The metrics of one landing; no id, no amount and no address is ever a label."""

    def __init__(self, topic: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.records = self._counter("fraud_landing_records", "Records landed.", topic)
        self.files = self._counter("fraud_landing_files", "Files landed.", topic)
        self.bytes = self._counter("fraud_landing_bytes", "Bytes of the files landed.", topic)
        self.rejected = self._counter("fraud_landing_rejected", "Records that break a rule of their topic.", topic)
        self.failures = self._counter(
            "fraud_landing_failures", "Failed attempts to write a file or note an offset.", topic
        )
        self.lag = self._gauge("fraud_landing_lag_records", "Offsets of the topic that have not landed yet.", topic)
        self.partitions = self._gauge("fraud_landing_partitions", "Partitions that this one lands.", topic)
        self.complete_until = self._gauge(
            "fraud_landing_complete_until_timestamp_seconds",
            "All that was committed before has landed, of the partitions of this one, in seconds since 1970.",
            topic,
        )
        self.complete_until.set(time.time())

    def _counter(self, name: str, text: str, topic: str) -> Counter:
        return Counter(name, text, ("topic",), registry=self.registry).labels(topic)

    def _gauge(self, name: str, text: str, topic: str) -> Gauge:
        return Gauge(name, text, ("topic",), registry=self.registry).labels(topic)


@contextmanager
def shown(metrics: Metrics, *, host: str, port: int) -> Iterator[int]:
    """Show `/metrics` and `/health` on a port while the block lasts; yield the port, a free one for 0.

    Raises
    ------
    OSError
        If the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {"/metrics": CONTENT_TYPE_LATEST, "/health": "application/json"}
            kind = answers.get(self.path)
            body = generate_latest(metrics.registry) if self.path == "/metrics" else HEALTH if kind else b""
            self.send_response(200 if kind else 404)
            self.send_header("content-type", kind or "text/plain")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape is no news."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise OSError(f"FRAUD_LANDING_PORT: cannot listen on {host}:{port} ({error.strerror})") from error
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
