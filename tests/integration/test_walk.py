"""The life of a model from first training to rollback: the operators' commands, MLflow on PostgreSQL and S3, a service.

Neither the commands nor the service have keys of S3 or of the database. The service is started once, with the first
champion, and follows everything else without a restart.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest

from model.registry import CHALLENGER, CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, open_publisher
from model.settings import load_settings
from tests.conftest import ID_KEY
from tests.integration.mlflow_server import platform
from tests.integration.test_under_load import Instance
from tests.service.shelf import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.integration]

POOR = ("--trees", "1", "--leaves", "2")
GOOD = ("--trees", "40", "--leaves", "15")
# A week of a small bank: no false positive rate is known to half a point.
GATE = ("--gate-fpr-tolerance", "0.05", "--gate-resamples", "200")
LAST_DAYS = 2  # of the history, that come after the first training


class Told(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    text: str


class Town:
    """A bank's history folder, its registry server and the commands that work on both."""

    def __init__(self, folder: Path, history: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.history, self.reports, self.later = folder / "history", folder / "reports", folder / "later"
        shutil.copytree(history, self.history)
        self.later.mkdir()
        self.reports.mkdir()
        for day in sorted(self.history.glob("*.parquet"))[-LAST_DAYS:]:
            day.rename(self.later / day.name)

    def run(self, *command: str) -> Told:
        """Run a verb as an operator would."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        variables |= {
            "FRAUD_ID_KEY": ID_KEY,
            "FRAUD_WORK_FOLDER": str(self.folder / "jobs"),
            "FRAUD_TRACKING_URI": self.address,
            "FRAUD_REPORTS": str(self.reports),
            "FRAUD_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        done = subprocess.run(
            [sys.executable, "-m", "antifraud", *command],
            env=variables,
            cwd=self.folder,
            capture_output=True,
            check=False,
            text=True,
            timeout=300,
        )
        return Told(done.returncode, done.stdout + done.stderr)

    def train(self, verb: str, *options: str) -> Told:
        return self.run(verb, "--history", str(self.history), *options)

    def let_a_day_pass(self) -> None:
        """Let the next day's payments come in."""
        day = min(self.later.glob("*.parquet"))
        day.rename(self.history / day.name)

    def aliases(self) -> dict[str, str | None]:
        publisher = open_publisher(self.address)
        names = {CHAMPION: MODEL_NAME, CHALLENGER: MODEL_NAME, CURRENT: STATISTICS_NAME}
        found = {alias: publisher.find_alias(name, alias) for alias, name in names.items()}
        return {alias: one.version if one else None for alias, one in found.items()}


@pytest.fixture(scope="module")
def town(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    home = tmp_path_factory.mktemp("registry")
    with platform(home) as found:
        yield Town(tmp_path_factory.mktemp("town"), history, found.mlflow.url)


def version(instance: Instance) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{instance.port}/version", timeout=60, trust_env=False).json()
    return found


def answer(instance: Instance, payment: dict[str, Any]) -> dict[str, Any]:
    response = httpx.post(f"http://127.0.0.1:{instance.port}/predict", json=payment, timeout=60, trust_env=False)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def wait_for(instance: Instance, *, model: str, statistics: str) -> None:
    def is_there() -> bool:
        found = version(instance)
        return bool((found["model_version"], found["statistics_version"]) == (model, statistics))

    wait_until(is_there)


def reported(answers: dict[str, Any]) -> float:
    """Return how many frauds an answer says were reported at the terminal in 30 days."""
    reason = next(one for one in answers["reasons"] if one["code"].endswith("REPORTED_AT_TERMINAL"))
    return float(reason["features"]["terminal_reports_30d"])


def a_payment_of(town: Town) -> tuple[dict[str, Any], int]:
    """Return a payment to come at the terminal of one just made, and the id of that one."""
    rows = pq.read_table(max(town.history.glob("*.parquet"))).to_pylist()
    last = next(row for row in reversed(rows) if row["tx_fraud"] == 0 and row["tx_datetime"] and row["terminal_id"] > 0)
    moment: datetime = last["tx_datetime"]
    return {
        "transaction_id": "to come",
        "tx_datetime": f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "customer_id": last["customer_id"],
        "terminal_id": last["terminal_id"],
        "tx_amount": last["tx_amount"],
    }, int(last["transaction_id"])


def test_train_refresh_promote_refuse_and_roll_back_while_one_service_follows(town: Town, tmp_path: Path) -> None:
    first = town.train("train", *POOR)
    assert first.code == 0, first.text
    assert town.aliases() == {CHAMPION: "1", CHALLENGER: None, CURRENT: "1"}
    settings = load_settings(id_key=ID_KEY, work_folder=tmp_path / "pod")
    service = Instance(settings, tmp_path / "service", tracking_uri=town.address, poll_seconds="0.5")
    try:
        started = version(service)
        assert (started["model_version"], started["statistics_version"]) == ("1", "1")

        # Fresh statistics: the payments of another day, and a report of one of them that came apart.
        town.let_a_day_pass()
        payment, known_fraud = a_payment_of(town)
        before = reported(answer(service, payment))
        moment = datetime.fromisoformat(payment["tx_datetime"])
        line = f"transaction_id,report_datetime\n{known_fraud},{moment:%Y-%m-%dT%H:%M:%SZ}\n"
        (town.reports / "today.csv").write_text(line)
        as_of = f"{moment + timedelta(hours=2):%Y-%m-%dT%H:00:00Z}"
        refreshed = town.run("refresh", "--history", str(town.history), "--as-of", as_of)
        assert refreshed.code == 0, refreshed.text
        assert "1 lines of reports, 0 of them unusable" in refreshed.text
        wait_for(service, model="1", statistics="2")
        found = answer(service, payment)
        assert found["statistics_as_of"] == as_of
        assert reported(found) == before + 1

        # A better model is promoted, with statistics that know the same report.
        town.let_a_day_pass()
        promoted = town.train("retrain", *GOOD, *GATE)
        assert promoted.code == 0, promoted.text
        assert "PROMOTED: fraud-model version 2 is the champion now" in promoted.text
        assert re.search(r"lines of reports read +1\n", promoted.text)
        wait_for(service, model="2", statistics="3")
        assert reported(answer(service, payment)) >= before + 1

        # A worse one is not, and says why.
        kept = town.train("retrain", *POOR, *GATE)
        assert kept.code == 10, kept.text
        assert "KEPT: fraud-model version 3 is registered; the champion, fraud-model version 2, stays" in kept.text
        assert town.aliases() == {CHAMPION: "2", CHALLENGER: "3", CURRENT: "4"}
        wait_for(service, model="2", statistics="4")

        # Back to the model before, and forward again.
        back = town.run("rollback", "--why", "more complaints since")
        assert back.code == 0, back.text
        wait_for(service, model="1", statistics="4")
        moves = town.run("moves")
        assert moves.code == 0
        assert "more complaints since" in moves.text
        assert service.process.poll() is None
        decided = [json.loads(one) for one in service.log.read_text().splitlines()]
        assert [one["model_version"] for one in decided] == ["1", "1", "2"]
        assert service.end() == 0
    finally:
        service.process.kill()
        service.process.communicate()
