import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from antifraud.cli import main
from antifraud.verbs.book import _day
from model.settings import Settings
from model.training.book import STAGES, Comparison, Line, Scores, run_book
from model.training.book_page import GOAL, PUBLISHED, as_dict, goal_met, render, render_markdown
from model.training.book_protocol import DAY, BookError, Protocol
from model.training.simulation import PROFILES
from model.transaction import IdHasher

TWO_WEEKS = Protocol(weeks=2)
EPOCH_DAY = date(1970, 1, 1).toordinal()
HASHER = IdHasher(b"a key of the tests only")


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return []


@pytest.fixture(scope="module")
def comparison(
    history: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory, stages: list[str]
) -> Comparison:
    """The small bank's last two weeks."""
    scratch = tmp_path_factory.mktemp("book")
    return run_book(history, settings=settings, hasher=HASHER, scratch=scratch, protocol=TWO_WEEKS, begin=stages.append)


def lines_of(comparison: Comparison) -> list[Line]:
    return [*comparison.baselines, comparison.ours, comparison.ours_fresh]


def test_every_model_is_tested_in_every_week(comparison: Comparison) -> None:
    assert [line.name for line in lines_of(comparison)] == [
        "logistic regression",
        "random forest",
        "LightGBM in the place of XGBoost",
        "ours, reports after 7 days",
        "ours, reports after 1 day",
    ]
    for line in lines_of(comparison):
        assert len(line.weeks) == 2
        for week in line.weeks:
            assert 0.5 < week.roc_auc < 1
            assert 0.1 < week.average_precision < 1
            assert 0 < week.card_precision_at_100 < 1


def test_the_test_ends_with_the_history(comparison: Comparison) -> None:
    last = PROFILES["small"].start.toordinal() - EPOCH_DAY + 40
    assert [(week.test_start, week.test_end) for week in comparison.weeks] == [(last - 14, last - 7), (last - 7, last)]
    assert 0 < comparison.frauds < comparison.rows


def test_fresher_reports_find_more(comparison: Comparison) -> None:
    assert comparison.ours_fresh.mean("average_precision") > comparison.ours.mean("average_precision") + 0.02


def test_the_stages_are_as_many_as_announced(comparison: Comparison, stages: list[str]) -> None:
    assert comparison.rows
    assert len(stages) == STAGES


def test_until_leaves_the_end_untouched(history: Path, settings: Settings, tmp_path: Path) -> None:
    until = (PROFILES["small"].start.toordinal() - EPOCH_DAY + 26) * DAY
    with pytest.raises(BookError, match=r"2 test weeks of the book need 28 days \(UTC\), it has 26"):
        run_book(history, settings=settings, hasher=HASHER, scratch=tmp_path, protocol=TWO_WEEKS, until=until)


# --- the page ---------------------------------------------------------------------------------------------------------


def with_ours(comparison: Comparison, *weeks: Scores) -> Comparison:
    return replace(comparison, ours=replace(comparison.ours, weeks=weeks))


def test_the_goal_is_met_by_ours_like_for_like_and_by_nothing_else(comparison: Comparison) -> None:
    enough = Scores(GOAL["roc_auc"], GOAL["average_precision"], 0.0)
    assert goal_met(with_ours(comparison, enough))
    assert not goal_met(with_ours(comparison, replace(enough, roc_auc=GOAL["roc_auc"] - 1e-6)))
    assert not goal_met(with_ours(comparison, replace(enough, average_precision=0.6939)))
    short = replace(with_ours(comparison, replace(enough, roc_auc=0.5)), ours_fresh=Line("", "", (enough,)))
    assert not goal_met(short)


def test_mean_and_deviation_are_over_the_weeks(comparison: Comparison) -> None:
    line = with_ours(comparison, Scores(0.8, 0.5, 0.2), Scores(0.9, 0.7, 0.3)).ours
    assert line.mean("roc_auc") == pytest.approx(0.85)
    assert line.deviation("average_precision") == pytest.approx(0.1)
    assert line.mean("card_precision_at_100") == pytest.approx(0.25)


def test_json_holds_every_week_and_what_the_book_states(comparison: Comparison) -> None:
    page = json.loads(json.dumps(as_dict(comparison), allow_nan=False))
    assert [line["role"] for line in page["lines"]] == ["baseline"] * 3 + ["ours", "ours_day_old_reports"]
    for line, shown in zip(lines_of(comparison), page["lines"], strict=True):
        assert shown["roc_auc"] == pytest.approx(np.mean([week.roc_auc for week in line.weeks]))
        assert len(shown["weeks"]) == 2
    assert len(page["published"]) == len(PUBLISHED)
    assert page["goal"] == GOAL | {"met": goal_met(comparison)}
    assert page["frauds_tested"] == comparison.frauds


def test_terminal_and_markdown_show_every_line_with_its_figures(comparison: Comparison) -> None:
    for text in (render(comparison), render_markdown(comparison)):
        for line in lines_of(comparison):
            assert re.search(
                rf"{line.name}.*{line.mean('roc_auc'):.3f} ± {line.deviation('roc_auc'):.3f}"
                rf".*{line.mean('average_precision'):.3f}",
                text,
            )
        for model, where, figures in PUBLISHED:
            assert re.search(rf"{model}.*{where}.*{figures[0]:.3f}.*{figures[1]:.3f}", text)
        assert "2018-07-04 to 2018-07-31" in text
        assert ("not reached" in text) == (not goal_met(comparison))


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_the_verb_refuses_what_is_no_day_or_no_number_of_weeks(capsys: pytest.CaptureFixture[str]) -> None:
    assert _day("1970-01-02") == DAY
    for option, value, rule in (("--until", "yesterday", "YYYY-MM-DD"), ("--weeks", "0", "from 1 to 52")):
        with pytest.raises(SystemExit):
            main(["book", "--history", "h", "--report", "r", option, value])
        assert rule in capsys.readouterr().err


def test_the_verb_writes_its_page_and_leaves_no_scratch_behind(
    comparison: Comparison,
    history: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("model.training.book.run_book", lambda address, **given: comparison)
    assert main(["book", "--history", str(history), "--report", "out/book", "--weeks", "2"]) == 0
    assert sorted(path.name for path in (tmp_path / "out/book").iterdir()) == ["book.json", "book.md"]
    assert "Goal (AUC 0.879, average precision 0.694)" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/book/book.json").read_text())["rows_tested"] == comparison.rows


def test_a_history_that_is_too_short_is_one_line_and_no_page(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["book", "--history", str(history), "--report", str(tmp_path / "book")]) == 1
    assert capsys.readouterr().err == (
        "antifraud: history is too short: 4 test weeks of the book need 42 days (UTC), it has 40\n"
    )
    assert list((tmp_path / "book").iterdir()) == []
