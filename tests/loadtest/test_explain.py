"""The kernel's benchmark: turns, peers in processes of their own, and what is written of them."""

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from loadtest import explain, explain_peers, locked
from loadtest.explain_clock import Way
from loadtest.explain_engines import (
    C_API,
    OURS,
    PYTHON,
    SCORE,
    Exactness,
    Shape,
    exactness,
    train,
    training_rows,
    ways,
)
from loadtest.explain_peers import KERNEL_PEERS, KernelPeer, PeerError, find_python, running
from loadtest.explain_report import (
    Circumstances,
    Measured,
    Timing,
    as_json,
    as_page,
    findings,
    microseconds,
    times,
    timing,
)
from loadtest.peers.environments import EnvironmentMissingError

SHAPIQ, XGBOOST = (peer.titles["one row"] for peer in KERNEL_PEERS)
FAKE = """
import sys
from loadtest.explain_clock import Way, serve

def load(shape):
    if shape == "0x0":
        sys.exit("no such shape")
    print("a library that talks")
    ways = [Way("one row", lambda row: sum(range(row)), [100, 200]), Way("batch", len, ["abc"], rows=3)]
    return ways, {"from_margin": 0.5}

serve(load, {"versions": {"fake": sys.argv[1][-4:]}})
"""


def measured(shape: str, **medians: float) -> Measured:
    names = {"python": PYTHON, "c_api": C_API, "score": SCORE, "ours": OURS, "shapiq": SHAPIQ, "xgboost": XGBOOST}
    timings = {names[name]: Timing(value, value, value, 30) for name, value in medians.items()}
    return Measured(Shape.parse(shape), 6200, Exactness(1e-14, 2e-14, 3.0), timings, {XGBOOST: 3e-6})


def circumstances(**missing: str) -> Circumstances:
    return Circumstances(
        date="2026-11-23",
        processor="A processor",
        system="Linux 6.1, Python 3.11.7",
        load_before=0.1,
        instruction_set="avx2",
        versions={"this process": {"lightgbm": "4.7.0"}},
        missing=missing,
    )


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_way_takes_its_inputs_one_after_the_other_also_from_slice_to_slice() -> None:
    seen: list[int] = []
    way = Way("appends", seen.append, [1, 2, 3, 4])
    for _ in range(2):
        way.run(0.001)
    assert len(seen) > 10
    assert seen == [1 + number % 4 for number in range(len(seen))]


def test_waiting_is_not_work_and_slow_calls_are_few() -> None:
    waits = Way("waits", lambda _: time.sleep(0.05), [0]).run(0.01)
    assert len(waits) == 1
    assert waits[0] < 0.02e9


def test_quick_calls_are_timed_several_at_once_as_one_of_them() -> None:
    calls: list[int] = []
    quick = Way("quick", calls.append, [0])
    samples = [sample for _ in range(20) for sample in quick.run(0.001)]
    assert len(calls) > 5 * len(samples)
    assert sorted(samples)[len(samples) // 2] < 20_000

    def work(_: int) -> None:
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass

    assert all(sample >= 2_000_000 for sample in Way("slow", work, [0]).run(0.01))


def test_all_work_in_turn_and_what_used_up_its_time_leaves_the_rest_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    now = 0.0
    monkeypatch.setattr(explain, "time", SimpleNamespace(perf_counter=lambda: now))

    class Fake:
        rows = 1

        def __init__(self, name: str, seconds: float) -> None:
            self.name, self._seconds = name, seconds

        def run(self, seconds: float) -> list[int]:
            nonlocal now
            order.append(self.name)
            now += self._seconds
            return [int(seconds * 1e9)]

    found = explain.in_turn([Fake("a", 0), Fake("b", 0.03)], rounds=4, seconds=0.01, most=0.05)
    assert order[:6] == ["a", "b"] * 3
    assert (len(found["a"]), len(found["b"])) == (4, 2)  # the first round only warms up


def test_a_timing_is_that_of_one_row() -> None:
    assert timing([2_000_000, 4_000_000, 6_000_000], rows=1000) == Timing(4.0, 3.0, 5.0, 3)
    assert timing([5_000], rows=1).median_us == 5.0


# --- engines ----------------------------------------------------------------------------------------------------------


def test_all_ways_explain_and_ours_are_exact() -> None:
    rows, label = training_rows(np.random.default_rng(1), count=2000)
    booster = train(Shape(5, 4), rows, label)
    found = ways(booster, rows[:3])
    assert [way.name for way in found][:4] == [PYTHON, C_API, SCORE, OURS]
    assert all(way.run(0) for way in found)
    assert exactness(booster, rows[:50]).from_pred_contrib < 1e-12
    assert exactness(booster, rows[:50]).from_margin < 1e-12


@pytest.mark.parametrize("text", ["", "200", "x31", "200x", "0x31", "200x1", "200x31x5"])
def test_a_shape_is_two_numbers(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  argparse says which text it was
        Shape.parse(text)


# --- peers ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelPeer:
    monkeypatch.setattr(explain_peers, "SOURCES", tmp_path / "sources")
    monkeypatch.setattr(locked, "ENVIRONMENTS", tmp_path / "environments")
    peer = KernelPeer("fake", {"one row": "Fake, one row", "batch": "Fake, batch"})
    peer.script.parent.mkdir(parents=True)
    peer.script.write_text(FAKE)
    peer.environment.requirements.write_text("fake==1\n")
    peer.environment.python.parent.mkdir(parents=True)
    peer.environment.python.symlink_to(sys.executable)
    return peer


def test_a_peer_works_in_its_own_process_and_says_what_it_found(fake: KernelPeer, tmp_path: Path) -> None:
    with running(fake, tmp_path) as process:
        assert process.versions == {"fake": str(tmp_path)[-4:]}
        (one, batch), said = process.load("200x31")
        assert said == {"from_margin": 0.5}
        assert (one.name, one.rows, batch.name, batch.rows) == ("Fake, one row", 1, "Fake, batch", 3)
        assert all(nanoseconds > 0 for way in (one, batch, one) for nanoseconds in way.run(0.001))


def test_a_peer_that_ends_is_said_so_with_its_last_words(fake: KernelPeer, tmp_path: Path) -> None:
    with running(fake, tmp_path) as process, pytest.raises(PeerError, match="ended by itself: no such shape"):
        process.load("0x0")


def test_a_peer_that_cannot_start_is_said_so(fake: KernelPeer, tmp_path: Path) -> None:
    fake.script.write_text("raise SystemExit('its library is broken')")
    with pytest.raises(PeerError, match="its library is broken"), running(fake, tmp_path):
        pass
    fake.environment.python.unlink()
    with pytest.raises(PeerError, match="cannot be started"), running(fake, tmp_path):
        pass


def test_an_environment_counts_only_with_its_present_requirements(fake: KernelPeer) -> None:
    environment = fake.environment
    assert not environment.is_installed()
    (environment.folder / "installed").write_text(environment._fingerprint())
    assert environment.is_installed()
    fake.environment.requirements.write_text("fake==2\n")
    assert not environment.is_installed()


def test_without_a_python_that_is_new_enough_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "python3.12"
    old.write_text("#!/bin/sh\nexit 127\n")  # what a version manager leaves on the PATH for a version not chosen
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/bin")
    monkeypatch.setattr(sys, "executable", str(old))
    with pytest.raises(EnvironmentMissingError, match=r"3\.12 is needed, and none is on the PATH"):
        find_python(None)
    with pytest.raises(EnvironmentMissingError, match="name one with --python"):
        find_python(tmp_path / "nothing")
    old.write_text("#!/bin/sh\nexit 0\n")
    assert find_python(None) == old


@pytest.mark.parametrize("peer", KERNEL_PEERS, ids=lambda peer: peer.name)
def test_peers_are_locked_by_hash_without_an_address(peer: KernelPeer) -> None:
    locked = peer.environment.requirements.read_text(encoding="utf-8")
    assert "--hash=sha256:" in locked
    assert "://" not in locked
    wanted = peer.environment.requirements.with_suffix(".in").read_text(encoding="utf-8").split()
    assert all(f"\n{name.partition('>')[0]}==" in f"\n{locked}" for name in wanted)


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_requirement_that_holds_and_one_that_does_not_are_both_said() -> None:
    results = [
        measured("200x31", python=1300, c_api=1200, ours=26),
        measured("500x63", python=7000, c_api=6900, ours=700),
    ]
    lines = findings(results, circumstances())
    assert "200 x 31: 50.0 times faster" in lines[0]
    assert "Required 12 times: **met**; the aim of 20: reached" in lines[0]
    assert "500 x 63: 10.0 times faster" in lines[1]
    assert "**NOT MET**; the aim of 20: not reached" in lines[1]
    assert "Required 1e-06: **met**" in lines[2]


def test_a_faster_peer_is_named_and_a_bare_score_is_no_peer() -> None:
    slower = measured("200x31", python=1300, c_api=1200, score=2, ours=26, shapiq=300, xgboost=27)
    faster = measured("500x63", python=7000, c_api=6900, score=2, ours=130, shapiq=100, xgboost=400)
    assert f"Faster than ours: {SHAPIQ} at 500 x 63 (1.30 times)." in findings([slower, faster], circumstances())
    assert any("none of the libraries measured" in line for line in findings([slower], circumstances()))
    alone = measured("200x31", python=1300, c_api=1200, ours=26)
    assert any("nothing is said of them" in line for line in findings([alone], circumstances()))


def test_the_page_has_a_row_for_each_way_also_for_one_that_is_missing() -> None:
    results = [measured("100x31", python=600, c_api=590, ours=12), measured("200x31", python=1300, c_api=1200, ours=26)]
    page = as_page(results, circumstances(**{"shapiq": "not installed"}))
    assert "| ours, `explain_into` | 12 us (50) | 26 us (50) |" in page
    assert f"| {PYTHON} | 600 us (1.0) | 1.3 ms (1.0) |" in page
    assert "| shapiq | not measured: not installed |  |" in page
    figures = as_json(results, circumstances())
    assert figures["models"][1]["ways"][OURS]["times_pred_contrib"] == 50
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_what_is_much_slower_is_a_fraction() -> None:
    assert [times(ratio) for ratio in (642.1, 46.4, 1.23, 0.5, 0.004)] == ["642", "46", "1.2", "0.5", "1/250"]
    assert [microseconds(value) for value in (26.54, 7410, 814_000, 1_250_000)] == [
        "26.5 us",
        "7.41 ms",
        "814 ms",
        "1.25 s",
    ]


def test_the_whole_runs_without_peers_and_leaves_the_documents_alone_for_other_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locked, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(explain, "ROUNDS", 1)
    monkeypatch.setattr(explain, "in_turn", lambda all_ways: {way.name: way.run(0) for way in all_ways})
    before = os.sched_getaffinity(0)
    try:
        assert explain.main(["--shapes", "3x4", "--docs", str(tmp_path / "docs")]) == 0
        captured = capsys.readouterr()
        assert "not measured: not installed" in captured.out
        assert "**met**" in captured.out
        assert not (tmp_path / "docs").exists()
        monkeypatch.setattr(explain, "SHAPES", (Shape(3, 4),))
        assert explain.main(["--shapes", "3x4", "--docs", str(tmp_path / "docs")]) == 0
    finally:
        os.sched_setaffinity(0, before)
    assert "3 trees x 4 leaves" in (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "kernel" in json.loads((tmp_path / "docs" / "performance.json").read_text(encoding="utf-8"))
