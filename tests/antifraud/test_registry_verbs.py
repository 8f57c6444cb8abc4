import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from antifraud.cli import main
from model.registry import CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, Publisher, embedded_uri, open_publisher
from model.settings import Settings
from model.training.train import TrainingOutcome
from tests.model.registry.conftest import put, register

Say = Callable[..., str]


@pytest.fixture
def home(settings: Settings, outcome: TrainingOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small bank's registry, with its first champion and statistics."""
    assert outcome.is_champion
    for name in [name for name in os.environ if name.upper().startswith("FRAUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    shutil.copyfile(settings.work_folder / "mlflow.db", tmp_path / "work" / "mlflow.db")
    return tmp_path / "work"


@pytest.fixture
def publisher(home: Path) -> Publisher:
    return open_publisher(embedded_uri(home))


@pytest.fixture
def say(home: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a verb and return what it prints: its output if it is to end well, its one error line otherwise."""

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*arguments, "--work-folder", str(home)]) == code
        out, err = capsys.readouterr()
        assert (err if code == 0 else out) == ""
        return out if code == 0 else err

    return run


def second_champion(publisher: Publisher) -> str:
    (version,) = register(publisher, MODEL_NAME)
    put(publisher, MODEL_NAME, CHAMPION, version)
    return version


def test_a_rollback_says_in_one_line_what_it_did(publisher: Publisher, say: Say) -> None:
    bad = second_champion(publisher)
    line = say("rollback", "--why", "declines doubled", "--who", "ada")
    assert line == f"fraud-model: 'champion' is version 1 again, in place of version {bad}\n"
    move = publisher.moves(MODEL_NAME)[0]
    assert (move.who, move.why, move.after) == ("ada", "declines doubled", "1")


def test_statistics_are_rolled_back_alone_or_with_the_model(publisher: Publisher, say: Say) -> None:
    put(publisher, STATISTICS_NAME, CURRENT, *register(publisher, STATISTICS_NAME))
    assert "fraud-statistics: 'current' is version 1 again" in say("rollback", "--statistics", "--why", "w")
    second_champion(publisher)
    line = say("rollback", "--with-statistics", "--why", "w")
    assert line == (
        "fraud-model: 'champion' is version 1 again, in place of version 2; "
        "fraud-statistics: 'current' stays version 1\n"
    )


def test_a_rollback_to_nothing_is_an_error_of_one_line(say: Say) -> None:
    line = say("rollback", "--why", "w", code=1)
    assert line.startswith("antifraud: the record of 'fraud-model' knows no version")
    assert line.count("\n") == 1
    assert "no version 9" in say("rollback", "--why", "w", "--to", "9", code=1)
    assert "--why: give a reason" in say("rollback", "--why", "  ", code=1)


def test_moves_are_a_table_newest_first(publisher: Publisher, say: Say) -> None:
    second_champion(publisher)
    publisher.set_alias(MODEL_NAME, CHAMPION, "1")
    head, *rows = say("moves").splitlines()
    assert head.split() == ["when", "(UTC)", "alias", "from", "to", "who", "what", "became", "of", "it", "why"]
    assert rows[0].startswith("unknown")
    assert "moved outside this tool" in rows[0]
    assert rows[1].endswith("in order")
    assert rows[1][head.index("alias") :].split()[:4] == [CHAMPION, "1", "2", "test"]
    assert all(line == line.rstrip() for line in (head, *rows))


def test_moves_for_machines_are_json(publisher: Publisher, say: Say) -> None:
    second_champion(publisher)
    newest = json.loads(say("moves", "--json"))[0]
    assert {name: newest[name] for name in ("name", "alias", "from", "to", "who", "why", "state")} == {
        "name": MODEL_NAME,
        "alias": CHAMPION,
        "from": "1",
        "to": "2",
        "who": "test",
        "why": "in order",
        "state": "done",
    }
    assert datetime.fromisoformat(newest["when"]).tzinfo is not None


def test_where_nothing_moved_the_list_says_so(publisher: Publisher, say: Say) -> None:
    publisher._client.delete_registered_model(STATISTICS_NAME)
    assert say("moves", "--statistics") == "no alias of fraud-statistics was ever moved\n"


def test_a_deleted_version_is_confirmed_and_a_needed_one_refused(publisher: Publisher, say: Say) -> None:
    register(publisher, STATISTICS_NAME)
    line = say("delete-version", "2", "--statistics")
    assert line.startswith("deleted fraud-statistics version 2, its files stay: ")
    assert "the alias 'current' names it" in say("delete-version", "1", "--statistics", code=1)
    register(publisher, MODEL_NAME)
    assert "could not be asked" in say("delete-version", "2", "--service", "http://127.0.0.1:1", code=1)


@pytest.mark.parametrize("verb", [["moves"], ["rollback", "--why", "w"], ["delete-version", "1"]])
def test_a_registry_that_is_not_there_is_not_made(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, "--work-folder", str(tmp_path / "none")]) == 1
    assert "there is no registry at" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
