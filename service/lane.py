"""The short way of a payment: from the last byte of its body to the first of its answer in one thread, without detours.

`POST /predict` is answered in the HTTP protocol of the server itself, as soon as its body is complete, through a queue
that refuses what it could not serve in time. Everything unusual (chunked or compressed bodies, `Expect`, another
content type, HTTP/1.0) and every other page takes the ordinary way through FastAPI; both end in the same `Judge`.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.admission import AdmissionQueue
from service.judge import Judge
from service.problems import MEDIA_TYPE, RequestError, problem

ROUTE = "/predict"
TURN_SECONDS = 0.002  # of answers in a row, after which the loop may read and serve other pages
SWEEP_SECONDS = 1.0
_PATHS = {b"/predict": False, b"/predict?explain=reasons": False, b"/predict?explain=full": True}
_BUSY = bytes(problem(503, "Too many payments are waiting; ask again.").body)
_PROBLEM = MEDIA_TYPE.encode()
# All of a refusal but the general headers, made once: refusing must cost next to nothing beside answering.
_REFUSAL = b"retry-after: 1\r\ncontent-type: %b\r\ncontent-length: %d\r\n%%b\r\n%b" % (_PROBLEM, len(_BUSY), _BUSY)
_CLOSE = b"connection: close\r\n"
_STAY_REFUSED, _END_REFUSED = _REFUSAL % b"", _REFUSAL % _CLOSE
_UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})


class Lane:
    """What all connections of one server share: the judge, the queue, and whether the server is about to end.

    Parameters
    ----------
    judge
        Turns a body into an answer.
    longest_wait
        Seconds that a payment may wait for its turn; what would wait longer is refused at once.
    """

    def __init__(self, judge: Judge, *, longest_wait: float) -> None:
        self.judge = judge
        self.queue: AdmissionQueue[tuple[LaneProtocol, bytes, bool]] = AdmissionQueue(longest_wait)
        self._scheduled = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_lines = b""

    def header_lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the headers that every response has, as they are sent; they change once a second, with the date."""
        if headers is not self._headers:
            self._headers = headers
            self._header_lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._header_lines

    def offer(self, protocol: "LaneProtocol", body: bytes, *, full: bool) -> None:
        """Queue a payment, or refuse it now."""
        if not self.queue.offer((protocol, body, full)):
            self._refuse(protocol)
            return
        protocol.waiting += 1
        if not self._scheduled:
            self._scheduled = True
            protocol.loop.call_soon(self._work, protocol.loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what waits, for a turn; then let the loop go round."""
        end = time.perf_counter() + TURN_SECONDS
        while len(self.queue) and time.perf_counter() < end:
            self._serve_next()
        self._scheduled = bool(len(self.queue))
        if self._scheduled:
            loop.call_soon(self._work, loop)

    def finish(self, protocol: "LaneProtocol") -> None:
        """Serve the queue until nothing of a connection waits, so that its next request cannot overtake."""
        while protocol.waiting:
            self._serve_next()

    def _serve_next(self) -> None:
        (protocol, body, full), in_time = self.queue.take()
        protocol.waiting -= 1
        if protocol.transport.is_closing():
            self.judge.telemetry.abandoned.inc()
        elif not in_time:
            self._refuse(protocol)
        else:
            started = time.perf_counter()
            status, media_type, answer = self._answer(body, full=full)
            protocol.respond(status, media_type, answer)
            taken = time.perf_counter() - started
            self.queue.learn(taken)
            self.judge.telemetry.observe(ROUTE, status, time.perf_counter() - protocol.arrived)

    def _answer(self, body: bytes, *, full: bool) -> tuple[int, bytes, bytes]:
        try:
            return 200, b"application/json", self.judge.predict(body, full=full)
        except RequestError as error:
            refusal = problem(error.status, error.detail, error.mistakes)
        except Exception as error:
            refusal = self.judge.broken(error)
        return refusal.status_code, _PROBLEM, bytes(refusal.body)

    def _refuse(self, protocol: "LaneProtocol") -> None:
        protocol.refuse()
        self.judge.telemetry.observe(ROUTE, 503, time.perf_counter() - protocol.arrived)


class LaneProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with the short way, and with an end to requests that never end."""

    def __init__(
        self, *arguments: Any, lane: Lane, limit: int, read_seconds: float, idle_seconds: float, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._lane = lane
        self._limit = limit
        self._read_seconds = read_seconds
        self._idle_seconds = idle_seconds
        self._body: bytearray | None = None
        self._full = False
        self._keep_alive = True
        self.waiting = 0
        self.arrived = 0.0
        self.reading_since: float | None = None
        self.idle_since: float | None = time.monotonic()

    def on_message_begin(self) -> None:
        """Note when a request begins to arrive."""
        self.reading_since, self.idle_since = time.monotonic(), None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the short way if the request is a plain payment."""
        if self._is_plain_payment():
            self._full = _PATHS[self.url]
            self._body = bytearray()
            return
        if self.waiting:
            self._lane.finish(self)
        super().on_headers_complete()
        if self._lane.judge.draining:
            self.cycle.keep_alive = False

    def _is_plain_payment(self) -> bool:
        if self.url not in _PATHS or self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        length = b""
        for name, value in self.headers:
            if name in _UNUSUAL or (name == b"content-type" and value.lower() != b"application/json"):
                return False
            if name == b"content-length":
                length = value
        return length.isdigit() and int(length[:10]) <= self._limit

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Hand a complete payment over."""
        self.reading_since = None
        if self._body is None:
            super().on_message_complete()
            return
        body, self._body = bytes(self._body), None
        if self.waiting:
            self._lane.finish(self)
        self.arrived = time.perf_counter()
        self._keep_alive = self.parser.should_keep_alive()
        self._lane.offer(self, body, full=self._full)

    def respond(self, status: int, media_type: bytes, body: bytes) -> None:
        """Write a whole response."""
        stay = self._stays()
        self.transport.write(
            b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (STATUS_LINE[status], self._general(), media_type, len(body), b"" if stay else _CLOSE, body)
        )
        self._responded(stay)

    def refuse(self) -> None:
        """Write that there is no room now."""
        stay = self._stays()
        self.transport.write(b"%b%b%b" % (STATUS_LINE[503], self._general(), _STAY_REFUSED if stay else _END_REFUSED))
        self._responded(stay)

    def _stays(self) -> bool:
        return self._keep_alive and not self._lane.judge.draining

    def _general(self) -> bytes:
        return self._lane.header_lines(self.server_state.default_headers)

    def _responded(self, stay: bool) -> None:
        self.idle_since = time.monotonic()
        if not stay:
            self.transport.close()

    def shutdown(self) -> None:
        """Answer what waits, let a payment that still arrives arrive, and close; the server is about to end."""
        if self.waiting:
            self._lane.finish(self)
        if self._body is None:
            super().shutdown()

    def sweep(self, now: float) -> None:
        """Close the connection if its request is not complete in time, or if it was idle for too long."""
        if self.reading_since is not None and now - self.reading_since > self._read_seconds:
            self._give_up_reading()
        elif self.reading_since is None and self.idle_since is not None and now - self.idle_since > self._idle_seconds:
            self.transport.close()

    def _give_up_reading(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._keep_alive = False
            late = problem(408, "The request was not complete in time.")
            self.respond(408, _PROBLEM, bytes(late.body))
        else:
            self.transport.close()
