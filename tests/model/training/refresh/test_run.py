"""The whole of `antifraud refresh`, against the registry of the small bank or a copy of it."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antifraud.cli import main
from antifraud.verbs.refresh import _hour
from model.bundle import read_snapshot
from model.registry import CURRENT, STATISTICS_NAME, embedded_uri, open_publisher, open_reader
from model.settings import Settings, load_settings
from model.training.refresh import Verdict, refresh
from model.training.refresh.run import FOLDER, exclusive
from model.training.train import TrainingOutcome
from tests.conftest import ID_KEY
from tests.model.training.histories import payment, write_csv, write_parquet

DAYS = 4  # of the small bank's history, for what need not be all of it


@pytest.fixture
def home(settings: Settings, outcome: TrainingOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder with a copy of the small bank's registry: its first champion and statistics."""
    assert outcome.is_champion
    for name in [name for name in os.environ if name.upper().startswith("FRAUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FRAUD_ID_KEY", ID_KEY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    shutil.copyfile(settings.work_folder / "mlflow.db", tmp_path / "work" / "mlflow.db")
    return tmp_path / "work"


@pytest.fixture
def say(home: Path, history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Refresh on the last days of the small bank and return what is printed."""
    for path in sorted(history.glob("*.parquet"))[-DAYS:]:
        (tmp_path / "history").mkdir(exist_ok=True)
        shutil.copy2(path, tmp_path / "history")

    def run(*options: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["refresh", "--history", "history", "--work-folder", str(home), *options]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return run


def test_the_statistics_of_a_training_run_are_found_again_to_the_last_bit(
    settings: Settings, outcome: TrainingOutcome, history: Path, home: Path
) -> None:
    mine = settings.model_copy(update={"work_folder": home})
    again = refresh(history, settings=mine, tracking_uri=embedded_uri(home), progress=False)
    assert (again.verdict, again.statistics.version) == (Verdict.UNCHANGED, outcome.statistics.version)
    assert again.cleaning == outcome.cleaning


def test_a_refresh_publishes_what_a_pod_can_load(home: Path, say: Callable[..., str], tmp_path: Path) -> None:
    first = say()
    write_parquet(Path("history/late.parquet"), [payment(10**9, tx_datetime=datetime(2026, 2, 9, 23, 59))])
    write_csv(Path("reports.csv"), "transaction_id,report_datetime\n1000000000,2026-02-10T00:30:00Z\n")
    told = say("--reports", "reports.csv", "--as-of", "2026-02-10T01:59:59Z")
    reader = open_reader(embedded_uri(home))
    version = reader.resolve(STATISTICS_NAME, CURRENT)
    reader.download(version, tmp_path / "pod")
    hasher = load_settings(id_key=ID_KEY).id_hasher()
    snapshot = read_snapshot(
        tmp_path / "pod", id_key_fingerprint=hasher.fingerprint, manifest_sha256=version.tags["manifest_sha256"]
    )
    sums = snapshot.customer.lookup(snapshot.customer.keys[snapshot.customer.keys == hasher.customer("7")])
    assert snapshot.as_of == version.tags["as_of"] == "2026-02-10T01:00:00Z"
    assert sums.reshape(3, 4)[0, 3] == 1  # the report
    assert "as of 2026-02-10T00:00:00Z" in first
    assert f"PUBLISHED: {version} is current, as of {snapshot.as_of}" in told
    assert "1 lines of reports, 0 of them unusable" in told
    assert open_publisher(embedded_uri(home)).moves(STATISTICS_NAME)[0].who.startswith("antifraud refresh, ")
    assert json.loads((home / FOLDER / "last_run.json").read_text())["statistics_version"] == version.version


def test_nothing_new_is_published_where_nothing_is_new(say: Callable[..., str], home: Path) -> None:
    say()
    before = open_publisher(embedded_uri(home)).versions(STATISTICS_NAME)
    assert "UNCHANGED: nothing new; fraud-statistics version" in say()
    assert open_publisher(embedded_uri(home)).versions(STATISTICS_NAME) == before


def test_a_second_refresh_at_once_says_busy(say: Callable[..., str], home: Path) -> None:
    with exclusive(home / FOLDER):
        assert "another refresh is at work" in say(code=11)
    with (home / FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it was let go of


def test_failures_end_with_one_line(say: Callable[..., str]) -> None:
    assert "never go back in time" in say("--as-of", "2026-01-05T00:00:00Z", code=1)
    assert "no such file or folder" in say("--reports", "nowhere", code=1)


@pytest.mark.parametrize("words", ["yesterday", "2026-02-10T01:00:00", ""])
def test_an_hour_that_is_none_is_wrong_usage(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["refresh", "--history", "h", "--as-of", words])
    assert ended.value.code == 2
    assert "with its zone" in capsys.readouterr().err


def test_the_hour_is_the_last_full_one() -> None:
    assert _hour("data") is None
    assert _hour("2026-02-10T01:59:59Z") == _hour("2026-02-10T02:00:00+01:00") == 491_857
    now = _hour("now")
    assert now is not None
    assert 0 <= datetime.now(UTC).timestamp() / 3600 - now < 1.1


def test_what_a_killed_run_left_behind_goes_first(tmp_path: Path) -> None:
    (tmp_path / "refresh" / "scratch").mkdir(parents=True)
    (tmp_path / "refresh" / "scratch" / "scratch.duckdb").write_text("raw ids")
    with exclusive(tmp_path / "refresh") as scratch:
        assert list(scratch.iterdir()) == []
    assert not scratch.exists()


# --- from a prepared history ------------------------------------------------------------------------------------------


@pytest.fixture
def prepare(say: Callable[..., str], home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Prepare what `say` refreshes from."""

    def run(*options: str) -> None:
        arguments = ["prepare", "--history", "history", "--out", "prepared", "--work-folder", str(home)]
        assert main([*arguments, *options]) == 0

    return run


def test_a_prepared_history_publishes_what_the_raw_one_would(
    say: Callable[..., str], prepare: Callable[..., None], home: Path
) -> None:
    prepare()
    told = say("--history", "prepared")
    assert told.startswith("6 files of a prepared history\n")
    assert "transactions kept" in told
    assert "PUBLISHED: fraud-statistics version 2 is current, as of 2026-02-10T00:00:00Z" in told
    assert not (home / FOLDER / "state.duckdb").exists()
    assert json.loads((home / FOLDER / "last_run.json").read_text())["from_prepared"]
    for history in ("prepared", "history", "prepared", "history"):
        assert "UNCHANGED: nothing new; fraud-statistics version 2" in say("--history", history)


def test_a_state_of_the_raw_history_goes_on_after_a_refresh_from_a_prepared_one(
    say: Callable[..., str], prepare: Callable[..., None], home: Path
) -> None:
    say()
    write_parquet(Path("history/late.parquet"), [payment(10**9, tx_datetime=datetime(2026, 2, 10, 3, 30))])
    prepare()
    assert "as of 2026-02-10T04:00:00Z" in say("--history", "prepared")
    before = open_publisher(embedded_uri(home)).versions(STATISTICS_NAME)
    told = say()
    assert told.startswith("1 files new or changed")
    assert "UNCHANGED" in told
    assert open_publisher(embedded_uri(home)).versions(STATISTICS_NAME) == before
    write_parquet(Path("history/later.parquet"), [payment(10**9 + 1, tx_datetime=datetime(2026, 2, 10, 4, 30))])
    assert "PUBLISHED" in say()


def test_a_prepared_history_that_does_not_suffice_is_one_line(
    say: Callable[..., str], prepare: Callable[..., None]
) -> None:
    prepare()
    said = say("--history", "prepared", "--as-of", "now", code=1)
    assert said.startswith("antifraud: history prepared: it was prepared up to 2026-02-10T00:00:00Z, and statistics as")
    assert said.count("\n") == 1
    said = say("--history", "prepared", "--reports", "late.csv", code=1)
    assert said == (
        "antifraud: history prepared: it was prepared with the reports of its own rows only, and late.csv is asked for"
        " now; run antifraud prepare again\n"
    )
