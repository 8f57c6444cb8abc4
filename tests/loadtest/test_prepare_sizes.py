import json
from pathlib import Path

import pytest

from loadtest.prepare_sizes import DAYS, MeasureError, Run, main, make_history, run_engine


def test_a_history_has_its_rows_in_folders_of_days_and_is_made_once(tmp_path: Path) -> None:
    folder = make_history(tmp_path / "h", 3000)
    assert len(list(folder.glob("date=*/part-0.parquet"))) == DAYS
    made = (folder / "_made").stat().st_mtime_ns
    assert (make_history(folder, 3000) / "_made").stat().st_mtime_ns == made


def test_what_one_run_took_is_measured_and_the_page_says_it(tmp_path: Path) -> None:
    page, figures = tmp_path / "spark.md", tmp_path / "spark.json"
    page.write_text("# Spark\n")
    options = ["--engines", "duckdb", "--work", str(tmp_path), "--page", str(page), "--figures", str(figures)]
    assert main(["--rows", "3000", *options]) == 0
    assert main(["--rows", "6000", *options]) == 0
    runs = json.loads(figures.read_text())["runs"]
    assert [(run["rows"], run["cleaning"]["rows_read"]) for run in runs] == [(3000, 3000), (6000, 6000)]
    assert all(run["seconds"] > 0 and run["cleaning"]["dropped"]["repeated_transaction_id"] for run in runs)
    assert page.read_text().count("| duckdb |") == 2


def test_a_run_over_its_limit_is_ended_and_said_so(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h", 3000)
    (tmp_path / "id.key").write_text("an id key for measuring only")
    run = run_engine("duckdb", 3000, history, tmp_path, limit=0.0)
    assert (run.seconds, run.rate, run.cleaning) == (None, None, None)


def test_a_run_that_fails_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "id.key").write_text("short")
    with pytest.raises(MeasureError, match=r"duckdb failed on 3,000 rows; see .*duckdb-3000\.log"):
        run_engine("duckdb", 3000, make_history(tmp_path / "h", 3000), tmp_path, limit=60.0)


def test_rows_a_second_count_from_the_start_of_the_command() -> None:
    assert Run("duckdb", 100, 4.0, 1, 1, 0.5, None).rate == 25
