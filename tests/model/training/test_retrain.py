import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antifraud.cli import main
from antifraud.verbs import retrain as verb
from model.registry import (
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    LockedError,
    embedded_uri,
    open_reader,
)
from model.registry import lease as lease_module
from model.statistics import hour_text
from model.training import making
from model.training import retrain as retrain_module
from model.training import rival as rival_module
from model.training.fit import TrainingError
from model.training.gate import GateError, compare
from model.training.history import HistoryError
from model.training.periods import Periods
from model.training.promote import LOCK, Verdict
from model.training.retrain import STAGES
from tests.model.training.registries import ID_KEY, stages_begun
from tests.model.training.retrain_bank import GOOD, POOR, Bank, moved_registry

CHILDREN = Path(__file__).with_name("retrain_children.py")

# --- promoted, kept, overtaken ----------------------------------------------------------------------------------------


def test_the_first_model_becomes_champion_with_all_that_explains_it(bank: Bank, periods: Periods) -> None:
    assert bank.aliases() == {CHAMPION: "1", CHALLENGER: "1", CURRENT: "1"}
    assert bank.verified(MODEL_NAME, CHAMPION)
    assert bank.verified(STATISTICS_NAME, CURRENT)
    facts = json.loads((bank.folder / "checked" / f"{MODEL_NAME}-1" / "bundle.json").read_text())["facts"]
    assert facts["data"] == periods.fingerprint.as_dict()
    assert facts["data"]["rows"] == periods.cleaning.rows_kept
    assert facts["sampling"]["sampled"] is False
    assert facts["periods"]["test"] == periods.split.test.hours
    assert (facts["trees"], facts["leaves"], facts["flagged_budget"]) == (1, 2, 0.05)
    assert facts["code_version"]
    reference = json.loads((bank.folder / "checked" / f"{MODEL_NAME}-1" / "reference.json").read_text())
    assert {"score", "amount"} <= set(reference)


def test_a_better_challenger_is_promoted_on_evidence(bank: Bank) -> None:
    outcome = bank.retrain(**GOOD, code_version="1a2b3c")
    assert outcome.verdict == Verdict.PROMOTED
    assert outcome.champion is not None
    assert outcome.champion.version == "1"
    assert bank.aliases() == {CHAMPION: "2", CHALLENGER: "2", CURRENT: "2"}
    assert bank.verified(MODEL_NAME, CHAMPION)
    gate = json.loads((outcome.report / "gate" / "gate.json").read_text())
    assert gate["decision"]["promote"] is True
    assert len(outcome.reasons) == len(gate["decision"]["conditions"]) > 5
    run = bank.publisher()._client.get_run(outcome.model.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["gate"] == "passed"
    assert run.data.params["code_version"].endswith("+1a2b3c")
    assert len(run.data.params["data_digest"]) == 32
    logged = {Path(file.path).name for file in bank.publisher()._client.list_artifacts(outcome.model.run_id, "gate")}
    assert logged == {"gate.json", "gate.txt", "gate_differences.png", "flips.json", "flips.txt"}
    move = next(move for move in bank.publisher().moves(MODEL_NAME) if move.alias == CHAMPION)
    assert (move.before, move.after) == ("1", "2")
    assert "antifraud retrain" in move.who
    assert "Recall at a false positive rate" in move.why


def test_a_worse_challenger_is_registered_and_the_champion_stays(bank: Bank) -> None:
    bank.retrain(**GOOD)
    outcome = bank.retrain(**POOR)
    assert outcome.verdict == Verdict.KEPT
    assert bank.aliases() == {CHAMPION: "2", CHALLENGER: "3", CURRENT: "3"}
    assert bank.verified(MODEL_NAME, CHAMPION)
    assert any("does not leave out a loss" in reason for reason in outcome.reasons)
    verdict = json.loads((outcome.report / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["champion_before"], verdict["model_version"]) == ("kept", "2", "3")
    run = bank.publisher()._client.get_run(outcome.model.run_id)
    assert run.data.tags["gate"] == "not passed"


def test_a_champion_moved_meanwhile_stays_where_the_other_job_put_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.retrain(**GOOD)

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        bank.publisher().move_alias(MODEL_NAME, CHAMPION, "1", who="another job", why="a rollback")
        return compare(*arguments, **named)

    monkeypatch.setattr(rival_module, "compare", meanwhile)
    outcome = bank.retrain(**GOOD)
    assert outcome.verdict == Verdict.OVERTAKEN
    assert any("another job moved it meanwhile" in reason for reason in outcome.reasons)
    assert bank.aliases() == {CHAMPION: "1", CHALLENGER: "3", CURRENT: "3"}


# --- what a run must not do -------------------------------------------------------------------------------------------


def test_fresher_statistics_in_use_are_not_set_back_in_time(bank: Bank, periods: Periods) -> None:
    publisher = bank.publisher()
    present = bank.alias(STATISTICS_NAME, CURRENT)
    assert present is not None
    later = dict(present.tags) | {"as_of": hour_text(periods.snapshot.as_of_hour + 5)}
    (bank.folder / "any").mkdir()
    (bank.folder / "any" / "file").write_text("statistics of a later hour")
    with publisher.run("antifraud", "refresh", {}) as run:
        fresher = publisher.publish(STATISTICS_NAME, bank.folder / "any", run_id=run.run_id, tags=later)
    publisher.set_alias(STATISTICS_NAME, CURRENT, fresher.version)
    outcome = bank.retrain(**GOOD)
    assert outcome.verdict == Verdict.PROMOTED
    assert bank.aliases()[CURRENT] == fresher.version
    assert f"The statistics in use, {fresher}, are fresher than those of this run and stay." in outcome.reasons


def test_a_champion_of_another_id_key_is_refused_before_any_work(bank: Bank) -> None:
    before = bank.aliases()
    with pytest.raises(TrainingError, match=r"version 1, was trained with another id key: nothing was done"):
        bank.retrain(id_key="quite another key of some bytes")
    assert bank.aliases() == before
    assert len(bank.publisher().versions(MODEL_NAME)) == 1


def test_a_champion_that_cannot_be_read_is_refused_before_any_work(bank: Bank) -> None:
    champion = bank.alias(MODEL_NAME, CHAMPION)
    assert champion is not None
    (next((bank.folder / "artifacts").rglob("model.txt"))).write_text("tree")
    with pytest.raises(TrainingError, match=r"cannot be compared with \(.*model.txt.*nothing was done"):
        bank.retrain(**GOOD)
    assert bank.aliases()[CHALLENGER] == "1"


def test_only_what_the_champion_was_not_made_from_is_compared_on(
    bank: Bank, periods: Periods, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle = periods.split.test.start + 3 * 86_400
    read = rival_module.read_rival

    def seen(until: int) -> Callable[..., Any]:
        return lambda *a, **k: replace(read(*a, **k), seen_until=until)  # type: ignore[type-var]

    monkeypatch.setattr(retrain_module, "read_rival", seen(middle))
    outcome = bank.retrain(**GOOD)
    gate = json.loads((outcome.report / "gate" / "gate.json").read_text())
    assert gate["comparison"]["rows"] == (periods.test.transactions.tx_seconds >= middle).sum() < len(periods.test)
    monkeypatch.setattr(retrain_module, "read_rival", seen(periods.split.test.end))
    kept = bank.retrain(**GOOD)
    assert kept.verdict == Verdict.KEPT
    assert kept.reasons[0].startswith("There is too little to compare on: 0 frauds among 0 tested transactions")
    assert not (kept.report / "gate").exists()


def test_the_champion_says_until_when_it_has_seen(bank: Bank, periods: Periods, tmp_path: Path) -> None:
    rival = rival_module.read_rival(
        bank.publisher(),
        open_reader(bank.uri),
        folder=tmp_path / "rival",
        id_key_fingerprint=bank.settings().id_hasher().fingerprint,
    )
    assert rival is not None
    assert rival.seen_until == periods.split.calibration.end
    assert rival_module._seen_until({}) == 0


# --- exit codes -------------------------------------------------------------------------------------------------------


def code_of(bank: Bank, *arguments: str, patch: pytest.MonkeyPatch) -> int:
    patch.setenv("FRAUD_ID_KEY", ID_KEY)
    return main(["retrain", "--history", "unread", "--work-folder", str(bank.folder), "--threads", "1", *arguments])


def test_a_scheduler_sees_promoted_kept_and_failed(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ("--trees", "40", "--gate-resamples", "200", "--gate-fpr-tolerance", "0.05")
    assert code_of(bank, *good, patch=monkeypatch) == 0
    assert f"PROMOTED: {MODEL_NAME} version 2 is the champion now" in capsys.readouterr().out
    poor = ("--trees", "1", "--leaves", "2", "--gate-resamples", "200")
    assert code_of(bank, *poor, patch=monkeypatch) == 10
    said = capsys.readouterr().out
    assert f"KEPT: {MODEL_NAME} version 3 is registered; the champion, {MODEL_NAME} version 2, stays" in said
    assert "Losses, with the cut-off chosen beforehand" in said
    assert code_of(bank, *poor, "--kept-is-success", patch=monkeypatch) == 0

    def missing(*_: Any, **__: Any) -> None:
        raise HistoryError("history nowhere: there is no such file or folder")

    monkeypatch.setattr(making, "read_periods", missing)
    assert code_of(bank, "--kept-is-success", patch=monkeypatch) == 1
    assert "antifraud: history nowhere: there is no such file" in capsys.readouterr().err


def test_a_run_that_finds_another_at_work_says_so(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bank.aliases()
    with bank.publisher().lock(LOCK, "the run of this morning"):
        assert code_of(bank, patch=monkeypatch) == 11
        assert "is held by the run of this morning since" in capsys.readouterr().err
        assert code_of(bank, "--kept-is-success", patch=monkeypatch) == 0
        with pytest.raises(LockedError):
            bank.retrain()
    assert bank.aliases() == before


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_code_and_its_words(
    verdict: Verdict, bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = bank.retrain(**POOR, gate_resamples=200)
    monkeypatch.setattr(retrain_module, "retrain", lambda *_, **__: replace(outcome, verdict=verdict))
    codes = {"promoted": verb.PROMOTED, "kept": verb.KEPT, "overtaken": verb.BUSY, "waiting": verb.WAITING}
    expected = {"promoted": 0, "kept": 10, "overtaken": 11, "waiting": 0}[verdict]
    assert code_of(bank, patch=monkeypatch) == codes[verdict] == expected
    assert f"\n{verdict.upper()}: " in capsys.readouterr().out
    assert code_of(bank, "--kept-is-success", patch=monkeypatch) == 0


def test_wrong_usage_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["retrain", "--histori", "x"])
    assert ended.value.code == 2
    assert "--history" in capsys.readouterr().err


def test_rules_that_cannot_be_kept_are_told_before_any_work(bank: Bank) -> None:
    with pytest.raises(GateError, match="resamples must be at least"):
        bank.retrain(gate_alpha=0.001, gate_resamples=200)


def test_the_bar_is_full_when_the_last_of_the_stages_ends(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = stages_begun(monkeypatch)
    bank.retrain(**GOOD, gate_resamples=200)
    assert len(begun) + 2 == STAGES  # opening the history and looking up statistics were done before


# --- killed, twice at once, again -------------------------------------------------------------------------------------

KILLED_AT = {
    # what was killed: champion and statistics in use afterwards
    "before-create_model_version-1": ("1", "1"),
    "after-create_model_version-2": ("1", "1"),
    "after-set_registered_model_alias-1": ("1", "1"),
    "after-set_registered_model_alias-2": ("1", "2"),
    "before-set_registered_model_alias-3": ("1", "2"),
    "after-set_registered_model_alias-3": ("2", "2"),
}


@pytest.mark.slow
def test_killed_at_any_write_the_champion_is_unchanged_or_completely_new_and_of_two_runs_one_wins(
    bank: Bank, periods: Periods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every child works in a registry of its own, but for the last two, which share one."""
    (tmp_path / "periods.pickle").write_bytes(pickle.dumps(periods))
    good = ["--trees", "20", "--threads", "1", "--gate-resamples", "200", "--gate-fpr-tolerance", "0.05"]
    shared = tmp_path / "shared"
    tasks: dict[str, dict[str, Any]] = {name: {"kill": name, "arguments": good} for name in KILLED_AT}
    tasks["holds"] = {"hold": str(tmp_path / "comes-second" / "done"), "arguments": good}
    tasks["comes-second"] = {"after": str(tmp_path / "holds" / "inside"), "arguments": good}
    for name, task in tasks.items():
        place = shared if name in ("holds", "comes-second") else tmp_path / name / "work"
        if not place.exists():
            moved_registry(bank.folder, place)
        (tmp_path / name).mkdir(exist_ok=True)
        task["arguments"] = [*good, "--tracking-uri", embedded_uri(place)]
        (tmp_path / name / "task.json").write_text(json.dumps(task))
    environment = dict(os.environ) | {"FRAUD_ID_KEY": ID_KEY, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, CHILDREN, tmp_path], env=environment, check=True, capture_output=True, timeout=300)
    codes = json.loads((tmp_path / "codes.json").read_text())
    assert codes == dict.fromkeys(KILLED_AT, -9) | {"holds": 0, "comes-second": 11}
    for name, (champion, current) in KILLED_AT.items():
        after = Bank(tmp_path / name / "work")
        found = after.aliases()
        assert (found[CHAMPION], found[CURRENT]) == (champion, current), name
        assert after.verified(MODEL_NAME, CHAMPION)
        assert after.verified(STATISTICS_NAME, CURRENT)
    assert Bank(shared).aliases() == {CHAMPION: "2", CHALLENGER: "2", CURRENT: "2"}
    # Once the lock of the dead has run out, the next run does all of it again, and leaves nothing of theirs behind.
    monkeypatch.setattr(lease_module, "time", Later())
    again = Bank(tmp_path / "before-set_registered_model_alias-3" / "work")
    assert list(again.folder.glob("scratch-*"))
    assert again.retrain(**GOOD).verdict == Verdict.PROMOTED
    assert not list(again.folder.glob("scratch-*"))
    assert again.aliases()[CHAMPION] == again.publisher().versions(MODEL_NAME)[0].version == "3"


class Later:
    """The clock of a machine some minutes later; waiting for them would take as long."""

    monotonic, sleep = staticmethod(time.monotonic), staticmethod(time.sleep)

    def time(self) -> float:
        return time.time() + 1000
