"""Addresses of what is read and written: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.

This module only knows what an address looks like; `model.training.addresses` opens it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FORMS = "a path, s3://bucket/prefix or hdfs://host:port/path"
_SCHEMES = {"s3": "s3", "s3a": "s3", "s3n": "s3", "hdfs": "hdfs"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?::([0-9]{1,5}))?")

Location = Path | str
"""A path here, or the text of a remote address; what `location` returns."""


class AddressError(ValueError):
    """An address that breaks its rule, or cannot be read or written; it says what to do and holds no secret."""


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """An address in a store: `s3` or `hdfs`, the bucket or `host:port`, and the path without slashes around it."""

    scheme: str
    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.path}".rstrip("/")


def parse_address(text: str | Path) -> Path | RemoteAddress:
    """Return what an address means.

    Raises
    ------
    AddressError
        If it is of another form than those in `FORMS`, or holds a user, a password or parameters; what is wrong is
        said without repeating them.
    """
    if isinstance(text, Path):
        return text
    found = _SCHEME.fullmatch(text)
    if found is None:
        if not text or "\0" in text:
            raise AddressError(f"an address must be {FORMS}")
        return Path(text)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        return _file_path(rest)
    if scheme not in _SCHEMES:
        raise AddressError(f"an address with {scheme}:// is not known; it must be {FORMS}")
    return _remote(_SCHEMES[scheme], rest)


def location(text: object) -> object:
    """Return the path or the normalised text of an address; anything but text is left as it is."""
    if not isinstance(text, str):
        return text
    parsed = parse_address(text)
    return parsed if isinstance(parsed, Path) else str(parsed)


def is_remote(address: Location) -> bool:
    """Return whether an address is in a store and not a path here."""
    return isinstance(address, str) and not isinstance(parse_address(address), Path)


def _file_path(rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise AddressError("an address with file:// must be file:///absolute/path")
    return Path(f"/{path}")


def _remote(scheme: str, rest: str) -> RemoteAddress:
    host, _, path = rest.partition("/")
    if "@" in host or "?" in rest:
        raise AddressError(
            f"an address with {scheme}:// must hold no user, password or parameters: credentials come from the"
            " environment (AWS_*, HADOOP_USER_NAME) or the provider's usual places"
        )
    rule = _BUCKET if scheme == "s3" else _HOST
    if not rule.fullmatch(host):
        # Not repeated: what stands in the place of the host may be a key with its secret.
        form = "s3://bucket/prefix" if scheme == "s3" else "hdfs://host:port/path"
        raise AddressError(f"an address with {scheme}:// must be {form}; what follows {scheme}:// is no name")
    parts = path.rstrip("/").split("/") if path.strip("/") else []
    if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
        raise AddressError(f"{scheme}://{host}/...: each part of the path must be printable, not empty, `.` or `..`")
    return RemoteAddress(scheme, host, "/".join(parts))
