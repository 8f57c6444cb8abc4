import sys
from pathlib import Path

import pytest

from antifraud import cli
from model.training.addresses import open_address
from tests.conftest import ID_KEY
from tests.model.training.histories import payment, write_parquet


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    (tmp_path / "id.key").write_text(ID_KEY)
    history = write_parquet(tmp_path / "h.parquet", [payment(1), payment(2, customer_id=-999_999)])
    work = ["--work-folder", str(tmp_path / "work"), "--id-key-file", str(tmp_path / "id.key")]
    return ["prepare", "--history", str(history), "--out", str(tmp_path / "out"), *work]


def test_a_prepared_history_is_one_snapshot_with_its_account(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--as-of", "data"]) == 0
    said = capsys.readouterr()
    assert "customer id missing, -999999 or too long" in said.out
    assert f"PREPARED: {tmp_path / 'out'}" in said.out
    assert "writing terminal statistics ..." in said.err
    manifest = open_address(tmp_path / "out").manifest()
    assert manifest is not None
    assert manifest.about["rows"] == {
        "transactions": 1, "customer_tiles": 1, "terminal_tiles": 1, "customer_statistics": 1, "terminal_statistics": 1,
    }  # fmt: skip
    assert (manifest.about["engine"], manifest.about["as_of"]) == ("duckdb", "2026-03-02T01:00:00Z")


def test_without_an_hour_there_are_no_statistics(arguments: list[str], tmp_path: Path) -> None:
    assert cli.main(arguments) == 0
    manifest = open_address(tmp_path / "out").manifest()
    assert manifest is not None
    assert set(manifest.about["rows"]) == {"transactions", "customer_tiles", "terminal_tiles"}


def test_a_failed_run_leaves_what_was_there(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 0
    before = open_address(tmp_path / "out").manifest()
    write_parquet(tmp_path / "h.parquet", [payment(2, customer_id=-999_999)])
    assert cli.main(arguments) == 1
    assert "no usable transaction" in capsys.readouterr().err
    assert open_address(tmp_path / "out").manifest() == before


def test_without_spark_the_engine_says_how_to_get_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("model.training.spark.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    assert cli.main([*arguments, "--engine", "spark"]) == 1
    assert "pip install -r requirements/spark.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [["--spark", "master=local"], ["--spark", "spark.master"], ["--as-of", "2026-03-02"], ["--engine", "pandas"]],
)
def test_wrong_usage_is_exit_code_2(wrong: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*arguments, *wrong])
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err
