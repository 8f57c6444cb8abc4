"""What running services say that they use."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from model.registry.contract import RefusedError, brief, redact

TIMEOUT = httpx.Timeout(5.0)
LONGEST_ANSWER = 2**20

_FIELDS = ("model_version", "statistics_version")
_FACTS = "model"  # what training said of the model names versions too, which nobody serves


def versions_in_use(address: str) -> dict[str, set[str]]:
    """Return the versions that a service names in its `/version`, by `model_version` and `statistics_version`.

    A field with a longer name that ends in one of the two, such as `previous_model_version`, counts as well, and so
    does one further inside: what a service keeps to fall back on is in use.

    Raises
    ------
    RefusedError
        The service cannot be asked, or its answer does not name both.
    """
    name = redact(address)
    try:
        answer = json.loads(_fetched(f"{address.rstrip('/')}/version"))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise RefusedError(f"the service at {name} could not be asked what it uses: {brief(error)}") from None
    found: dict[str, set[str]] = {field: set() for field in _FIELDS}
    for key, value in _entries(answer):
        for field in _FIELDS:
            if key.endswith(field) and value is not None:
                found[field].add(str(value))
    if not all(found.values()):
        raise RefusedError(f"the service at {name} does not say in /version which model and statistics it uses")
    return found


def _fetched(url: str) -> bytes:
    with httpx.Client(timeout=TIMEOUT) as client, client.stream("GET", url) as response:
        response.raise_for_status()
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"it answered {response.status_code}")
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LONGEST_ANSWER:
                raise ValueError("its answer has no end")
        return body


def _entries(answer: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(answer, list):
        for item in answer:
            yield from _entries(item)
    if not isinstance(answer, dict):
        return
    for key, value in answer.items():
        if isinstance(value, dict | list):
            if key != _FACTS:
                yield from _entries(value)
        else:
            yield str(key), value
