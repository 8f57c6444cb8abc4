"""HDFS over HTTP (WebHDFS), with time-outs, and with every answer looked at before it counts as content."""

from typing import Any
from urllib.parse import urlsplit

import requests
from fsspec.implementations.webhdfs import WebHDFile, WebHDFS

from model.training.addresses.faults import RefusedError, TransientError

_SECONDS = (5.0, 60.0)  # to connect, and without a byte
_OVERWRITE = "OVERWRITE"
_BUSY = ("StandbyException", "RetriableException", "SafeModeException", "safe mode", "in state standby")
_BLOCK = 1 << 20


class SteadyWebHDFS(WebHDFS):  # type: ignore[misc]  # fsspec has no types
    """What fsspec's client lacks for our use: time-outs, atomic renames, no silence about a bad answer."""

    protocol = "hdfs"
    cachable = False

    def _connect(self) -> None:
        super()._connect()
        for prefix in ("http://", "https://"):
            self.session.mount(prefix, _Adapter())

    def _call(self, op: str, method: str = "get", path: str | None = None, **kwargs: Any) -> requests.Response:
        try:
            answer: requests.Response = super()._call(op, method=method, path=path, **kwargs)
        except requests.HTTPError as error:
            raise _as_os_error(error) from error
        except RuntimeError as error:
            # What the name node calls by another name than a missing file or a lack of rights.
            kind = TransientError if any(words in str(error) for words in _BUSY) else OSError
            raise kind(str(error).splitlines()[0][:200]) from error
        return answer

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        # The path as it is: fsspec would take a `?` or `#` in a name for a part of an address.
        return "/" + path.split("://", 1)[-1].partition("/")[2] if "://" in path else path

    @staticmethod
    def _process_info(info: dict[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = WebHDFS._process_info(info)
        facts["mtime"] = facts["modificationTime"] / 1000
        return facts

    def info(self, path: str) -> dict[str, Any]:
        """Return what is known of one file or folder."""
        facts: dict[str, Any] = super().info(path)
        return facts

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> WebHDFile:
        if mode != "rb":
            raise NotImplementedError("files are written whole, by `write_file`")
        return _ReadFile(
            self, path, mode="rb", block_size=_BLOCK, autocommit=True, tempdir=self.tempdir, cache_type="none"
        )

    def write_file(self, path: str, content: Any) -> None:
        """Create a file, or take the place of one, from an open file here."""
        location = self._call("CREATE", "put", path, redirect=False, overwrite="true").headers["Location"]
        self.checked(lambda: self.session.put(self._apply_proxy(location), data=content))

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Rename; what is there under the new name is replaced in the same step."""
        self._call("RENAME", method="put", path=path1, destination=path2, renameoptions=_OVERWRITE)

    def checked(self, ask: Any) -> requests.Response:
        """Return the answer to a request, or raise `OSError` where it is none."""
        answer: requests.Response = ask()
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            raise _as_os_error(error) from error
        return answer


class _ReadFile(WebHDFile):  # type: ignore[misc]
    """A file to read from; each answer must be as long as what was asked for."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        start, end = max(start, 0), min(end, self.size)
        if start >= end:
            return b""
        answer = self.fs._call("OPEN", path=self.path, offset=start, length=end - start, redirect=False)
        if "Location" in answer.headers:
            location = self.fs._apply_proxy(answer.headers["Location"])
            answer = self.fs.checked(lambda: self.fs.session.get(location))
        content: bytes = answer.content
        if len(content) != end - start:
            raise TransientError("short read")
        return content


class _Adapter(requests.adapters.HTTPAdapter):
    """Gives every request a time-out, and calls what went wrong with the connection an `OSError` of the moment."""

    def send(self, request: requests.PreparedRequest, *given: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or _SECONDS
        try:
            return super().send(request, *given, **options)
        except (requests.ConnectionError, requests.Timeout) as error:
            asked = urlsplit(str(request.url))  # the data node may be another machine than the address names
            raise TransientError(f"{type(error).__name__} at {asked.hostname}:{asked.port}") from error


def _as_os_error(error: requests.HTTPError) -> OSError:
    status = error.response.status_code if error.response is not None else 0
    said = f"HTTP status {status}"
    if status in (401, 403):
        return RefusedError(said)
    if status == 404:
        return FileNotFoundError(said)
    return TransientError(said) if status >= 500 or status == 429 else OSError(said)
