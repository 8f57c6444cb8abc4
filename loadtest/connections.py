"""Keep-alive connections of a load: which are free, how many may still be opened, and which requests wait for one."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from loadtest.http1 import Answer, MalformedError, parse_answer

SWEEP = 0.02  # seconds between two looks at time-outs and dead connections
REVIVED_PER_SWEEP = 2  # dead connections opened again, so that an instance that comes back is asked again


class Request:
    """One request: what it asks, when it was due, and whether it was sent a second time."""

    __slots__ = ("body", "due", "retried")

    def __init__(self, body: bytes, due: float) -> None:
        self.body = body
        self.due = due
        self.retried = False


class Load(Protocol):
    """Whose requests these are: it hears how each of them ended."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be sent any more."""

    def answered(self, request: Request, answer: Answer) -> None:
        """Hear that a whole answer came."""

    def failed(self, request: Request, cause: str) -> None:
        """Hear that no whole answer came."""

    def expired(self, request: Request) -> None:
        """Hear that no connection became free in time."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: `head` is all of a request up to the figure of its content length, `timeout` is in seconds."""

    host: str
    port: int
    head: bytes
    timeout: float


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("_pool", "_received", "cause", "is_lost", "is_made", "request", "sent_at", "transport")

    def __init__(self, pool: "ConnectionPool") -> None:
        self._pool = pool
        self._received = b""
        self.cause = "connection lost"
        self.is_made = False
        self.is_lost = False
        self.request: Request | None = None
        self.sent_at = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream protocol it is always a Transport
        self.is_made = True
        self._pool.opened(self)

    def send(self, request: Request, data: bytes, now: float) -> None:
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
            self._pool.answered(self, answer)

    def give_up(self, cause: str) -> None:
        """Close at once; a request under way ends with this cause."""
        self.cause = cause
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, ConnectionResetError):
            self.cause = "connection reset"
        self.is_lost = True
        self._pool.lost(self)


class ConnectionPool:
    """All connections of one load to one target; it tells the load how each request ended, until the load is over."""

    def __init__(self, target: Target, most: int, load: Load) -> None:
        self._target = target
        self._load = load
        self._slots = most  # connections that may still be opened
        self._open: set[_Connection] = set()
        self._free: deque[_Connection] = deque()
        self._backlog: deque[Request] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def open_all(self) -> None:
        """Open as many as may be, and from then on end what takes too long and replace what is lost."""
        wanted, self._slots = self._slots, 0
        await asyncio.gather(*(self._revive() for _ in range(wanted)))
        self._spawn(self._sweep())

    async def close(self) -> None:
        """Close all at once, whatever is under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self._open):
            connection.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- requests -----------------------------------------------------------------------------------------------------

    def send(self, request: Request) -> None:
        """Send on the connection that is longest free or on a new one, or keep it until there is one."""
        if self._load.is_over:  # connections that are closed in the end must not be replaced
            return
        while self._free:
            # The longest idle first: all connections, and so all instances behind a balancer, get their share.
            connection = self._free.popleft()
            if not connection.transport.is_closing():
                self._send_on(connection, request)
                return
        if self._slots:
            self._slots -= 1
            self._spawn(self._connect_for(request))
        else:
            self._backlog.append(request)

    def send_again(self, request: Request) -> None:
        """Use a new connection where one may be opened: a proxy that ends one idle connection ends them all."""
        if self._slots and not self._load.is_over:
            self._slots -= 1
            self._spawn(self._connect_for(request))
        else:
            self.send(request)

    def _send_on(self, connection: _Connection, request: Request) -> None:
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

    async def _connect_for(self, request: Request) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            self._load.failed(request, f"no connection: {type(error).__name__}")
        else:
            self._send_on(connection, request)

    async def _revive(self) -> None:
        """Open a connection that waits for what arrives next, which will try again if this fails, and say so."""
        with suppress(OSError):
            self._release(await self._connect())

    def _release(self, connection: _Connection) -> None:
        if connection.transport.is_closing():
            return
        if self._backlog:
            self._send_on(connection, self._backlog.popleft())
        else:
            self._free.append(connection)

    def _release_slot(self) -> None:
        self._slots += 1
        if self._backlog:
            self.send(self._backlog.popleft())

    async def _sweep(self) -> None:
        """End what took too long and replace dead connections, until cancelled at the end of the run."""
        while True:
            await asyncio.sleep(SWEEP)
            latest = time.perf_counter() - self._target.timeout
            for connection in [one for one in self._open if one.request is not None and one.sent_at < latest]:
                connection.give_up("no answer in time")
            while self._backlog and self._backlog[0].due < latest:
                self._load.expired(self._backlog.popleft())
            for _ in range(min(self._slots, REVIVED_PER_SWEEP)):
                self._slots -= 1
                self._spawn(self._revive())

    # --- what a connection tells --------------------------------------------------------------------------------------

    def opened(self, connection: _Connection) -> None:
        """Know a connection from its first moment, so that it is closed in the end."""
        self._open.add(connection)

    def answered(self, connection: _Connection, answer: Answer) -> None:
        """Pass a whole answer on, and use its connection again."""
        request = connection.request
        assert request is not None  # noqa: S101  an answer to nothing is never parsed
        connection.request = None
        self._load.answered(request, answer)
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
            self._load.failed(request, connection.cause)
