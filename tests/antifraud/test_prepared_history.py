"""Verbs that need a raw history, given a prepared one: one line that says so, and nothing is made."""

from pathlib import Path

import pytest

from antifraud.cli import main
from tests.conftest import ID_KEY
from tests.model.training.histories import payment, write_parquet


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAUD_ID_KEY", ID_KEY)
    write_parquet(Path("raw/h.parquet"), [payment(number) for number in range(1, 40)])
    assert main(["prepare", "--history", "raw", "--out", "prepared"]) == 0
    return Path("prepared")


@pytest.mark.parametrize(
    "command",
    [
        ["prepare", "--out", "out"],
        ["book", "--report", "out"],
        ["run", "--once", "--port", "0", "--work-folder", "out"],
    ],
)
def test_a_verb_that_needs_the_raw_history_says_so(
    command: list[str], prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([*command, "--history", str(prepared)]) == 1
    assert capsys.readouterr().err == (
        "antifraud: history prepared: it is a prepared history, without the ids and files that are needed here; give"
        " the raw history that antifraud prepare made it from, raw\n"
    )
    out = Path("out")
    assert not out.exists() or not list(out.iterdir())
