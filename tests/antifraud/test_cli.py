import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from antifraud.cli import _VERBS, main
from model.registry import AliasNotFoundError

VERBS = tuple(_VERBS)
KEY = "Zq7-never-told-Zq7-never-told"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("FRAUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def wrong_usage(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the last line that wrong usage is answered with."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that a failure is answered with."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("antifraud: ")
    return line


def test_the_help_names_every_verb_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listed = capsys.readouterr().out
    for verb in VERBS:
        assert re.search(rf"^    {verb}\s", listed, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_ends_with_an_example_that_it_understands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.startswith(f"example: antifraud {verb}")
    monkeypatch.setattr("antifraud.cli._VERBS", _only_parsing(verb))
    words = shlex.split(last.removeprefix("example: ").partition(" >")[0])
    assert main(words[1:]) == 0


def _only_parsing(verb: str) -> dict[str, object]:
    add, _, text, example = _VERBS[verb]
    return {verb: (add, lambda _: 0, text, example)}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_verb_says_what_it_is_for(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    lines = capsys.readouterr().out.partition("options:")[2].partition("example:")[0].rstrip().splitlines()
    for place, line in enumerate(lines):
        if line.lstrip().startswith("-"):
            below = lines[place + 1] if place + 1 < len(lines) else ""
            assert "  " in line.strip() or below.startswith(" " * 20)


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("--port", "1"), ("serve", "--prot", "1"), ("train",)])
def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert "error: " in wrong_usage(capsys, *arguments)


def test_a_value_that_is_none_says_what_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be a day as YYYY-MM-DD" in wrong_usage(capsys, "simulate", "--out", "x", "--start", "yesterday")
    assert "invalid int value" in wrong_usage(capsys, "serve", "--port", "http")
    assert "invalid choice: 'huge'" in wrong_usage(capsys, "simulate", "--out", "x", "--profile", "huge")


def test_an_unknown_setting_is_one_line_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_TREE", KEY)
    for verb in (("serve",), ("run", "--once"), ("train", "--history", "h")):
        line = failed(capsys, *verb)
        assert line == "antifraud: FRAUD_TREE: there is no such setting; did you mean FRAUD_TREES?"


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_PORT", KEY)
    monkeypatch.setenv("FRAUD_SEED", KEY)
    assert main(["serve"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": input")[0] for line in lines] == ["antifraud: FRAUD_PORT", "antifraud: FRAUD_SEED"]
    assert KEY not in "".join(lines)


def test_an_option_is_held_to_the_rule_of_its_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert "FRAUD_PORT: input should be less than or equal to 65535" in failed(capsys, "serve", "--port", "65536")
    assert "FRAUD_TREES: " in failed(capsys, "train", "--history", "h", "--trees", "0")
    assert "FRAUD_LABEL_DELAY: " in failed(capsys, "train", "--history", "h", "--label-delay", "soon")


def test_a_missing_key_or_history_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "FRAUD_ID_KEY_FILE" in failed(capsys, "train", "--history", "nowhere")
    (tmp_path / "id.key").write_text(KEY)
    line = failed(capsys, "train", "--history", "nowhere", "--id-key-file", "id.key")
    assert line == "antifraud: history nowhere: there is no such file or folder"


def test_a_simulation_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "history")
    assert "days must be a whole number from 1" in failed(capsys, "simulate", "--out", out, "--days", "0")
    assert "dirt must be a number from 0 to 1" in failed(capsys, "simulate", "--out", out, "--dirt", "2")
    assert not Path(out).exists()


def test_a_simulation_says_what_it_wrote(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "history"
    few = ("--customers", "20", "--terminals", "30", "--days", "3", "--start", "2026-03-01", "--seed", "5")
    assert main(["simulate", "--out", str(out), *few]) == 0
    assert f"in {out}" in capsys.readouterr().out
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        f"transactions-2026-03-0{day}.parquet" for day in (1, 2, 3)
    ]


def test_the_catalogue_of_reasons_is_printed_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["reasons"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# Reason codes")
    file = tmp_path / "reasons.md"
    file.write_text(page)
    assert main(["reasons", "--check", str(file)]) == 0
    file.write_text(page + " ")
    assert main(["reasons", "--check", str(file)]) == 1
    assert "is not what the code says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two\nlines"), "antifraud: two\nantifraud: lines\n"),
        (OSError(28, "No space left on device"), "antifraud: [Errno 28] No space left on device\n"),
        (AliasNotFoundError("fraud-model", "champion"), "antifraud: no version of 'fraud-model' carries"),
        (ValueError(), "antifraud: ValueError\n"),
    ],
)
def test_an_expected_error_is_its_message_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def verb(_: object) -> int:
        raise error

    monkeypatch.setattr("antifraud.cli._VERBS", {"fail": (lambda _: None, verb, "", "")})
    assert main(["fail"]) == 1
    assert capsys.readouterr().err.startswith(said)


def test_an_interrupted_verb_is_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verb(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("antifraud.cli._VERBS", {"wait": (lambda _: None, verb, "", "")})
    assert main(["wait"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_of_the_code_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(_: object) -> int:
        raise KeyError

    monkeypatch.setattr("antifraud.cli._VERBS", {"fail": (lambda _: None, verb, "", "")})
    with pytest.raises(KeyError):
        main(["fail"])


def test_the_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = "{'numpy', 'lightgbm', 'duckdb', 'mlflow', 'pydantic', 'fastapi', 'pyarrow', 'matplotlib', 'httpx'}"
    code = f"import sys, antifraud.cli as c; c._parser(); sys.exit(str(sorted({heavy} & set(sys.modules)) or 0))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=_root())
    assert ended.stderr in ("", "0\n")


def test_it_runs_as_a_module_too() -> None:
    command = [sys.executable, "-m", "antifraud", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_root())
    assert ended.stdout.startswith("usage: antifraud ")


def _root() -> Path:
    return Path(__file__).parents[2]
