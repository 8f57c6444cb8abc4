import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from model.registry.contract import (
    AliasNotFoundError,
    ArtifactError,
    RegistryError,
    RegistryUnavailableError,
    Version,
    brief,
    redact,
)
from model.registry.files import DEFAULT_LIMITS, Entry, Limits, download, too_long

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
LONGEST_TRANSFER_S = 600.0
LONGEST_ANSWER = 16 * 2**20

_ALIAS = "/api/2.0/mlflow/registered-models/alias"
_DOWNLOAD_ADDRESS = "/api/2.0/mlflow/model-versions/get-download-uri"
_RUN = "/api/2.0/mlflow/runs/get"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"

# A missing model and a missing alias are answered differently.
_NOT_THERE = {(404, "RESOURCE_DOES_NOT_EXIST"), (400, "INVALID_PARAMETER_VALUE"), (400, "RESOURCE_DOES_NOT_EXIST")}


class RestReader:
    """Read a registry through MLflow's REST interface; no MLflow needed on this side."""

    def __init__(self, uri: str, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._server = _Server(uri)
        self._limits = limits

    def resolve(self, name: str, alias: str) -> Version:
        """Return the version that carries an alias now."""
        with self._server.session() as client:
            status, answer = self._server.ask(client, _ALIAS, name=name, alias=alias)
        if (status, answer.get("error_code")) in _NOT_THERE:
            raise AliasNotFoundError(name, alias)
        self._server.expect_success(status)
        with self._server.sense_expected():
            return _version(answer["model_version"])

    def download(self, version: Version, folder: Path) -> None:
        """Copy all files of a version into an empty or new folder, completely or not at all."""
        with self._server.session() as client:
            root = self._root(client, version)
            download(_Artifacts(self._server, client, root), folder, what=str(version), limits=self._limits)

    def _root(self, client: httpx.Client, version: Version) -> str:
        answer = self._server.get(client, _DOWNLOAD_ADDRESS, name=version.name, version=version.version)
        with self._server.sense_expected():
            address = str(answer["artifact_uri"])
        if address.startswith("runs:/"):
            address = self._in_run(client, address)
        parts = urlsplit(address)
        if parts.scheme != "mlflow-artifacts" or parts.netloc not in ("", self._server.authority):
            raise ArtifactError(
                f"the files of {version} lie at {redact(address)}, which this registry does not hand out: "
                "start `mlflow server` with --artifacts-destination and train again"
            )
        return parts.path.strip("/")

    def _in_run(self, client: httpx.Client, address: str) -> str:
        # MLflow gives such an address back as it was registered; only the run knows where its files are.
        run_id, _, path = address.removeprefix("runs:/").partition("/")
        answer = self._server.get(client, _RUN, run_id=run_id)
        with self._server.sense_expected():
            return f"{answer['run']['info']['artifact_uri'].rstrip('/')}/{path}"


class _Server:
    """One server: its address, its credentials, and what each of its answers means."""

    def __init__(self, uri: str) -> None:
        self._name = redact(uri)
        try:
            parts = urlsplit(uri)
            self.authority = parts.netloc.rpartition("@")[2]
            self._base = httpx.URL(f"{parts.scheme}://{self.authority}{parts.path.rstrip('/')}")
            if not self._base.host:
                raise ValueError(self._name)
        except (ValueError, httpx.InvalidURL):
            # The reason may quote a part of the password.
            raise RegistryError(f"the registry's address {self._name} is not a valid http(s) address") from None
        self._headers, self._auth = _credentials(parts.username, parts.password)
        # Reading the trust store costs milliseconds: once here, not at each poll, and not for plain http.
        self._tls = httpx.create_ssl_context() if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    @contextmanager
    def session(self) -> Iterator[httpx.Client]:
        with (
            self._reached(),
            httpx.Client(timeout=TIMEOUT, headers=self._headers, auth=self._auth, verify=self._tls) as client,
        ):
            yield client

    def get(self, client: httpx.Client, path: str, /, **parameters: str) -> Mapping[str, Any]:
        status, answer = self.ask(client, path, **parameters)
        self.expect_success(status)
        return answer

    def ask(self, client: httpx.Client, path: str, /, **parameters: str) -> tuple[int, Mapping[str, Any]]:
        with client.stream("GET", f"{self._base}{path}", params=parameters) as response:
            try:
                answer = json.loads(b"".join(_limited(response, "the answer", most_bytes=LONGEST_ANSWER)))
            except (ValueError, ArtifactError):
                self.expect_success(response.status_code)
                raise self._nonsense() from None
        if not isinstance(answer, dict):
            raise self._nonsense()
        return response.status_code, answer

    def copy(self, client: httpx.Client, path: str, target: IO[bytes], *, what: str, most_bytes: int) -> None:
        try:
            with client.stream("GET", f"{self._base}{path}") as response:
                self.expect_success(response.status_code)
                for chunk in _limited(response, what, most_bytes=most_bytes):
                    target.write(chunk)
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
            raise ArtifactError(f"the download of {what} from {self._name} broke off: {brief(error)}") from None

    def expect_success(self, status: int) -> None:
        if status in (401, 403):
            raise RegistryUnavailableError(
                f"the registry at {self._name} refused access ({status}): check MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN, and that its --allowed-hosts lists this host name"
            )
        if status != 200:
            raise RegistryUnavailableError(f"the registry at {self._name} answered with an error ({status})")

    @contextmanager
    def sense_expected(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._nonsense() from None

    def _nonsense(self) -> RegistryUnavailableError:
        return RegistryUnavailableError(
            f"the answer from {self._name} is not one that an MLflow server gives: check the registry's address"
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise RegistryUnavailableError(f"the registry at {self._name} cannot be reached: {brief(error)}") from None


class _Artifacts:
    """The files below one folder of the server's artifact store."""

    def __init__(self, server: _Server, client: httpx.Client, root: str) -> None:
        self._server = server
        self._client = client
        self._root = root

    def entries(self, path: str) -> list[Entry]:
        answer = self._server.get(self._client, _ARTIFACTS, path=f"{self._root}/{path}".rstrip("/"))
        with self._server.sense_expected():
            return [_entry(line) for line in answer.get("files", [])]

    def fetch(self, path: str, target: Path, *, most_bytes: int) -> None:
        address = f"{_ARTIFACTS}/{quote(f'{self._root}/{path}')}"
        with target.open("wb") as file:
            self._server.copy(self._client, address, file, what=path, most_bytes=most_bytes)


def _limited(response: httpx.Response, what: str, *, most_bytes: int) -> Iterator[bytes]:
    deadline = time.monotonic() + LONGEST_TRANSFER_S
    received = 0
    for chunk in response.iter_bytes():
        received += len(chunk)
        if received > most_bytes:
            raise too_long(what, most_bytes)
        if time.monotonic() > deadline:
            raise ArtifactError(f"{what} did not arrive within {LONGEST_TRANSFER_S:.0f} s")
        yield chunk


def _entry(line: Mapping[str, Any]) -> Entry:
    size = line.get("file_size")
    return Entry(str(line["path"]), is_folder=bool(line.get("is_dir")), size=None if size is None else int(size))


def _version(answer: Mapping[str, Any]) -> Version:
    number = str(answer["version"])
    if not (number.isascii() and number.isdecimal()):
        # It becomes a folder's name later.
        raise ValueError(number)
    return Version(
        name=str(answer["name"]),
        version=number,
        source=str(answer.get("source", "")),
        tags={str(tag["key"]): str(tag.get("value", "")) for tag in answer.get("tags", [])},
        run_id=answer.get("run_id") or None,
    )


def _credentials(username: str | None, password: str | None) -> tuple[dict[str, str], httpx.BasicAuth | None]:
    # Compressed answers would make the announced length meaningless.
    headers = {"Accept-Encoding": "identity", "User-Agent": "antifraud"}
    if username is not None:
        return headers, httpx.BasicAuth(unquote(username), unquote(password or ""))
    username, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if username and password:
        return headers, httpx.BasicAuth(username, password)
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    return headers, None
