"""Real servers for the time of a test; where a program is missing, the test is skipped and says which."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from stack.servers import Missing, Server

AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def started(server: AnyServer) -> Iterator[AnyServer]:
    """Start a server, and stop and delete it in the end."""
    try:
        server.start()
    except Missing as reason:
        pytest.skip(str(reason))
    try:
        yield server
    finally:
        server.stop()
        server.delete()
