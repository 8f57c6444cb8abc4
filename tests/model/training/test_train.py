import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from model.bundle import Bundle, read_bundle, read_snapshot
from model.decision import CutOffs, choose_cutoffs
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    Publisher,
    Version,
    embedded_uri,
    open_publisher,
)
from model.score import probabilities
from model.settings import Settings, load_settings
from model.training import budgets, making, report_files
from model.training import train as train_module
from model.training.fit import TrainingError
from model.training.history import HistoryError
from model.training.publish import may_appoint
from model.training.simulation import PROFILES, simulate
from model.training.split import SplitError
from model.training.train import STAGES, TrainingOutcome, train
from tests.model.training.registries import ID_KEY, downloaded, numbers_of, stages_begun
from tests.model.training.test_progress import Terminal

Mask = npt.NDArray[np.bool_]

CUSTOMER, TERMINAL = "CUST-SECRET-", "TERM-SECRET-"
TREES = 15
REPORT_FILES = {
    "evaluation.json",
    "evaluation.txt",
    "cleaning.json",
    "cutoffs.json",
    "stages.json",
    "precision_recall.png",
    "recall_fpr.png",
    "calibration.png",
    "shap_summary.png",
}


@dataclass(frozen=True)
class Bank:
    """A small bank's history as a table, the folder it is kept in, and the registry it trains into."""

    table: pa.Table
    folder: Path

    @property
    def uri(self) -> str:
        return embedded_uri(self.folder / "registry")

    def write(self, name: str, table: pa.Table) -> Path:
        path = self.folder / f"{name}.parquet"
        pq.write_table(table, path)
        return path

    def settings(self, **given: Any) -> Settings:
        return load_settings(
            **({"id_key": ID_KEY, "work_folder": self.folder / "work", "trees": TREES, "threads": 1} | given)
        )

    def train(self, table: pa.Table, *, appoint: bool = False, **given: Any) -> TrainingOutcome:
        path = self.write("history", table)
        return train(path, settings=self.settings(**given), tracking_uri=self.uri, appoint=appoint, progress=False)

    def download(self, version: Version) -> Path:
        return downloaded(self.uri, version, self.folder / "downloads")

    def aliases(self) -> dict[str, str | None]:
        return numbers_of(self.uri, CHAMPION, CURRENT)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Some weeks of a tiny bank whose ids are text that would be recognised anywhere."""
    folder = tmp_path_factory.mktemp("bank")
    simulate(
        replace(PROFILES["small"], customers=250, terminals=500, days=24, seed=5, terminals_taken_per_day=1),
        folder / "simulated",
        progress=False,
    )
    table = pq.read_table(folder / "simulated")
    for name, prefix in (("customer_id", CUSTOMER), ("terminal_id", TERMINAL)):
        text = pc.binary_join_element_wise(prefix, pc.cast(table[name], pa.string()), "")
        table = table.set_column(table.schema.get_field_index(name), name, text)
    return Bank(table.sort_by("tx_datetime"), folder)


@pytest.fixture(scope="module")
def first(bank: Bank) -> TrainingOutcome:
    """The bank's first training run; its report is kept from those of later runs."""
    outcome = bank.train(bank.table)
    return replace(outcome, report=Path(shutil.copytree(outcome.report, bank.folder / "first" / "report")))


@pytest.fixture(autouse=True)
def no_figures(first: TrainingOutcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures in the first run only: they take longer than all the rest."""
    assert first.report.is_dir()
    monkeypatch.setattr(report_files, "write_figures", lambda folder, **_: folder.mkdir())


def periods_of(outcome: TrainingOutcome) -> dict[str, list[datetime]]:
    periods = json.loads((outcome.report / "evaluation.json").read_text())["periods"]
    return {
        name: [datetime.fromisoformat(hour).replace(tzinfo=None) for hour in hours] for name, hours in periods.items()
    }


def moments(table: pa.Table) -> npt.NDArray[np.datetime64]:
    return np.asarray(table["tx_datetime"].to_numpy()).astype("datetime64[us]")


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    column = pa.array(values)
    place = table.schema.get_field_index(name)
    return table.append_column(name, column) if place < 0 else table.set_column(place, name, column)


def read_model(bank: Bank, outcome: TrainingOutcome) -> Bundle:
    fingerprint = bank.settings().id_hasher().fingerprint
    digest = outcome.model.tags["manifest_sha256"]
    return read_bundle(bank.download(outcome.model), id_key_fingerprint=fingerprint, manifest_sha256=digest)


def trees_of(bank: Bank, outcome: TrainingOutcome) -> str:
    return (bank.download(outcome.model) / "model.txt").read_text()


# --- what a run leaves behind -----------------------------------------------------------------------------------------


def test_the_first_run_appoints_the_champion_and_its_statistics(bank: Bank, first: TrainingOutcome) -> None:
    assert first.is_champion
    assert bank.aliases() == {CHAMPION: first.model.version, CURRENT: first.statistics.version}


def test_what_was_published_can_be_verified_and_loaded(bank: Bank, first: TrainingOutcome) -> None:
    bundle = read_model(bank, first)
    assert bundle.facts["trees"] == TREES
    assert bundle.facts["periods"]["test"][1] == first.statistics.tags["as_of"]
    snapshot = read_snapshot(
        bank.download(first.statistics),
        id_key_fingerprint=first.model.tags["id_key_fingerprint"],
        manifest_sha256=first.statistics.tags["manifest_sha256"],
    )
    assert snapshot.as_of == first.statistics.tags["as_of"]
    assert len(snapshot.customer.keys) > 100


def test_the_report_is_complete_and_says_what_was_tested(first: TrainingOutcome) -> None:
    assert {path.name for path in first.report.iterdir()} == REPORT_FILES
    assert all(path.stat().st_size > 100 for path in first.report.iterdir())
    evaluation = json.loads((first.report / "evaluation.json").read_text())
    assert evaluation["review_recall"] == first.evaluation.review.recall
    assert set(evaluation["periods"]) == {"train", "calibration", "test"}
    assert "facts" not in evaluation
    page = (first.report / "evaluation.txt").read_text()
    assert f"Tested on {evaluation['first_day']} to {evaluation['last_day']}" in page
    assert page.endswith("\n")
    assert not page.endswith("\n\n")
    cleaning = json.loads((first.report / "cleaning.json").read_text())
    assert cleaning["rows_kept"] == first.cleaning.rows_kept > 5000


def test_periods_follow_each_other_in_the_order_of_time(first: TrainingOutcome) -> None:
    periods = periods_of(first)
    for earlier, later in pairwise(("train", "calibration", "test")):
        assert periods[later][0] - periods[earlier][1] == timedelta(days=1)


def test_every_stage_is_timed(first: TrainingOutcome) -> None:
    assert json.loads((first.report / "stages.json").read_text()) == first.seconds
    assert list(first.seconds)[-4:] == ["training", "testing", "drawing figures", "registering"]


def test_metrics_settings_and_the_report_are_logged_with_the_run(bank: Bank, first: TrainingOutcome) -> None:
    client = open_publisher(bank.uri)._client
    assert first.model.run_id == first.statistics.run_id is not None
    run = client.get_run(first.model.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["review_recall"] == pytest.approx(first.evaluation.review.recall)
    assert run.data.metrics["money_passed_per_month"] == pytest.approx(first.evaluation.review.money_passed_per_month)
    assert run.data.params["trees"] == str(TREES)
    assert run.data.params["label_delay_hours"] == "24.0"
    assert float(run.data.params["review"]) == first.evaluation.review.cut_off
    logged = {Path(file.path).name for file in client.list_artifacts(first.model.run_id, "report")}
    assert logged == REPORT_FILES - {"stages.json"}  # written when registering, too, has been timed


def test_nothing_but_the_report_is_left_in_the_work_folder(bank: Bank, first: TrainingOutcome) -> None:
    assert [path.name for path in (bank.folder / "work").iterdir()] == [first.report.name]


def test_no_raw_id_and_no_key_is_in_anything_that_was_published(bank: Bank, first: TrainingOutcome) -> None:
    folders = [bank.folder / "registry", first.report, bank.download(first.model), bank.download(first.statistics)]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        for secret in (CUSTOMER, TERMINAL, ID_KEY):
            assert secret.encode() not in content, path


def test_raw_ids_would_be_found_if_they_were_there(bank: Bank) -> None:
    path = bank.write("raw", bank.table.slice(0, 10))
    assert CUSTOMER.encode() in path.read_bytes()
    assert TERMINAL.encode() in path.read_bytes()


def test_scores_in_the_bundle_are_those_that_were_tested(bank: Bank, first: TrainingOutcome) -> None:
    cases = json.loads((bank.download(first.model) / "golden.json").read_text())
    assert 16 <= len(cases) <= 32
    booster = lgb.Booster(model_file=bank.download(first.model) / "model.txt")
    features = np.array([case["features"] for case in cases], dtype=np.float64)
    margins = np.asarray(booster.predict(features, raw_score=True))
    assert margins == pytest.approx([case["margin"] for case in cases], abs=1e-12)
    test_start, test_end = periods_of(first)["test"]
    seconds = np.array([case["tx_seconds"] for case in cases]).astype("datetime64[s]")
    assert ((seconds >= np.datetime64(test_start)) & (seconds < np.datetime64(test_end))).all()
    assert len(np.unique(probabilities(margins))) > 3


# --- what is known when -----------------------------------------------------------------------------------------------


def frauds_before(table: pa.Table, moment: datetime, *, every: int) -> Mask:
    """Mark one in `every` of the frauds before a moment."""
    fraud = (np.asarray(table["tx_fraud"]) == 1) & (moments(table) < np.datetime64(moment))
    chosen = np.zeros(len(fraud), dtype=np.bool_)
    chosen[np.flatnonzero(fraud)[::every]] = True
    return chosen


def test_a_fraud_that_is_reported_too_late_counts_as_honest(bank: Bank, first: TrainingOutcome) -> None:
    """Frauds reported a year later must leave the same model and cut-offs as frauds that were never noticed."""
    test_start = periods_of(first)["test"][0]
    unnoticed = frauds_before(bank.table, test_start, every=3)
    on_time = moments(bank.table) + np.timedelta64(1, "D")
    reported = np.where(unnoticed, moments(bank.table) + np.timedelta64(365, "D"), on_time)
    late = bank.train(with_column(bank.table, "report_datetime", reported))
    labels = np.where(unnoticed, 0, np.asarray(bank.table["tx_fraud"]))
    never = bank.train(
        with_column(with_column(bank.table, "report_datetime", on_time), "tx_fraud", labels),
    )
    assert unnoticed.sum() > 10
    assert trees_of(bank, late) == trees_of(bank, never)
    assert read_model(bank, late).cutoffs == read_model(bank, never).cutoffs
    assert trees_of(bank, late) != trees_of(bank, first)


def test_a_report_in_the_hour_that_calibration_begins_comes_too_late_for_training(
    bank: Bank, first: TrainingOutcome
) -> None:
    start = periods_of(first)["calibration"][0]
    frauds = frauds_before(bank.table, periods_of(first)["train"][1], every=1)
    models = {}
    for name, minutes in (("known", -1), ("unknown", 0)):
        reported = np.where(frauds, np.datetime64(start + timedelta(minutes=minutes)), moments(bank.table))
        models[name] = with_column(bank.table, "report_datetime", reported.astype("datetime64[us]"))
    bank.train(models["known"])
    with pytest.raises(TrainingError, match=r"at least 10 known frauds.* 0 are known as fraud"):
        bank.train(models["unknown"])


def test_tested_labels_change_neither_the_model_nor_its_cut_offs(bank: Bank, first: TrainingOutcome) -> None:
    tested = moments(bank.table) >= np.datetime64(periods_of(first)["test"][0])
    labels = np.asarray(bank.table["tx_fraud"])
    flipped = np.where(tested, 1 - labels, labels)
    again = bank.train(with_column(bank.table, "tx_fraud", flipped))
    assert again.evaluation.frauds == first.evaluation.rows - first.evaluation.frauds
    assert trees_of(bank, again) == trees_of(bank, first)
    assert read_model(bank, again).cutoffs == read_model(bank, first).cutoffs


def test_cut_offs_keep_both_budgets_on_what_was_known_honest_in_calibration(
    bank: Bank, first: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[npt.NDArray[np.float64]] = []

    def choose(scores: npt.NDArray[np.float64], **budgets: float) -> CutOffs:
        seen.append(scores)
        return choose_cutoffs(scores, **budgets)

    monkeypatch.setattr(budgets, "choose_cutoffs", choose)
    outcome = bank.train(bank.table, flagged_budget=0.1, declined_budget=0.02)
    scores = seen[0]  # the others are of the budgets that a bank could choose instead
    calibration = periods_of(first)["calibration"]
    inside = (moments(bank.table) >= np.datetime64(calibration[0])) & (
        moments(bank.table) < np.datetime64(calibration[1])
    )
    assert scores.size == (inside & (np.asarray(bank.table["tx_fraud"]) == 0)).sum()
    cutoffs = read_model(bank, outcome).cutoffs
    assert (scores >= cutoffs.review).mean() <= 0.1
    assert (scores >= cutoffs.decline).mean() <= 0.02
    assert cutoffs.review < read_model(bank, first).cutoffs.review


# --- who becomes champion ---------------------------------------------------------------------------------------------


def test_a_second_run_moves_the_statistics_and_leaves_the_champion(bank: Bank, first: TrainingOutcome) -> None:
    second = bank.train(bank.table)
    assert not second.is_champion
    assert second.model.version != first.model.version
    assert bank.aliases() == {CHAMPION: first.model.version, CURRENT: second.statistics.version}
    assert trees_of(bank, second) == trees_of(bank, first)


def test_another_id_key_is_refused_before_any_work_and_nothing_is_published(
    bank: Bank, first: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(making, "read_periods", unreachable)
    before = (
        bank.aliases(),
        len(open_publisher(bank.uri).versions(MODEL_NAME)),
        (bank.folder / "work" / "report" / "stages.json").read_bytes(),
    )
    with pytest.raises(TrainingError, match=r"was trained with another id key .* nothing was published"):
        bank.train(bank.table, id_key="quite another key of some bytes")
    after = (
        bank.aliases(),
        len(open_publisher(bank.uri).versions(MODEL_NAME)),
        (bank.folder / "work" / "report" / "stages.json").read_bytes(),
    )
    assert after == before


def test_a_champion_of_other_features_is_refused_until_it_is_replaced(bank: Bank, first: TrainingOutcome) -> None:
    champion = replace(first.model, tags=dict(first.model.tags) | {"feature_schema": "older"})

    class Registry:
        def find_alias(self, name: str, alias: str) -> Version:
            assert (name, alias) == (MODEL_NAME, CHAMPION)
            return champion

    registry: Any = Registry()
    key = first.model.tags["id_key_fingerprint"]
    with pytest.raises(TrainingError, match=f"{MODEL_NAME} version .* was trained with other features"):
        may_appoint(registry, id_key_fingerprint=key, appoint=False)
    assert may_appoint(registry, id_key_fingerprint=key, appoint=True)


def test_a_run_that_is_told_to_appoints_its_model_even_with_another_key(bank: Bank, first: TrainingOutcome) -> None:
    before = bank.aliases()
    other = bank.train(bank.table, appoint=True, id_key="quite another key of some bytes")
    assert other.is_champion
    assert bank.aliases() == {CHAMPION: other.model.version, CURRENT: other.statistics.version} != before
    again = bank.train(bank.table, appoint=True)
    assert bank.aliases() == {CHAMPION: again.model.version, CURRENT: again.statistics.version}


# --- when something goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt()])
@pytest.mark.parametrize("stage", ["read_periods", "fit_booster", "evaluate", "write_report", "publish"])
def test_an_interrupted_run_leaves_no_trace(
    bank: Bank, first: TrainingOutcome, monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException
) -> None:
    module = train_module if stage == "publish" else making
    original: Callable[..., Any] = getattr(module, stage)

    def interrupted(*arguments: Any, **named: Any) -> None:
        if stage != "publish":
            original(*arguments, **named)
        raise error

    before = bank.aliases()
    monkeypatch.setattr(module, stage, interrupted)
    with pytest.raises(type(error)):
        bank.train(bank.table, trees=2)
    assert bank.aliases() == before
    assert [path.name for path in (bank.folder / "work").iterdir()] == [first.report.name]


def test_a_run_interrupted_between_its_two_versions_moves_no_alias(
    bank: Bank, first: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Publisher.publish

    def only_the_model(self: Publisher, name: str, folder: Path, *, run_id: str, tags: dict[str, str]) -> Version:
        if name == STATISTICS_NAME:
            raise KeyboardInterrupt
        return publish(self, name, folder, run_id=run_id, tags=tags)

    monkeypatch.setattr(Publisher, "publish", only_the_model)
    before = bank.aliases()
    with pytest.raises(KeyboardInterrupt):
        bank.train(bank.table, appoint=True, trees=2)
    assert bank.aliases() == before
    assert first.model.version != open_publisher(bank.uri).versions(MODEL_NAME)[0].version


def test_a_history_that_is_not_there_is_named(bank: Bank, first: TrainingOutcome) -> None:
    with pytest.raises(HistoryError, match="there is no such file"):
        train(bank.folder / "nowhere", settings=bank.settings(), tracking_uri=bank.uri, progress=False)
    assert [path.name for path in (bank.folder / "work").iterdir()] == [first.report.name]


def test_a_history_of_few_days_is_refused_with_the_rule(bank: Bank) -> None:
    with pytest.raises(SplitError, match=r"it spans 11 days .* needs at least 12"):
        bank.train(bank.table.filter(moments(bank.table) < np.datetime64("2026-01-12")))


def test_a_few_dates_that_are_far_off_do_not_stretch_the_periods(bank: Bank, first: TrainingOutcome) -> None:
    far = [with_column(bank.table.slice(number, 1), "transaction_id", [10**9 + number]) for number in range(2)]
    moments_off = ("2098-01-01T12:00", "1999-01-01T12:00")
    far = [
        with_column(row, "tx_datetime", np.array([moment], dtype="datetime64[us]"))
        for row, moment in zip(far, moments_off, strict=True)
    ]
    table = pa.concat_tables([bank.table, *(row.cast(bank.table.schema) for row in far)])
    outcome = bank.train(table)
    assert (outcome.evaluation.first_day, outcome.evaluation.last_day) == (
        first.evaluation.first_day,
        first.evaluation.last_day,
    )


def test_a_work_folder_that_cannot_be_made_is_one_clear_error(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TrainingError, match=f"cannot go on in the work folder {folder}: "):
            bank.train(bank.table, work_folder=folder)


def test_a_full_disk_is_one_clear_error(bank: Bank, first: TrainingOutcome, tmp_path: Path) -> None:
    program = (
        "import resource, sys; from antifraud.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no larger file can be written\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    key = tmp_path / "id.key"
    key.write_text(ID_KEY)
    history = bank.write("history", bank.table)
    arguments: list[str | Path] = ["train", "--history", history, "--work-folder", tmp_path / "work"]
    arguments += ["--id-key-file", key, "--tracking-uri", bank.uri]
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"antifraud: cannot go on in the work folder {tmp_path / 'work'}: ")
    assert ": File too large; see to room there" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert list((tmp_path / "work").iterdir()) == []
    assert first.is_champion


# --- progress ---------------------------------------------------------------------------------------------------------


def test_the_bar_is_full_when_the_last_of_the_stages_ends(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = stages_begun(monkeypatch)
    bank.train(bank.table, trees=2)
    assert len(begun) == STAGES


def test_a_training_run_writes_nothing_into_a_log(
    bank: Bank, first: TrainingOutcome, capfd: pytest.CaptureFixture[str]
) -> None:
    path = bank.write("history", bank.table)
    outcome = train(path, settings=bank.settings(trees=2), tracking_uri=bank.uri, progress=True)
    assert outcome.model.version != first.model.version
    assert capfd.readouterr() == ("", "")


def test_a_person_at_a_terminal_sees_the_trees_grow(bank: Bank) -> None:
    path = bank.write("history", bank.table)
    with redirect_stderr(Terminal()) as terminal:
        train(path, settings=bank.settings(trees=3), tracking_uri=bank.uri, progress=True)
    said = terminal.getvalue()
    assert "looking up statistics" in said
    assert "training, " in said
    assert " of 3 trees" in said
