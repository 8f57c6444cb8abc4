"""The manifest of a bundle: which files belong to it, their SHA-256, and what they were made for."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.statistics import sums_schema

FORMAT = 1
MANIFEST = "manifest.json"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class BundleError(ValueError):
    """A bundle or snapshot that must not be used: damaged, for other features, or of another id key."""


def write_manifest(folder: Path, *, kind: str, id_key_fingerprint: str) -> str:
    """Write the manifest of all files in a folder and return its own SHA-256."""
    write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "kind": kind,
            "feature_schema": sums_fingerprint(),
            "id_key_fingerprint": id_key_fingerprint,
            "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
        },
    )
    return _sha256(folder / MANIFEST)


def verify(
    folder: Path, *, kind: str, files: Collection[str], id_key_fingerprint: str, manifest_sha256: str | None
) -> frozenset[str]:
    """Check that a folder is what was published, for these sums and this id key; nothing else is parsed before.

    Parameters
    ----------
    files
        What will be read; each must stand in the manifest. Files that do not are never looked at.
    manifest_sha256
        What the registry says of the manifest, where it does.

    Raises
    ------
    BundleError
        Naming the file and what is wrong with it.

    Returns
    -------
    frozenset of str
        All files that the manifest vouches for.
    """
    what = f"{kind} {folder.name}"
    digest = _digest(folder, MANIFEST, what=what)
    if manifest_sha256 is not None and digest != manifest_sha256:
        raise BundleError(f"{what}: {MANIFEST} is not the one that was published")
    with reading(what, MANIFEST):
        manifest = read_json(folder / MANIFEST)
        if (manifest["format"], manifest["kind"]) != (FORMAT, kind):
            raise BundleError(f"{what}: {MANIFEST} is not of kind {kind!r}, format {FORMAT}")
        _verify_files(folder, dict(manifest["files"]), files=files, what=what)
        if manifest["feature_schema"] != sums_fingerprint():
            raise BundleError(f"{what}: made for other features: its statistics are other sums than this code keeps")
        if manifest["id_key_fingerprint"] != id_key_fingerprint:
            raise BundleError(
                f"{what}: made with another id key than the one configured; every customer would be unknown"
            )
        return frozenset(manifest["files"])


def sums_fingerprint() -> str:
    """Return the digest of the sums that statistics hold and features are made from, 32 hexadecimal digits.

    Snapshots hold such sums, and so do the golden rows of a model. Which features a model makes of them is not part of
    it: a bundle names them itself, and any of those that the code knows will do.
    """
    return hashlib.blake2b("\n".join(sums_schema()).encode(), digest_size=16).hexdigest()


def _verify_files(folder: Path, digests: dict[str, str], *, files: Collection[str], what: str) -> None:
    for name in files:
        if name not in digests:
            raise BundleError(f"{what}: {MANIFEST} does not name {name}")
    for name, digest in digests.items():
        if not _PLAIN_NAME.fullmatch(name):
            raise BundleError(f"{what}: {MANIFEST} names {name!r}, which is not a plain file name")
        if _digest(folder, name, what=what) != digest:
            raise BundleError(f"{what}: {name} is not the file that was published (SHA-256 differs)")


def _digest(folder: Path, name: str, *, what: str) -> str:
    if not (folder / name).is_file():
        raise BundleError(f"{what}: {name} is missing")
    with reading(what, name):
        return _sha256(folder / name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(what: str, name: str) -> Iterator[None]:
    """Let whatever a malformed file sets off end as a `BundleError` that names it."""
    try:
        yield
    except BundleError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BundleError(f"{what}: {name} is malformed ({type(error).__name__}: {error})") from error


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON; NaN and infinity are refused."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))
