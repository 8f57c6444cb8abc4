"""Toxiproxy: a TCP proxy that slows, cuts and holds connections on demand."""

from dataclasses import dataclass
from typing import Any

import httpx

from stack.servers.programs import program
from stack.servers.server import Server, listens, unused_port


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxied address.

    Attributes
    ----------
    port
        The port of 127.0.0.1 that leads to the server behind it.
    """

    port: int
    _url: str

    def toxic(self, kind: str, *, stream: str = "downstream", **attributes: int) -> None:
        """Disturb its connections, such as `latency` (ms), `timeout` (ms), `limit_data` (bytes), `bandwidth` (KB/s)."""
        toxic: dict[str, Any] = {"type": kind, "stream": stream, "attributes": attributes}
        httpx.post(f"{self._url}/toxics", json=toxic).raise_for_status()

    def heal(self) -> None:
        """End every disturbance."""
        for toxic in httpx.get(f"{self._url}/toxics").raise_for_status().json():
            httpx.delete(f"{self._url}/toxics/{toxic['name']}").raise_for_status()
        self.enable()

    def enable(self, on: bool = True) -> None:
        """Let connections through, or cut and refuse them all."""
        httpx.post(self._url, json={"enabled": on}).raise_for_status()


class Toxiproxy(Server):
    """Toxiproxy's server; each proxy of it leads to one other server."""

    name = "toxiproxy"

    def start(self) -> None:
        """Start it; errors as of `Server.start`."""
        server = program("toxiproxy-server", how="make stack-tools (needs Go)")
        self._launch([server, "-host", "127.0.0.1", "-port", str(self.port)], lambda: listens(self.port))

    def proxy(self, upstream: int) -> Proxy:
        """Return a proxy before a port of 127.0.0.1."""
        port = unused_port()
        api = f"http://127.0.0.1:{self.port}/proxies"
        proxy = {"name": f"to-{upstream}-by-{port}", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream}"}
        httpx.post(api, json={**proxy, "enabled": True}).raise_for_status()
        return Proxy(port, f"{api}/{proxy['name']}")
