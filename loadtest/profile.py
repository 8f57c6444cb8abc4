"""Where the microseconds of one answer go: each step of `POST /predict` timed by itself, in the order it happens.

Needs a trained bank: `make run ONCE=1` makes one.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from model.features import FEATURE_NAMES, RowBuilder
from model.reasons import explain_in_words
from model.score import probability
from model.settings import load_settings
from model.transaction import epoch_seconds
from service.body import parse_json
from service.decision_log import DecisionLog
from service.judge import Judge
from service.loading import load_champion
from service.schemas import Transaction
from service.scorer import Loaded, Scorer, Tables
from service.telemetry import Telemetry

CALLS, ROUNDS = 2000, 15


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an answer: what it does, and how long it takes at best, in microseconds."""

    name: str
    microseconds: float


def measure(call: Callable[[], object]) -> float:
    """Return the microseconds of a call: the fastest of several rounds, so that other work does not count."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter() - started)
    return best / CALLS * 1e6


def body_for(loaded: Loaded) -> bytes:
    """Return a payment; whether its customer is known does not change the work."""
    moment = datetime.fromtimestamp(loaded.snapshot.as_of_hour * 3600 + 48_000, UTC)
    return to_json(
        {
            "transaction_id": 1754155,
            "tx_datetime": moment.isoformat(),
            "customer_id": 7,
            "terminal_id": "1042",
            "tx_amount": 412.0,
        }
    )


def steps(loaded: Loaded, hasher: Any) -> list[Step]:
    """Time every step of one answer, and the whole."""
    body = body_for(loaded)
    document = parse_json(body)
    transaction = Transaction.model_validate(document)
    tables = loaded.tables or Tables.of(loaded.snapshot)
    customers, terminals = tables.customer, tables.terminal
    # Keys in the middle of the tables, found at the full depth of a search.
    customer_key, terminal_key = (int(table.keys[len(table.keys) // 3]) for table in (customers, terminals))
    customer, terminal = customers.find(customer_key), terminals.find(terminal_key)
    assert customer is not None  # noqa: S101  taken from the table
    assert terminal is not None  # noqa: S101
    builder, seconds = RowBuilder(), epoch_seconds(transaction.tx_datetime)
    row = builder.build(seconds, 412.0, customer, terminal)
    contributions = row.copy()
    explain = loaded.bundle.explainer.explain_into
    margin = explain(row, contributions)
    scorer, telemetry = Scorer(loaded, hasher), Telemetry()
    answer, _ = scorer.answer(transaction)
    judge = Judge(telemetry, None)
    judge.scorer = scorer
    with Path("/dev/null").open("wb") as nowhere:
        log = DecisionLog(nowhere.fileno())
        timed: list[tuple[str, Callable[[], object]]] = [
            ("parse the body as strict JSON", lambda: parse_json(body)),
            ("validate the fields", lambda: Transaction.model_validate(document)),
            ("hash both ids", lambda: (hasher.customer("7"), hasher.terminal("1042"))),
            ("look both up", lambda: (customers.find(customer_key), terminals.find(terminal_key))),
            (f"build {len(FEATURE_NAMES)} features", lambda: builder.build(seconds, 412.0, customer, terminal)),
            ("margin and exact SHAP values", lambda: explain(row, contributions)),
            ("probability", lambda: probability(margin)),
            ("reasons in words", lambda: explain_in_words(row.tolist(), contributions)),
            ("count the decision", lambda: telemetry.count_answer(answer)),
            ("write the answer as JSON", lambda: to_json(answer, inf_nan_mode="null")),
            ("note it for the decision log", lambda: log.add(answer, customer_key=1, terminal_key=2)),
            ("the whole, without HTTP and log", lambda: judge.predict(body)),
        ]
        found = [Step(name, measure(call)) for name, call in timed]
        log.close()
    return found


def render(found: list[Step]) -> str:
    """Return the steps as a table, biggest first, the whole at the end."""
    *parts, whole = found
    ordered = sorted(parts, key=lambda step: -step.microseconds)
    lines = [f"  {'step':<34}{'us':>8}{'share':>8}"]
    lines += [
        f"  {step.name:<34}{step.microseconds:>8.1f}{step.microseconds / whole.microseconds:>8.0%}" for step in ordered
    ]
    return "\n".join((*lines, f"  {whole.name:<34}{whole.microseconds:>8.1f}"))


def main() -> int:
    """Print the table for the bank of a work folder."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.profile", description=__doc__)
    parser.add_argument("--work-folder", type=Path, default=Path("var/demo"), help="default: var/demo")
    folder = parser.parse_args().work_folder
    if not (folder / "id.key").exists():
        print(f"{folder} holds no trained bank: run `make run ONCE=1` first", file=sys.stderr)
        return 1
    settings = load_settings(work_folder=folder, id_key_file=folder / "id.key")
    loaded = load_champion(settings)
    explainer = loaded.bundle.explainer
    print(f"model: {explainer.n_trees} trees, {explainer.n_leaves} leaves; explained by: {explainer.engine}")
    print(render(steps(loaded, settings.id_hasher())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
