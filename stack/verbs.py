"""The product's own processes on a stack: each a verb of `antifraud`, watched as the servers are."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from stack.servers import Server


class Verb(Server):
    """A verb that runs on, with a page that says when it is ready.

    Parameters
    ----------
    words
        The verb and its options.
    environment
        Its settings.
    port_setting
        Name of the setting with its port.
    page
        What answers 200 once it is ready.
    """

    def __init__(
        self, folder: Path, words: Sequence[str], environment: Mapping[str, str], *, port_setting: str, page: str
    ) -> None:
        super().__init__(folder)
        self.name = words[0]
        self._words = words
        self._environment = {**environment, port_setting: str(self.port)}
        self._page = page

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready; errors as of `Server.start`."""
        self._launch([sys.executable, "-m", "antifraud", *self._words], self._is_ready, environment=self._environment)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}{self._page}", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
