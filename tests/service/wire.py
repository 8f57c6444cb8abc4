"""What tests send to the service, and what they ask of every refusal."""

import json
from typing import Any

import httpx
from starlette.testclient import TestClient

MOST_BYTES = 2048  # requirement: size of problem details
JSON = {"content-type": "application/json"}

UNKNOWN = "nobody-has-this-id"


def payment(**changes: Any) -> dict[str, Any]:
    """Return a payment as JSON carries it, with some fields changed."""
    valid = {
        "transaction_id": 1754155,
        "tx_datetime": "2026-02-10T13:27:05Z",
        "customer_id": 7,
        "terminal_id": "42",
        "tx_amount": 412.5,
    }
    return valid | changes


def post(client: TestClient | httpx.Client, body: Any, path: str = "/predict") -> httpx.Response:
    """Post a document, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers=JSON)


def refused(response: httpx.Response, *, status: int = 422, mark: str | None = None) -> list[dict[str, Any]]:
    """Assert that a request was refused as promised, and return the fields that are named with their rules."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) <= MOST_BYTES
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert all(isinstance(found[name], str) and found[name] for name in ("type", "title", "detail"))
    if mark is not None:
        assert mark not in response.text
    errors: list[dict[str, Any]] = found.get("errors", [])
    assert all(one["field"] and one["rule"] for one in errors)
    return errors
