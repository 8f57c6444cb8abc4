"""File systems for addresses: credentials come from the environment or the provider's usual places, never from here."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from model.address import AddressError, Location, RemoteAddress, parse_address
from model.settings import load_settings
from model.training.addresses.place import Place

_CONNECT_SECONDS = 5.0
_ATTEMPTS = 3  # of one request inside the S3 client; `FRAUD_STORE_PATIENCE_SECONDS` stands above them
_WEBHDFS_PORT = 9870
# Whatever of these changes, another client is needed.
_S3_VARIABLES = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CA_BUNDLE",
)


def open_address(address: Location | RemoteAddress) -> Place:
    """Return the place of an address; nothing is asked of a store yet.

    Parameters
    ----------
    address
        A path, `s3://bucket/prefix` or `hdfs://host:port/path`; a file or a folder, which need not be there yet.

    Raises
    ------
    AddressError
        If it is of another form or holds credentials, or what the environment says of the store is no address.
    """
    parsed = address if isinstance(address, RemoteAddress) else parse_address(address)
    if isinstance(parsed, Path):
        return Place(str(parsed), pafs.LocalFileSystem(), str(parsed.absolute()), 0.0)
    settings = load_settings()
    if parsed.scheme == "s3":
        filesystem = _s3(tuple(os.environ.get(name, "") for name in _S3_VARIABLES))
        path = f"{parsed.host}/{parsed.path}".rstrip("/")
    else:
        user = os.environ.get("HADOOP_USER_NAME", "")
        filesystem = _hdfs(settings.webhdfs or _default_webhdfs(parsed.host), user)
        path = f"/{parsed.path}"
    return Place(str(parsed), filesystem, path, settings.store_patience_seconds)


@lru_cache(maxsize=4)
def _s3(variables: tuple[str, ...]) -> pafs.FileSystem:
    given = dict(zip(_S3_VARIABLES, variables, strict=True))
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "retry_strategy": pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    }
    region = given["AWS_REGION"] or given["AWS_DEFAULT_REGION"]
    endpoint = given["AWS_ENDPOINT_URL_S3"] or given["AWS_ENDPOINT_URL"]
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.path.strip("/"):
            raise AddressError(
                "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL must be http(s)://host:port without path, user or password"
            )
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        region = region or "us-east-1"  # stores other than Amazon's take any; asking about it would only take time
    if region:
        options["region"] = region
    if given["AWS_CA_BUNDLE"]:
        options["tls_ca_file_path"] = given["AWS_CA_BUNDLE"]
    return pafs.S3FileSystem(**options)


def _default_webhdfs(host: str) -> str:
    return f"http://{host.partition(':')[0]}:{_WEBHDFS_PORT}"


@lru_cache(maxsize=4)
def _hdfs(webhdfs: str, user: str) -> pafs.FileSystem:
    from model.training.addresses.webhdfs import SteadyWebHDFS

    parts = urlsplit(webhdfs)
    client = SteadyWebHDFS(
        host=parts.hostname,
        port=parts.port or _WEBHDFS_PORT,
        use_https=parts.scheme == "https",
        user=user or None,
        skip_instance_cache=True,
    )
    return pafs.PyFileSystem(pafs.FSSpecHandler(client))
