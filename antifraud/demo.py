"""The first five minutes: a bank, a champion, a running service, and two payments judged with their reasons."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from model.features import schema_fingerprint
from model.manifest import FORMAT, sums_fingerprint
from model.settings import Settings
from model.statistics import HOUR

SHOWN_REASONS = 5
START_SECONDS = 60  # how long the service may take to be ready
BAR_WIDTH = 12
_RED, _GREEN, _BOLD, _PLAIN = "\033[31m", "\033[32m", "\033[1m", "\033[0m"


class DemoError(RuntimeError):
    """The demonstration cannot go on."""


@dataclass(frozen=True, slots=True)
class Example:
    """One payment of the history, moved to the day after it ends."""

    title: str
    payment: dict[str, Any]


def run(settings: Settings, *, history: Path | None, once: bool) -> int:
    """Prepare what is missing, serve, show two payments, and keep serving until Ctrl-C.

    Parameters
    ----------
    history
        Real history; None simulates a small bank.
    once
        Stop after the two payments.
    """
    from service.server import listen

    with listen(settings) as listener:  # a busy port is better known now than after two minutes of training
        port = listener.getsockname()[1]
    if history is not None:
        _refuse_unfit(history)
        history = history.resolve()
    work = settings.work_folder / (_name(history) if history else "demo")
    work.mkdir(parents=True, exist_ok=True)
    settings = settings.model_copy(update={"port": port, "work_folder": work, **_own_key(settings, work)})
    if history is None:
        history = _simulated(work / "history")
    _train_once(settings, history)
    with _service(settings) as process:
        _show(settings, history)
        if not once:
            print("\nServing until Ctrl-C.", flush=True)
            _wait_for_end(process)
    return 0


def _refuse_unfit(history: Path) -> None:
    """Raise `HistoryError` if there is no raw history, before anything is made; its payments are asked about later."""
    from model.training.history import find_files

    find_files(history)


def _wait_for_end(process: "subprocess.Popen[bytes]") -> None:
    try:
        status = process.wait()
    except KeyboardInterrupt:  # the way to end it, so no failure
        print("\nStopped.")
        return
    if status:
        raise DemoError(f"the service ended by itself, with exit code {status}")


def _name(history: Path) -> str:
    return f"{history.stem}-{hashlib.sha256(str(history).encode()).hexdigest()[:8]}"


def _own_key(settings: Settings, work: Path) -> dict[str, Any]:
    """Make an id key for this demonstration alone, readable by its owner only, unless one is configured."""
    if settings.id_key is not None or settings.id_key_file is not None:
        return {}
    path = work / "id.key"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    return {"id_key_file": path}


def _simulated(folder: Path) -> Path:
    from model.training.simulation import PROFILES, simulate

    print(
        "Simulating a small bank ..." if not folder.exists() else "Using the small bank simulated before.", flush=True
    )
    summary = simulate(PROFILES["small"], folder)
    print(f"  {summary.rows:,} card payments of {summary.days} days, {summary.fraud_share:.2%} of them fraud")
    return folder


def _train_once(settings: Settings, history: Path) -> None:
    """Train unless this very history was trained on before, by code that reads and computes the same."""
    note = settings.work_folder / "trained.json"
    code = {"format": FORMAT, "features": schema_fingerprint(), "sums": sums_fingerprint()}
    source = _fingerprint(history) | {"id_key": settings.id_hasher().fingerprint} | code
    if note.exists() and json.loads(note.read_text(encoding="utf-8"))["source"] == source:
        print(f"Using the champion trained before (remove {settings.work_folder} to start afresh).")
        return
    from antifraud.verbs.train import train_and_report

    print(f"Training on {history} ...", flush=True)
    print(train_and_report(settings, history, appoint=True))
    note.write_text(json.dumps({"source": source}) + "\n", encoding="utf-8")


def _fingerprint(history: Path) -> dict[str, Any]:
    # What begins like this is no part of a history: the simulator's summary, for one, is written again each time.
    found = sorted(path for path in history.rglob("*") if path.is_file() and path.name[0] not in "._")
    files = found if history.is_dir() else [history]
    return {"files": [value for path in files for value in (path.stat().st_size, path.stat().st_mtime)]}


@contextmanager
def _service(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the service as production does, in a process of its own; it ends with this one."""
    environment = os.environ | {
        "FRAUD_WORK_FOLDER": str(settings.work_folder),
        "FRAUD_HOST": settings.host,
        "FRAUD_PORT": str(settings.port),
        "FRAUD_LOG_LEVEL": "warning",
        "FRAUD_DECISION_LOG": str(settings.work_folder / "decisions.jsonl"),
    }
    if settings.id_key_file is not None:
        environment["FRAUD_ID_KEY_FILE"] = str(settings.id_key_file)
    process = subprocess.Popen([sys.executable, "-m", "antifraud", "serve"], env=environment)
    # What ends this process must not leave the other one behind.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _wait_until_ready(settings, process)
        yield process
    finally:
        # Ctrl-C in a terminal reaches both processes; asking once more does no harm.
        process.terminate()
        process.wait(timeout=30)
        signal.signal(signal.SIGTERM, previous)


def _wait_until_ready(settings: Settings, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError("the service did not start; its last line says why")
        try:
            if httpx.get(f"{_address(settings)}/ready", timeout=1, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise DemoError(f"the service was not ready after {START_SECONDS} s")


def _address(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def _show(settings: Settings, history: Path) -> None:
    # No proxy stands between two processes of one machine, whatever the environment says.
    with httpx.Client(base_url=_address(settings), timeout=10, trust_env=False) as client:
        versions = client.get("/version").raise_for_status().json()
        found = examples(history, as_of=datetime.fromisoformat(versions["statistics_as_of"]))
        for example in found:
            answer = client.post("/predict", json=example.payment).raise_for_status().json()
            print(rendered(example, answer, versions["cutoffs"]))
    print("\nTry it yourself; the page of all calls is", f"{_address(settings)}/docs\n")
    print(f"curl -s {_address(settings)}/predict -H 'content-type: application/json' \\")
    print(f"  -d '{json.dumps(found[-1].payment)}'", flush=True)


def examples(history: Path | str, *, as_of: datetime) -> list[Example]:
    """Return the last honest payment and the last fraud of the history's last day that tell a typical story."""
    import duckdb

    from model.training.addresses import readable
    from model.training.history import history_sql, open_history

    files = open_history(history)
    with duckdb.connect() as connection, readable(connection, [file.path for file in files]):
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE VIEW history AS {history_sql(files)}")
        rows = {kind: _last(connection, fraud=kind, before=int(as_of.timestamp())) for kind in (0, 1)}
    titles = {0: "An ordinary payment", 1: "A payment labelled fraud in the history"}
    return [Example(titles[kind], _moved(row, as_of)) for kind, row in rows.items() if row is not None]


def _last(connection: Any, *, fraud: int, before: int) -> tuple[Any, ...] | None:
    """Return the last payment of that label whose customer and terminal were both used before on the days before."""
    month, day = before - 30 * 24 * HOUR, before - 24 * HOUR
    row = connection.execute(
        f"""
        WITH recent AS (SELECT * FROM history WHERE tx_seconds >= {month} AND tx_seconds < {before}),
        customers AS (SELECT customer_id FROM recent GROUP BY customer_id HAVING COUNT(*) >= 10),
        terminals AS (
            SELECT terminal_id FROM recent WHERE tx_seconds < {day}
            GROUP BY terminal_id HAVING COUNT(*) >= 5 AND MAX(tx_fraud) = {fraud}
        )
        SELECT tx_seconds, transaction_id, customer_id, terminal_id, tx_amount FROM recent
        WHERE tx_fraud = {fraud}
            AND customer_id IN (SELECT customer_id FROM customers)
            AND terminal_id IN (SELECT terminal_id FROM terminals)
            AND tx_amount > 0
        ORDER BY tx_seconds DESC, transaction_id LIMIT 1
        """
    ).fetchone()
    return tuple(row) if row else None


def _moved(row: tuple[Any, ...], as_of: datetime) -> dict[str, Any]:
    """Return the payment at its own time of day, on the first day after the statistics."""
    seconds, transaction, customer, terminal, amount = row
    start = int(as_of.timestamp())
    moment = datetime.fromtimestamp(start + (seconds - start) % (24 * HOUR), UTC)
    return {
        "transaction_id": transaction,
        "tx_datetime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "customer_id": customer,
        "terminal_id": terminal,
        "tx_amount": amount,
    }


def rendered(example: Example, answer: dict[str, Any], cutoffs: dict[str, float]) -> str:
    """Return an answer with its reasons as text for a terminal."""
    colours = sys.stdout.isatty()
    payment = example.payment
    moment = datetime.fromisoformat(payment["tx_datetime"]).strftime("%A %-d %B %Y, %H:%M UTC")
    colour = {"approve": _GREEN}.get(answer["decision"], _RED)
    strongest = max(abs(reason["contribution"]) for reason in answer["reasons"])
    shown, rest = answer["reasons"][:SHOWN_REASONS], answer["reasons"][SHOWN_REASONS:]
    return "\n".join(
        (
            "",
            _painted(f"{example.title}: {payment['tx_amount']:,.2f} on {moment}", _BOLD, on=colours),
            f"  customer {payment['customer_id']}, terminal {payment['terminal_id']}",
            "",
            "  "
            + _painted(answer["decision"].upper(), _BOLD + colour, on=colours)
            + f"   probability of fraud {answer['score']:.2%}"
            + f"   (review from {cutoffs['review']:.2%}, decline from {cutoffs['decline']:.2%})",
            "",
            *(_reason_line(reason, strongest, colours=colours) for reason in shown),
            f"  {round(sum(reason['contribution'] for reason in rest), 2) + 0.0:+6.2f}  {'':{BAR_WIDTH}}  "
            f"{len(rest)} weaker reasons together; {answer['base_value']:+.2f} before anything is known",
        )
    )


def _reason_line(reason: dict[str, Any], strongest: float, *, colours: bool) -> str:
    share = reason["contribution"]
    bar = "█" * max(1, round(BAR_WIDTH * abs(share) / strongest)) if strongest else ""
    painted = _painted(f"{bar:<{BAR_WIDTH}}", _RED if share > 0 else _GREEN, on=colours)
    return f"  {share:+6.2f}  {painted}  {reason['text']}"


def _painted(text: str, code: str, *, on: bool) -> str:
    return f"{code}{text}{_PLAIN}" if on else text
