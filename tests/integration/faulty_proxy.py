"""A proxy before an HTTP server that answers with errors of its own while it is told to."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class FaultyProxy:
    """Leads to a port of 127.0.0.1; while `status` is set, each `PUT` is answered with it and not passed on."""

    upstream: int
    status: int = 0
    port: int = 0
    refused: int = 0
    puts: list[str] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return the class that deals with one connection."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self._body()
                if self.command == "PUT" and proxy.status:
                    proxy.refused += 1
                    self._answer(
                        proxy.status, [("content-type", "application/xml")], b"<Error><Code>Trouble</Code></Error>"
                    )
                    return
                proxy.puts += [self.path] * (self.command == "PUT")
                server = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=30)
                # The signature is over the headers as they came, the name of the host among them.
                server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    server.putheader(name, value)
                server.endheaders(body)
                answer = server.getresponse()
                headers = [
                    (name, value)
                    for name, value in answer.getheaders()
                    if name.lower() not in ("transfer-encoding", "connection")
                ]
                self._answer(answer.status, headers, answer.read())
                server.close()

            def _body(self) -> bytes:
                """Return the body as it came, in chunks with their lengths if so."""
                if "chunked" not in self.headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                parts = []
                while True:
                    parts.append(self.rfile.readline())
                    length = int(parts[-1].partition(b";")[0], 16)
                    if not length:
                        break
                    parts.append(self.rfile.read(length + 2))
                while parts[-1] != b"\r\n":
                    parts.append(self.rfile.readline())
                return b"".join(parts)

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response(status)
                given = [(name, value) for name, value in headers if name.lower() != "content-length"]
                length = {name.lower(): value for name, value in headers}.get("content-length", str(len(body)))
                for name, value in [*given, ("content-length", length if self.command == "HEAD" else str(len(body)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            # The library calls these by name.
            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def faulty_proxy(upstream: int) -> Iterator[FaultyProxy]:
    """Run a proxy for the time of a block."""
    proxy = FaultyProxy(upstream)
    with ThreadingHTTPServer(("127.0.0.1", 0), proxy.handler()) as server:
        server.daemon_threads = True
        proxy.port = server.server_port
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
