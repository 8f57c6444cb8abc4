"""An open-loop load generator: payments arrive when they are due, however slow the answers are.

A closed loop waits for an answer before it asks again, so a stalled service is asked less and looks fast ("coordinated
omission", G. Tene). Here the schedule is fixed beforehand, each latency counts from the moment the request was due,
and the generator measures its own lateness, so that a reader can tell a slow service from a slow generator.
"""

import asyncio
import functools
import gc
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec

from loadtest.http1 import Answer, MalformedError, parse_answer, request_head
from loadtest.ledger import Ledger, LoadResult, Outcome, classify

# Sleeping is only good to a millisecond (epoll counts in them), so the last stretch is waited for awake.
AWAKE = 0.002  # seconds
SWEEP = 0.02  # seconds between two looks at time-outs and dead connections
REVIVED_PER_SWEEP = 2  # dead connections opened again, so that an instance that comes back is asked again
# A request waits for a connection, is sent on a new one, answered, and sent once more: each takes a time-out at most.
LONGEST_LIFE = 6  # time-outs

Observer = Callable[[Outcome, bytes, bytes], None]
_Parameters = ParamSpec("_Parameters")


class LoadError(ValueError):
    """The load that was asked for cannot be made."""


def even_schedule(rate: float, seconds: float) -> list[float]:
    """Return the moments, in seconds from the start, of arrivals at equal distances over [0, seconds)."""
    return [number / rate for number in range(round(rate * seconds))]


def random_schedule(rate: float, seconds: float, rng: random.Random) -> list[float]:
    """Return the moments of independent arrivals (a Poisson process) over [0, seconds)."""
    arrivals = itertools.accumulate(iter(lambda: rng.expovariate(rate), None))
    return list(itertools.takewhile(lambda moment: moment < seconds, arrivals))


async def run_load(
    host: str,
    port: int,
    rate: float,
    seconds: float,
    payloads: Iterable[bytes],
    *,
    connections: int = 64,
    timeout: float = 5.0,
    method: str = "POST",
    path: str = "/predict",
    headers: Sequence[tuple[str, str]] = (),
    schedule: Sequence[float] | None = None,
    retry_once: bool = False,
    observe: Observer | None = None,
) -> LoadResult:
    """Ask at a fixed rate over keep-alive connections and account for every request.

    Ends at the latest six time-outs after the last request was due.

    Parameters
    ----------
    rate, seconds
        Arrivals a second, and for how long. With a `schedule` they only describe it.
    payloads
        Request bodies. A sequence is used again and again; anything else must last for all arrivals.
    connections
        How many requests can be under way at once. Arrivals beyond that wait, and their wait counts as latency.
    timeout
        Seconds for a connection, for an answer, and for the wait for a free connection.
    schedule
        Moments of arrival in seconds from the start, ascending; default: equal distances.
    retry_once
        Send once more, on another connection, what ended in a transport error.
    observe
        Called for each request that ended: outcome, request body, answer body.

    Raises
    ------
    LoadError
        If the figures make no load, or the payloads run out.
    """
    moments = even_schedule(rate, seconds) if schedule is None else schedule
    if not moments or connections < 1 or timeout <= 0:
        raise LoadError("a load needs at least one arrival, one connection and a time-out")
    bodies = itertools.cycle(payloads) if isinstance(payloads, Sequence) else iter(payloads)
    target = _Target(host, port, request_head(f"{host}:{port}", method, path, headers), timeout, retry_once, observe)
    ledger = await _Run(target, moments, bodies, connections).execute()
    return ledger.result(rate=rate, seconds=seconds, due=len(moments))


def _blocking(function: Callable[_Parameters, Coroutine[Any, Any, LoadResult]]) -> Callable[_Parameters, LoadResult]:
    """Return the same function for a caller without an event loop."""

    @functools.wraps(function)
    def blocking(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> LoadResult:
        collecting = gc.isenabled()
        # A collection in the middle of the run would be blamed on the service; the run is bounded, so it can wait.
        gc.collect()
        gc.disable()
        try:
            with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
                return runner.run(function(*arguments, **options))
        finally:
            if collecting:
                gc.enable()

    return blocking


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


run_load_blocking = _blocking(run_load)


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    head: bytes
    timeout: float
    retry_once: bool
    observe: Observer | None


class _Request:
    __slots__ = ("body", "due", "retried")

    def __init__(self, body: bytes, due: float) -> None:
        self.body = body
        self.due = due
        self.retried = False


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("_received", "_run", "cause", "is_lost", "is_made", "request", "sent_at", "transport")

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._received = b""
        self.cause = "connection lost"
        self.is_made = False
        self.is_lost = False
        self.request: _Request | None = None
        self.sent_at = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream protocol it is always a Transport
        self.is_made = True
        self._run.opened(self)

    def send(self, request: _Request, data: bytes, now: float) -> None:
        """Put a request on the wire."""
        self.request = request
        self.sent_at = now
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if self.request is None:  # an answer that nobody asked for: a 408 of a server that closes
            self.transport.abort()
            return
        try:
            answer = parse_answer(self._received)
        except MalformedError:
            self.give_up("malformed answer")
            return
        if answer is not None:
            self._received = b""
            self._run.answered(self, answer)

    def give_up(self, cause: str) -> None:
        """Close at once; a request under way ends with this cause."""
        self.cause = cause
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, ConnectionResetError):
            self.cause = "connection reset"
        self.is_lost = True
        self._run.lost(self)


class _Run:
    """State of one load: where each due request stands, and which connections are free."""

    def __init__(self, target: _Target, moments: Sequence[float], bodies: Iterator[bytes], connections: int) -> None:
        self._target = target
        self._moments = moments
        self._bodies = bodies
        self._slots = connections  # connections that may still be opened
        self._open: set[_Connection] = set()
        self._free: deque[_Connection] = deque()
        self._backlog: deque[_Request] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._next = 0
        self._start = 0.0
        self._ledger = Ledger()
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()

    async def execute(self) -> Ledger:
        """Open the connections, let all requests arrive, wait until the last has ended."""
        wanted, self._slots = self._slots, 0
        await asyncio.gather(*(self._revive() for _ in range(wanted)))
        self._start = time.perf_counter()
        self._loop.call_soon(self._tick)
        sweeper = self._loop.create_task(self._sweep())
        try:
            async with asyncio.timeout(self._moments[-1] + LONGEST_LIFE * self._target.timeout):
                await self._done
        except TimeoutError:
            self._account_for_the_rest()
        finally:
            tasks = (sweeper, *self._tasks)
            for task in tasks:
                task.cancel()
            for connection in list(self._open):
                connection.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._ledger

    def _break_off(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    # --- arrivals -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Let everything arrive that is due, and come back when the next one is."""
        if self._done.done():
            return
        try:
            wait = self._arrive()
        except Exception as error:  # of the caller's payloads or observer: it belongs to the caller
            self._break_off(error)
            return
        if wait > AWAKE:
            self._loop.call_later(wait - AWAKE, self._tick)
        elif wait >= 0:
            self._loop.call_soon(self._tick)

    def _arrive(self) -> float:
        """Return the seconds until the next arrival, negative when there is none."""
        while self._next < len(self._moments):
            due = self._start + self._moments[self._next]
            now = time.perf_counter()
            if now < due:
                return due - now
            self._next += 1
            self._ledger.notice(now - due)
            body = next(self._bodies, None)
            if body is None:
                raise LoadError(f"the payloads ran out after {self._next - 1} of {len(self._moments)} requests")
            self._dispatch(_Request(body, due))
        return -1

    def _dispatch(self, request: _Request) -> None:
        if self._done.done():  # connections that are closed in the end must not be replaced
            return
        while self._free:
            # The longest idle first: all connections, and so all instances behind a balancer, get their share.
            connection = self._free.popleft()
            if not connection.transport.is_closing():
                self._send(connection, request)
                return
        if self._slots:
            self._slots -= 1
            self._spawn(self._connect_for(request))
        else:
            self._backlog.append(request)

    def _send(self, connection: _Connection, request: _Request) -> None:
        data = b"%b%d\r\n\r\n%b" % (self._target.head, len(request.body), request.body)
        connection.send(request, data, time.perf_counter())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- connections --------------------------------------------------------------------------------------------------

    async def _connect(self) -> _Connection:
        """Open a connection for a slot that was taken; the slot comes back when that fails or the connection ends."""
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._target.timeout):
                await self._loop.create_connection(lambda: connection, self._target.host, self._target.port)
        except OSError:  # also a time-out
            if not connection.is_made:
                self._release_slot()
            raise
        if connection.is_lost:
            raise ConnectionResetError
        return connection

    async def _connect_for(self, request: _Request) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            self._fail(request, f"no connection: {type(error).__name__}")
        else:
            self._send(connection, request)

    async def _revive(self) -> None:
        """Open a connection that waits for what arrives next, which will try again if this fails, and say so."""
        with suppress(OSError):
            self._release(await self._connect())

    def _release(self, connection: _Connection) -> None:
        if connection.transport.is_closing():
            return
        if self._backlog:
            self._send(connection, self._backlog.popleft())
        else:
            self._free.append(connection)

    def _release_slot(self) -> None:
        self._slots += 1
        if self._backlog:
            self._dispatch(self._backlog.popleft())

    async def _sweep(self) -> None:
        """End what took too long and replace dead connections, until cancelled at the end of the run."""
        while True:
            await asyncio.sleep(SWEEP)
            latest = time.perf_counter() - self._target.timeout
            for connection in [one for one in self._open if one.request is not None and one.sent_at < latest]:
                connection.give_up("no answer in time")
            while self._backlog and self._backlog[0].due < latest:
                self._drop(self._backlog.popleft())
            for _ in range(min(self._slots, REVIVED_PER_SWEEP)):
                self._slots -= 1
                self._spawn(self._revive())

    # --- ends ---------------------------------------------------------------------------------------------------------

    def opened(self, connection: _Connection) -> None:
        """Know a connection from its first moment, so that it is closed in the end."""
        self._open.add(connection)

    def answered(self, connection: _Connection, answer: Answer) -> None:
        """Note a whole answer, and use its connection again."""
        request = connection.request
        assert request is not None  # noqa: S101  an answer to nothing is never parsed
        connection.request = None
        outcome = classify(answer.status, retry_after=answer.retry_after)
        self._record(outcome, request, f"status {answer.status}", answer.body)
        if answer.close:
            connection.transport.close()
        else:
            self._release(connection)

    def lost(self, connection: _Connection) -> None:
        """Note a lost connection; a request under way on it fails."""
        self._open.discard(connection)
        request, connection.request = connection.request, None
        if connection in self._free:
            self._free.remove(connection)
        self._release_slot()
        if request is not None:
            self._fail(request, connection.cause)

    def _fail(self, request: _Request, cause: str) -> None:
        if self._target.retry_once and not request.retried:
            request.retried = True
            self._ledger.retried += 1
            self._send_again(request)
        else:
            self._record(Outcome.TRANSPORT_ERROR, request, cause)

    def _send_again(self, request: _Request) -> None:
        """Use a new connection where one may be opened: a proxy that ends one idle connection ends them all."""
        if self._slots and not self._done.done():
            self._slots -= 1
            self._spawn(self._connect_for(request))
        else:
            self._dispatch(request)

    def _drop(self, request: _Request) -> None:
        """End what waited too long for a connection; what was on the wire once is not unsent."""
        outcome = Outcome.TRANSPORT_ERROR if request.retried else Outcome.UNSENT
        self._record(outcome, request, "no free connection in time")

    def _record(self, outcome: Outcome, request: _Request, cause: str, body: bytes = b"") -> None:
        if self._done.done():
            return
        self._ledger.record(outcome, time.perf_counter() - request.due, cause)
        if self._target.observe is not None:
            try:
                self._target.observe(outcome, request.body, body)
            except Exception as error:
                self._break_off(error)
                return
        if self._ledger.recorded == len(self._moments):
            self._done.set_result(None)

    def _account_for_the_rest(self) -> None:
        """Close the books when the time is up: the end of a run must depend on neither side's health."""
        for _ in range(len(self._moments) - self._next):
            self._ledger.record(Outcome.UNSENT, 0, "the generator was too slow")
        for _ in range(len(self._moments) - self._ledger.recorded):
            self._ledger.record(Outcome.TRANSPORT_ERROR, 0, "not ended when the run was over")
