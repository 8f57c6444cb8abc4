"""An open-loop load generator: payments arrive when they are due, however slow the answers are.

A closed loop waits for an answer before it asks again, so a stalled service is asked less and looks fast ("coordinated
omission", G. Tene). Here the schedule is fixed beforehand, each latency counts from the moment the request was due,
and the generator measures its own lateness, so that a reader can tell a slow service from a slow generator.
"""

import asyncio
import functools
import gc
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ParamSpec

from loadtest.connections import ConnectionPool, Request, Target
from loadtest.http1 import Answer, request_head
from loadtest.ledger import Ledger, LoadResult, Outcome, classify
from loadtest.schedules import even_schedule

# Sleeping is only good to a millisecond (epoll counts in them), so the last stretch is waited for awake.
AWAKE = 0.002  # seconds
# A request waits for a connection, is sent on a new one, answered, and sent once more: each takes a time-out at most.
LONGEST_LIFE = 6  # time-outs

Observer = Callable[[Outcome, bytes, bytes], None]
_Parameters = ParamSpec("_Parameters")


class LoadError(ValueError):
    """The load that was asked for cannot be made."""


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
    target = Target(host, port, request_head(f"{host}:{port}", method, path, headers), timeout)
    ledger = await _Run(target, connections, moments, bodies, retry_once=retry_once, observe=observe).execute()
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


class _Run:
    """State of one load: how far the arrivals have come, and how each request ended."""

    def __init__(
        self,
        target: Target,
        connections: int,
        moments: Sequence[float],
        bodies: Iterator[bytes],
        *,
        retry_once: bool,
        observe: Observer | None,
    ) -> None:
        self._pool = ConnectionPool(target, connections, self)
        self._longest = moments[-1] + LONGEST_LIFE * target.timeout  # seconds
        self._moments = moments
        self._bodies = bodies
        self._retry_once = retry_once
        self._observe = observe
        self._next = 0
        self._start = 0.0
        self._ledger = Ledger()
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()

    async def execute(self) -> Ledger:
        """Open the connections, let all requests arrive, wait until the last has ended."""
        await self._pool.open_all()
        self._start = time.perf_counter()
        self._loop.call_soon(self._tick)
        try:
            async with asyncio.timeout(self._longest):
                await self._done
        except TimeoutError:
            self._account_for_the_rest()
        finally:
            await self._pool.close()
        return self._ledger

    @property
    def is_over(self) -> bool:
        """Whether the books are closed."""
        return self._done.done()

    def _break_off(self, error: Exception) -> None:
        if not self.is_over:
            self._done.set_exception(error)

    # --- arrivals -----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Let everything arrive that is due, and come back when the next one is."""
        if self.is_over:
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
            self._pool.send(Request(body, due))
        return -1

    # --- ends ---------------------------------------------------------------------------------------------------------

    def answered(self, request: Request, answer: Answer) -> None:
        """Note a whole answer."""
        outcome = classify(answer.status, retry_after=answer.retry_after)
        self._record(outcome, request, f"status {answer.status}", answer.body)

    def failed(self, request: Request, cause: str) -> None:
        """Send once more what got no answer, if that is wanted, or note it."""
        if self._retry_once and not request.retried:
            request.retried = True
            self._ledger.retried += 1
            self._pool.send_again(request)
        else:
            self._record(Outcome.TRANSPORT_ERROR, request, cause)

    def expired(self, request: Request) -> None:
        """End what waited too long for a connection; what was on the wire once is not unsent."""
        outcome = Outcome.TRANSPORT_ERROR if request.retried else Outcome.UNSENT
        self._record(outcome, request, "no free connection in time")

    def _record(self, outcome: Outcome, request: Request, cause: str, body: bytes = b"") -> None:
        if self.is_over:
            return
        self._ledger.record(outcome, time.perf_counter() - request.due, cause)
        if self._observe is not None:
            try:
                self._observe(outcome, request.body, body)
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
