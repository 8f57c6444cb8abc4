"""Asks one pod again and again, on a new connection each time, and prints each change; it runs in a pod of its own."""

import json
import sys
import time
import urllib.error
import urllib.request

PAYMENT = {
    "transaction_id": "watch",
    "tx_datetime": "2026-04-01T10:00:00Z",
    "customer_id": 1,
    "terminal_id": 1,
    "tx_amount": 10.0,
}


def status(request: urllib.request.Request) -> int:
    """Return the status of the answer, 0 where there is none."""
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310  an address of the cluster
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except OSError:
        return 0


def main(address: str, seconds: float) -> None:
    """Print `{"ready": 503, "predict": 200, "at": ...}` at each change."""
    ready = urllib.request.Request(f"http://{address}/ready")
    predict = urllib.request.Request(
        f"http://{address}/predict", json.dumps(PAYMENT).encode(), {"content-type": "application/json"}
    )
    before = None
    end = time.time() + seconds
    while time.time() < end:
        now = {"ready": status(ready), "predict": status(predict)}
        if now != before:
            print(json.dumps({**now, "at": time.time()}), flush=True)  # noqa: T201
            before = now
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
