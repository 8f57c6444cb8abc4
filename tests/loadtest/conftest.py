"""A tiny server with every way to answer, and a tiny bank."""

import asyncio
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from model.training.simulation import PROFILES, simulate

AS_OF = "2026-02-01T00:00:00Z"
Choose = Callable[[int, bytes], str]


class TinyServer:
    """Answers on a real socket, each request as a function of its number and body says."""

    def __init__(self) -> None:
        self.choose: Choose = lambda _number, _body: "answer"
        self.stall = 0.0
        self.metrics: list[str] = []  # pages of /metrics, one for each time it is asked for
        self.bodies: list[bytes] = []
        self.given: Counter[str] = Counter()
        self.open = 0
        self.most_open = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []  # the loop itself holds them weakly
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cycle(self, *ways: str) -> None:
        self.choose = lambda number, _body: ways[number % len(ways)]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, sock=self._listener))
        self._loop.run_forever()
        self._loop.run_until_complete(self._end(server))
        self._loop.close()

    async def _end(self, server: asyncio.Server) -> None:
        """Leave no socket to the garbage collector."""
        await asyncio.sleep(0.01)  # a closed server leaks the socket of a connection that it accepted a moment ago
        server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # each socket is closed in the loop's next round

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._tasks.append(self._loop.create_task(self._connection(reader, writer)))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        self.open -= 1
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
        body = await reader.readexactly(length)
        if head.startswith(b"get /metrics") and self.metrics:
            writer.write(whole(200, self.metrics.pop(0).encode()))
            return True
        if head.startswith(b"get "):
            writer.write(whole(200, json.dumps({"statistics_as_of": AS_OF}).encode()))
            return True
        way = self.choose(len(self.bodies), body)
        self.bodies.append(body)
        self.given[way] += 1
        if self.stall:
            stall, self.stall = self.stall, 0.0
            await asyncio.sleep(stall)
        return await WAYS[way](writer)


def whole(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status} Whatever", "content-type: application/json", *headers))
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _write(data: bytes, *, keep: bool = True) -> Callable[[asyncio.StreamWriter], "asyncio.Future[bool]"]:
    async def way(writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return keep

    return way  # type: ignore[return-value]  # a coroutine is awaited all the same


async def _split(writer: asyncio.StreamWriter) -> bool:
    data = whole(200, b'{"in": "two parts"}')
    writer.write(data[:20])
    await asyncio.sleep(0.01)
    writer.write(data[20:])
    return True


async def _hang(_writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(60)
    return False


async def _reset(writer: asyncio.StreamWriter) -> bool:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


WAYS = {
    "answer": _write(whole(200)),
    "split": _split,
    "chunked": _write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "close": _write(whole(200, b"{}", "connection: close"), keep=False),
    "refuse": _write(whole(503, b"{}", "Retry-After: 1")),
    "unavailable": _write(whole(503)),
    "invalid": _write(whole(422)),
    "broken": _write(whole(500)),
    "garbage": _write(b"SSH-2.0-something\r\n\r\n", keep=False),
    "cut": _write(whole(200, b"{}" * 50)[:-30], keep=False),
    "hang": _hang,
    "reset": _reset,
}


@pytest.fixture
def server() -> Iterator[TinyServer]:
    server = TinyServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of sixty customers, with a little of each kind of dirt."""
    folder = tmp_path_factory.mktemp("tiny") / "history"
    simulate(replace(PROFILES["small"], customers=60, terminals=100, days=10, dirt=0.01, seed=3), folder)
    return folder


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
