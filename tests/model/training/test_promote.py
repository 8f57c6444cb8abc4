from pathlib import Path

import pytest

from antifraud.cli import main
from model.registry import (
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasNotFoundError,
    RefusedError,
    Version,
)
from model.training.promote import LOCK, Verdict, promote, read_judgement
from model.training.retrain import retrain
from tests.model.training.retrain_bank import GOOD, POOR, Bank

BEFORE = {CHAMPION: "1", CHALLENGER: "1", CURRENT: "1"}


def trained(bank: Bank, **given: object) -> Verdict:
    """Train and judge, and leave the champion alone."""
    settings = bank.settings(**given)
    outcome = retrain("unread", settings=settings, tracking_uri=bank.uri, may_promote=False, progress=False)
    return outcome.verdict


def verb(bank: Bank, name: str) -> int:
    return main([name, "--work-folder", str(bank.folder)])


def another_model(bank: Bank) -> Version:
    """Register a model that no gate has seen."""
    publisher, folder = bank.publisher(), bank.folder / "any"
    folder.mkdir()
    (folder / "file").write_text("a model")
    with publisher.run("antifraud", "by hand", {}) as run:
        return publisher.publish(MODEL_NAME, folder, run_id=run.run_id, tags={})


def test_the_three_steps_end_where_one_retraining_ends(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(bank, **GOOD) == Verdict.WAITING
    # The new statistics fit the old champion, so they are used at once; the champion stays.
    assert bank.aliases() == BEFORE | {CHALLENGER: "2", CURRENT: "2"}
    assert verb(bank, "gate") == 0
    said = capsys.readouterr().out
    assert f"PASSED: {MODEL_NAME} version 2, held against champion version 1" in said
    assert "Recall at a false positive rate" in said
    assert bank.aliases()[CHAMPION] == "1"
    assert verb(bank, "promote") == 0
    assert f"PROMOTED: {MODEL_NAME} version 2 is the champion now" in capsys.readouterr().out
    assert bank.aliases() == {CHAMPION: "2", CHALLENGER: "2", CURRENT: "2"}
    move = next(move for move in bank.publisher().moves(MODEL_NAME) if move.alias == CHAMPION)
    assert (move.before, move.after) == ("1", "2")
    assert "antifraud promote" in move.who
    assert "Recall at a false positive rate" in move.why
    assert bank.verified(MODEL_NAME, CHAMPION)
    assert bank.verified(STATISTICS_NAME, CURRENT)


def test_promoting_again_changes_nothing(bank: Bank) -> None:
    trained(bank, **GOOD)
    assert promote(bank.uri).verdict == Verdict.PROMOTED
    moves = bank.publisher().moves(MODEL_NAME)
    assert promote(bank.uri).verdict == Verdict.PROMOTED
    assert bank.publisher().moves(MODEL_NAME) == moves


def test_what_did_not_pass_is_not_promoted(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    bank.retrain(**GOOD)
    trained(bank, **POOR)
    assert verb(bank, "gate") == 10
    assert "NOT PASSED: fraud-model version 3, held against champion version 2" in capsys.readouterr().out
    assert verb(bank, "promote") == 10
    assert "KEPT: fraud-model version 3 did not pass the gate; the champion stays" in capsys.readouterr().out
    assert bank.aliases() == {CHAMPION: "2", CHALLENGER: "3", CURRENT: "3"}


def test_a_champion_that_another_job_appointed_meanwhile_stays(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    trained(bank, **GOOD)
    other = another_model(bank)
    bank.publisher().move_alias(MODEL_NAME, CHAMPION, other.version, who="another job", why="appointed")
    assert verb(bank, "promote") == 11
    said = capsys.readouterr().out
    assert "another job moved it meanwhile" in said
    assert "OVERTAKEN: fraud-model version 2 stays the challenger" in said
    assert bank.aliases()[CHAMPION] == other.version


def test_a_rollback_is_not_undone_by_promoting_again(bank: Bank) -> None:
    trained(bank, **GOOD)
    promote(bank.uri)
    bank.publisher().rollback(MODEL_NAME, CHAMPION, who="ada", why="declines doubled")
    with pytest.raises(RefusedError, match="was the champion before and was taken back"):
        promote(bank.uri)
    assert bank.aliases()[CHAMPION] == "1"


def test_the_first_model_of_all_is_promoted(tmp_path: Path, bank: Bank) -> None:
    empty = Bank(tmp_path / "new")
    assert trained(empty, **POOR) == Verdict.WAITING
    assert empty.aliases() == {CHAMPION: None, CHALLENGER: "1", CURRENT: None}
    assert verb(empty, "gate") == 0
    assert verb(empty, "promote") == 0
    assert empty.aliases() == BEFORE


def test_nothing_is_promoted_while_a_retraining_is_at_work(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    trained(bank, **GOOD)
    with bank.publisher().lock(LOCK, "the run of this morning"):
        assert verb(bank, "promote") == 11
    assert "is held by the run of this morning since" in capsys.readouterr().err
    assert bank.aliases()[CHAMPION] == "1"


def test_a_challenger_that_was_not_judged_is_refused(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    half = another_model(bank)
    bank.publisher().set_alias(MODEL_NAME, CHALLENGER, half.version)
    for name in ("gate", "promote"):
        assert verb(bank, name) == 1
        assert capsys.readouterr().err == (
            f"antifraud: the challenger, {half}, was not judged by the gate: run `antifraud retrain` again\n"
        )
    assert bank.aliases()[CHAMPION] == "1"


def test_statistics_that_are_gone_are_refused_in_one_sentence(bank: Bank) -> None:
    trained(bank, **GOOD)
    judged = read_judgement(bank.publisher())
    publisher = bank.publisher()
    publisher.set_alias(STATISTICS_NAME, CURRENT, "1")
    publisher._client.delete_model_version(STATISTICS_NAME, judged.statistics.version)
    with pytest.raises(RefusedError, match="statistics made with fraud-model version 2 are no longer there"):
        promote(bank.uri)


def test_without_a_challenger_it_says_what_to_do(bank: Bank) -> None:
    bank.publisher()._client.delete_registered_model_alias(MODEL_NAME, CHALLENGER)
    with pytest.raises(AliasNotFoundError, match="carries the alias 'challenger'"):
        read_judgement(bank.publisher())
