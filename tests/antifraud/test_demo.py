"""The first five minutes, as a newcomer has them: a terminal, one command, Ctrl-C."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from antifraud.demo import Example, rendered

PATIENCE = 240  # seconds; only what hangs takes as long
CUTOFFS = {"review": 0.05, "decline": 0.5}
PAYMENT = {
    "transaction_id": 1,
    "tx_datetime": "2026-04-01T09:05:00Z",
    "customer_id": 662,
    "terminal_id": "3827",
    "tx_amount": 1234.5,
}


def answer(*contributions: float, decision: str = "approve", score: float = 0.0009) -> dict[str, Any]:
    reasons = [{"text": f"Reason {place}", "contribution": share} for place, share in enumerate(contributions)]
    return {"decision": decision, "score": score, "base_value": -6.451, "reasons": reasons}


# --- what a person reads ----------------------------------------------------------------------------------------------


def test_a_payment_and_its_decision_read_well_on_plain_paper() -> None:
    shown = rendered(Example("An ordinary payment", PAYMENT), answer(-2, 1, -0.5, 0.25, 0.1, -0.03, -0.04), CUTOFFS)
    assert shown.splitlines() == [
        "",
        "An ordinary payment: 1,234.50 on Wednesday 1 April 2026, 09:05 UTC",
        "  customer 662, terminal 3827",
        "",
        "  APPROVE   probability of fraud 0.09%   (review from 5.00%, decline from 50.00%)",
        "",
        "   -2.00  ████████████  Reason 0",
        "   +1.00  ██████        Reason 1",
        "   -0.50  ███           Reason 2",
        "   +0.25  ██            Reason 3",
        "   +0.10  █             Reason 4",
        "   -0.07                2 weaker reasons together; -6.45 before anything is known",
    ]


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = rendered(Example("A", PAYMENT), answer(2, -1, 0, 0, 0, 0, decision="decline", score=0.97), CUTOFFS)
    assert "\033[1m\033[31mDECLINE\033[0m" in shown
    assert "\033[31m████████████\033[0m  Reason 0" in shown
    assert "\033[32m██████      \033[0m  Reason 1" in shown
    assert shown.count("\033[0m") == 7


def test_a_payment_of_which_nothing_speaks_either_way_is_shown_too() -> None:
    shown = rendered(Example("A", PAYMENT), answer(0, 0, 0, 0, 0, 0), CUTOFFS)
    assert "   +0.00                Reason 0" in shown


# --- the whole of it --------------------------------------------------------------------------------------------------


def start(folder: Path, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
    """Start `antifraud run` in a folder, at the head of a process group of its own."""
    rest = {name: value for name, value in os.environ.items() if not name.upper().startswith("FRAUD_")}
    own = {f"FRAUD_{name.upper()}": value for name, value in ({"trees": "20"} | settings).items()}
    proxies = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}  # must not be asked
    return subprocess.Popen(
        [sys.executable, "-m", "antifraud", "run", *arguments],
        cwd=folder,
        env=rest | own | proxies | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for the end; nobody of the process group may outlive it."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        alive = _group_lives(process.pid)
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
    assert not alive
    assert "Traceback" not in out + err
    return out, err


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"ended before saying {text!r}: {seen}")


@pytest.fixture(scope="module")
def small_history(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bank's history in a place of its own, so that nobody else's files change beside it."""
    return Path(shutil.copytree(history, tmp_path_factory.mktemp("demo") / "bank"))


@pytest.fixture(scope="module")
def first_run(small_history: Path) -> tuple[Path, str]:
    """The folder and the words of a first run on the small bank's history."""
    folder = small_history.parent
    process = start(folder, "--history", "bank", "--once", "--port", "0")
    out, err = finished(process)
    assert process.returncode == 0, out + err
    return folder, out


def work_of(folder: Path) -> Path:
    (work,) = (folder / "var").iterdir()
    return work


@pytest.mark.slow
def test_a_first_run_trains_and_shows_two_payments(first_run: tuple[Path, str]) -> None:
    _, out = first_run
    for part in ("Training on ", "rows read", "recall", "fraud-model version 1 appointed champion"):
        assert part in out
    for title in ("An ordinary payment: ", "A payment labelled fraud in the history: "):
        assert f"\n{title}" in out
    judged = r"^  (APPROVE|REVIEW|DECLINE)   probability of fraud \d+\.\d\d%   \(review from "
    assert len(re.findall(judged, out, re.MULTILINE)) == 2
    assert out.count(" weaker reasons together; ") == 2
    assert "nan" not in out
    assert "\033" not in out


@pytest.mark.slow
def test_the_line_to_try_next_works(first_run: tuple[Path, str]) -> None:
    _, out = first_run
    (body,) = re.findall(
        r"^curl -s http://127\.0\.0\.1:\d+/predict -H 'content-type: application/json' \\\n  -d '(.*)'$",
        out,
        re.MULTILINE,
    )
    from service.schemas import Transaction

    Transaction.model_validate_json(body)


@pytest.mark.slow
def test_the_key_it_makes_is_for_its_owner_only(first_run: tuple[Path, str]) -> None:
    path = work_of(first_run[0]) / "id.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
    assert path.read_text().strip() not in first_run[1]


@pytest.mark.slow
def test_a_second_run_uses_what_is_there_and_ctrl_c_ends_it(first_run: tuple[Path, str]) -> None:
    folder, first = first_run
    # A summary beside the history, written anew by each simulation, is no new history.
    (folder / "bank" / "_simulation.json").write_text(json.dumps({"again": True}))
    process = start(folder, "--history", "bank", "--port", "0")
    out = read_until(process, "Serving until Ctrl-C.")
    address = re.findall(r"http://127\.0\.0\.1:\d+", out)[0]
    assert httpx.get(f"{address}/ready", trust_env=False).status_code == 200
    os.killpg(process.pid, signal.SIGINT)
    rest, err = finished(process)
    assert (process.returncode, rest.split(), err) == (0, ["Stopped."], "")
    assert "Using the champion trained before" in out
    assert "Training on" not in out
    port = re.compile(r":\d+/")
    assert port.sub(":0/", out).partition("An ordinary")[2].partition("Serving")[0].strip() == (
        port.sub(":0/", first).partition("An ordinary")[2].strip()
    )


@pytest.mark.slow
def test_ctrl_c_while_it_prepares_ends_it_without_a_trace(small_history: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "--history", str(small_history), "--port", "0")
    read_until(process, "Training on ")
    os.killpg(process.pid, signal.SIGINT)
    _, err = finished(process)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"


@pytest.mark.slow
def test_being_terminated_leaves_no_service_behind(first_run: tuple[Path, str]) -> None:
    process = start(first_run[0], "--history", "bank", "--port", "0")
    read_until(process, "Serving until Ctrl-C.")
    process.terminate()  # this process alone, not its group
    finished(process)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_service_that_ends_by_itself_is_said_so(first_run: tuple[Path, str]) -> None:
    process = start(first_run[0], "--history", "bank", "--port", "0")
    read_until(process, "Serving until Ctrl-C.")
    (child,) = _children(process.pid)
    os.kill(child, signal.SIGKILL)
    _, err = finished(process)
    assert (process.returncode, err) == (1, "antifraud: the service ended by itself, with exit code -9\n")


def _children(parent: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def test_a_busy_port_is_one_line_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        number = busy.getsockname()[1]
        process = start(tmp_path, "--port", str(number))
        out, err = finished(process)
    assert (process.returncode, out) == (1, "")
    assert err == f"antifraud: port {number} is in use: stop what runs there, or set FRAUD_PORT\n"
    assert not list(tmp_path.iterdir())


def test_a_history_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    process = start(tmp_path, "--history", "nowhere", "--port", "0")
    _, err = finished(process)
    assert process.returncode == 1
    assert err == "antifraud: history nowhere: there is no such file or folder\n"
    assert not list(tmp_path.iterdir())


def test_the_numbers_of_an_answer_are_not_changed_by_showing_it() -> None:
    found: Mapping[str, Any] = answer(1, 2)
    before = json.dumps(found)
    rendered(Example("A", PAYMENT), dict(found), CUTOFFS)
    assert json.dumps(found) == before
