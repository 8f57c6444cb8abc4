"""What can go wrong with a store: what is worth another try, and what a person is told."""

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from model.address import AddressError

T = TypeVar("T")

_TRANSIENT = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|THROTTLING|"
    r"HTTP status 5\d\d|HTTP status 429|curlCode: \d+|[Tt]imed? ?out|short read|Connection (?:reset|aborted|refused)|"
    r"SafeMode|StandbyException|RetriableException|bad response code"
)
_REFUSED = re.compile(
    r"ACCESS_DENIED|SIGNATURE_DOES_NOT_MATCH|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|MISSING_AUTHENTICATION_TOKEN|"
    r"EXPIRED_TOKEN|HTTP status 40[13]|REQUEST_EXPIRED|UNRECOGNIZED_CLIENT"
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|[Bb]ucket does not exist")
_SAID = re.compile(r"AWS Error ([A-Z_]+)|(HTTP status \d{3})|curlCode: \d+, ([^\n.]{1,80})")
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds
_TOLD_AFTER = 2.0  # seconds; a hiccup is nobody's concern

log = logging.getLogger("antifraud")


class TransientError(OSError):
    """A fault of the moment: the store is overloaded, or the connection was lost."""


class RefusedError(PermissionError):
    """The store knows who asks, and says no; or does not know."""


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed a little later."""
    if isinstance(error, TransientError | TimeoutError | ConnectionError):
        return True
    if isinstance(error, FileNotFoundError | PermissionError | FileExistsError) or _REFUSED.search(str(error)):
        return False
    return isinstance(error, OSError) and bool(_TRANSIENT.search(str(error)))


def patiently(address: object, action: Callable[[], T], *, patience: float) -> T:
    """Do something in a store; what fails for the moment is tried again, with longer and longer pauses.

    Parameters
    ----------
    patience
        Seconds from the first try after which no other is begun.

    Raises
    ------
    AddressError
        What failed in the end, and what to do.
    """
    begun, wait, told = time.monotonic(), _FIRST_WAIT, False
    while True:
        try:
            return action()
        except OSError as error:
            pause = wait * random.uniform(0.5, 1.0)  # noqa: S311  so that many clients do not come back at once
            if not is_transient(error) or time.monotonic() + pause - begun > patience:
                raise explained(address, error) from error
            if not told and time.monotonic() - begun > min(_TOLD_AFTER, patience / 2):
                told = True
                log.warning("%s: no answer yet (%s); asking again for up to %g s", address, _reason(error), patience)
        time.sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT)


@contextmanager
def explaining(address: object) -> Iterator[None]:
    """Turn what goes wrong with an address into an `AddressError`."""
    try:
        yield
    except AddressError:
        raise
    except OSError as error:
        raise explained(address, error) from error


def explained(address: object, error: OSError) -> AddressError:
    """Return the error for a person: the address, what is wrong, what to do."""
    text = str(error)
    if _NO_BUCKET.search(text):
        return AddressError(f"{address}: there is no such bucket; check its name and AWS_ENDPOINT_URL")
    if isinstance(error, PermissionError) or _REFUSED.search(text):
        return AddressError(
            f"{address}: access was refused ({_reason(error)}); {_check(address, 'the credentials', 'the rights')}"
        )
    if "HTTP status 404" in text:
        # Asked about one file, a store says no more than this.
        return AddressError(
            f"{address}: not found: the store does not know the bucket or the access key; check both, and"
            " AWS_ENDPOINT_URL"
        )
    if isinstance(error, FileNotFoundError):
        return AddressError(f"{address}: there is no such file or folder")
    if is_transient(error):
        return AddressError(
            f"{address}: the store did not answer as it should, also when asked again ({_reason(error)});"
            f" {_check(address, 'the endpoint', 'the store')}, then repeat the command"
        )
    return AddressError(f"{address}: cannot be read or written ({_reason(error)})")


def _check(address: object, *what: str) -> str:
    hdfs = str(address).startswith("hdfs:")
    names = {
        "the credentials": "HADOOP_USER_NAME" if hdfs else "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
        "the rights": "what this user may do there",
        "the endpoint": "FRAUD_WEBHDFS" if hdfs else "AWS_ENDPOINT_URL",
        "the store": "whether the store is up",
    }
    return f"check {names[what[0]]} and {names[what[1]]}"


def _reason(error: BaseException) -> str:
    """Return what the store said in few words: codes only, for its sentences may quote what was sent."""
    found = [next(filter(None, groups)) for groups in _SAID.findall(str(error))]
    if found:
        return ", ".join(dict.fromkeys(found))
    if isinstance(error, TransientError | RefusedError):
        return str(error)
    return getattr(error, "strerror", None) or type(error).__name__
